package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"github.com/perdiem/perdiem/adminapi"
)

type applicationCommands struct {
	List   applicationListCommand   `cmd:"" help:"List the applications."`
	Add    applicationAddCommand    `cmd:"" help:"Add an application, until it is removed."`
	Set    applicationSetCommand    `cmd:"" help:"Set an application's name or tier, suspend it, or put it in shadow mode, within a second."`
	Remove applicationRemoveCommand `cmd:"" help:"Remove an application that was added at run time, with its tokens, grants and alert settings."`
}

type applicationListCommand struct {
	connection
	Search string `placeholder:"TEXT" help:"Only those whose id or name contains this."`
}

func (c applicationListCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tTIER\tSTATE\tFROM")
	query := url.Values{"limit": {"1000"}}
	if c.Search != "" {
		query.Set("search", c.Search)
	}
	for {
		var page adminapi.ApplicationPage
		if err := node.call(http.MethodGet, "applications", query, nil, &page); err != nil {
			return err
		}
		for _, a := range page.Applications {
			fmt.Fprintln(w, applicationRow(a))
		}
		if err := w.Flush(); err != nil || page.Next == "" {
			return err
		}
		query.Set("after", page.Next)
	}
}

// applicationRow returns an application's line, its columns parted by tabs.
func applicationRow(a adminapi.ApplicationSummary) string {
	dash := func(text string) string {
		if text == "" {
			return "-"
		}
		return text
	}
	state := "active"
	switch {
	case a.Suspended:
		state = "suspended"
	case a.Shadow:
		state = "shadow"
	}
	from := "file"
	if !a.Origin.File {
		from = "run time"
	}
	return strings.Join([]string{a.ID, dash(a.Name), dash(a.Tier), state, from}, "\t")
}

// applicationArg is the application that a command is about.
type applicationArg struct {
	ID     string `arg:"" name:"application" help:"The application's id."`
	DryRun bool   `help:"Change nothing, and tell what would change."`
}

// Validate is called by kong.
func (a applicationArg) Validate() error { return checkID("application", a.ID) }

// query returns what an edit of the application is asked with.
func (a applicationArg) query() url.Values {
	query := url.Values{}
	if a.DryRun {
		query.Set("dryRun", "true")
	}
	return query
}

// isKnown reports whether the catalog has the application.
func (a applicationArg) isKnown(node *client) (bool, error) {
	err := node.call(http.MethodGet, "application", url.Values{"id": {a.ID}}, nil, nil)
	if r, ok := errors.AsType[refusal](err); ok && r.status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// applicationFlags are what can be set of an application.
type applicationFlags struct {
	Name      *string  `placeholder:"NAME" help:"For people; empty for none."`
	Tier      *string  `placeholder:"TIER" help:"One of the catalog's tiers; empty for none."`
	Suspended *yesFlag `placeholder:"yes|no" help:"Answer each of its calls with 403."`
	Shadow    *yesFlag `placeholder:"yes|no" help:"Let pass what its limits would refuse, uncharged."`
}

// settings returns what is set of the application.
func (f applicationFlags) settings(id string) adminapi.ApplicationSettings {
	return adminapi.ApplicationSettings{ID: id, Name: f.Name, Tier: f.Tier, Suspended: (*bool)(f.Suspended), Shadow: (*bool)(f.Shadow)}
}

// yesFlag is yes or no. As for a limit, whatever follows the flag is taken for its value.
type yesFlag bool

// Decode implements [kong.MapperValue].
func (f *yesFlag) Decode(ctx *kong.DecodeContext) error {
	switch t := ctx.Scan.Pop(); t.String() {
	case "yes":
		*f = true
	case "no":
		*f = false
	default:
		return errors.New("must be followed by yes or no")
	}
	return nil
}

type applicationAddCommand struct {
	connection
	applicationArg
	applicationFlags
}

func (c applicationAddCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	if known, err := c.isKnown(node); err != nil {
		return err
	} else if known {
		return fmt.Errorf("application %s is in the catalog already: perdiem application set changes it", c.ID)
	}
	return editApplication(p, node, http.MethodPut, c.query(), c.settings(c.ID))
}

type applicationSetCommand struct {
	connection
	applicationArg
	applicationFlags
}

// Validate is called by kong.
func (c applicationSetCommand) Validate() error {
	if err := c.applicationArg.Validate(); err != nil {
		return err
	}
	if c.applicationFlags == (applicationFlags{}) {
		return errors.New("give what is to be set: --name, --tier, --suspended or --shadow")
	}
	return nil
}

func (c applicationSetCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	if known, err := c.isKnown(node); err != nil {
		return err
	} else if !known {
		return fmt.Errorf("there is no application %s: perdiem application add adds it", c.ID)
	}
	return editApplication(p, node, http.MethodPut, c.query(), c.settings(c.ID))
}

type applicationRemoveCommand struct {
	connection
	applicationArg
}

func (c applicationRemoveCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	query := c.query()
	query.Set("id", c.ID)
	return editApplication(p, node, http.MethodDelete, query, nil)
}

// editApplication makes an edit of an application, and prints what it changes, as apply does.
func editApplication(p *program, node *client, method string, query url.Values, body any) error {
	var edited adminapi.Edited
	if err := node.call(method, "applications", query, body, &edited); err != nil {
		return err
	}
	for _, change := range edited.Changes {
		if _, err := fmt.Fprintln(p.stdout, change); err != nil {
			return err
		}
	}
	return nil
}
