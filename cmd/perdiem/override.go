package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/quota"
)

type overrides struct {
	Set   overrideSetCommand   `cmd:"" help:"Set an application's limits for an endpoint, within a second and for the running day."`
	Clear overrideClearCommand `cmd:"" help:"Take back what set has set."`
}

type overrideSetCommand struct {
	connection
	App         string     `arg:"" name:"application" help:"The application's id."`
	Endpoint    string     `arg:"" help:"The endpoint's id; * for the catch-all."`
	Application *limitFlag `placeholder:"N" help:"Calls a day of the application: a number, or unlimited; 0 is no access."`
	Member      *limitFlag `placeholder:"N" help:"Calls a day of each member: a number, or unlimited; 0 is no access."`
}

// Validate is called by kong.
func (c overrideSetCommand) Validate() error {
	_, err := c.limits()
	return errors.Join(checkID("application", c.App), checkID("endpoint", c.Endpoint), err)
}

func (c overrideSetCommand) limits() (adminapi.OverrideLimits, error) {
	application, err := limit("--application", c.Application)
	if err != nil {
		return adminapi.OverrideLimits{}, err
	}
	member, err := limit("--member", c.Member)
	if err != nil {
		return adminapi.OverrideLimits{}, err
	}
	if application == nil && member == nil {
		return adminapi.OverrideLimits{}, errors.New("give --application or --member, or both")
	}
	return adminapi.OverrideLimits{Application: application, Member: member}, nil
}

// limitFlag is a limit as it was typed. Whatever follows the flag is taken for its value, so that -1 is told to be no limit, not to be
// an unknown flag.
type limitFlag string

// Decode implements [kong.MapperValue].
func (l *limitFlag) Decode(ctx *kong.DecodeContext) error {
	t := ctx.Scan.Pop()
	if t.IsEOL() {
		return errors.New("must be followed by a number, or unlimited")
	}
	*l = limitFlag(t.String())
	return nil
}

func limit(flag string, text *limitFlag) (*adminapi.Limit, error) {
	if text == nil {
		return nil, nil
	}
	l, err := quota.ParseLimit(string(*text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return new(adminapi.Limit(l)), nil
}

func (c overrideSetCommand) Run(p *program) error {
	limits, err := c.limits()
	if err != nil {
		return err
	}
	node, err := c.open(p)
	if err != nil {
		return err
	}
	if err := node.call(http.MethodPut, "overrides", nil, adminapi.Override{Application: c.App, Endpoint: c.Endpoint, Limits: limits}, nil); err != nil {
		return err
	}
	words := []string{"override", c.App, c.Endpoint, "set:"}
	for _, l := range []struct {
		name  string
		limit *adminapi.Limit
	}{{"application", limits.Application}, {"member", limits.Member}} {
		if l.limit != nil {
			words = append(words, l.name, quota.Limit(*l.limit).String())
		}
	}
	_, err = fmt.Fprintln(p.stdout, strings.Join(words, " "))
	return err
}

type overrideClearCommand struct {
	connection
	App      string `arg:"" name:"application" help:"The application's id."`
	Endpoint string `arg:"" help:"The endpoint's id; * for the catch-all."`
}

// Validate is called by kong.
func (c overrideClearCommand) Validate() error {
	return errors.Join(checkID("application", c.App), checkID("endpoint", c.Endpoint))
}

func (c overrideClearCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	if err := node.call(http.MethodDelete, "overrides", url.Values{"application": {c.App}, "endpoint": {c.Endpoint}}, nil, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "override %s %s cleared\n", c.App, c.Endpoint)
	return err
}
