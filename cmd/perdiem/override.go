package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/quota"
)

type overrides struct {
	Set   overrideSetCommand   `cmd:"" help:"Set an application's limits for an endpoint, within a second and for the running day."`
	Clear overrideClearCommand `cmd:"" help:"Take back what set has set."`
}

type overrideSetCommand struct {
	connection
	App         string  `arg:"" name:"application" help:"The application's id."`
	Endpoint    string  `arg:"" help:"The endpoint's id; * for the catch-all."`
	Application *string `placeholder:"N" help:"Calls a day of the application: a number, or unlimited; 0 is no access."`
	Member      *string `placeholder:"N" help:"Calls a day of each member: a number, or unlimited; 0 is no access."`
}

// Validate is called by kong.
func (c overrideSetCommand) Validate() error {
	_, err := c.limits()
	return err
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

func limit(flag string, text *string) (*adminapi.Limit, error) {
	if text == nil {
		return nil, nil
	}
	l, err := quota.ParseLimit(*text)
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
	return node.call(http.MethodPut, "overrides", nil, adminapi.Override{Application: c.App, Endpoint: c.Endpoint, Limits: limits}, nil)
}

type overrideClearCommand struct {
	connection
	App      string `arg:"" name:"application" help:"The application's id."`
	Endpoint string `arg:"" help:"The endpoint's id; * for the catch-all."`
}

func (c overrideClearCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	return node.call(http.MethodDelete, "overrides", url.Values{"application": {c.App}, "endpoint": {c.Endpoint}}, nil, nil)
}
