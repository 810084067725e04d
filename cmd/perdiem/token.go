package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/registry"
)

type tokenCommands struct {
	Issue  tokenIssueCommand  `cmd:"" help:"Issue a token: the secret goes to standard output, once."`
	Revoke tokenRevokeCommand `cmd:"" help:"End a token for good."`
	List   tokenListCommand   `cmd:"" help:"List an application's tokens."`
}

type tokenIssueCommand struct {
	connection
	App    string        `required:"" placeholder:"ID" help:"The application."`
	Member *string       `placeholder:"ID" help:"The member for whom the application acts; else the token is the application's own."`
	TTL    time.Duration `name:"ttl" default:"24h" placeholder:"DURATION" help:"How long it holds (${default})."`
}

// Validate is called by kong.
func (c tokenIssueCommand) Validate() error {
	if c.TTL <= 0 {
		return errors.New("--ttl: must be more than 0")
	}
	if err := checkID("--app", c.App); err != nil {
		return err
	}
	return checkMember(c.Member)
}

func (c tokenIssueCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	request := adminapi.TokenRequest{Application: c.App, TTL: c.TTL.String()}
	if c.Member != nil {
		request.Member = *c.Member
	}
	var issued adminapi.IssuedToken
	if err := node.call(http.MethodPost, "tokens", nil, request, &issued); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "%s expires %s\n", issued.ID, instant(issued.Expires, "never"))
	_, err = fmt.Fprintln(p.stdout, issued.Secret)
	return err
}

type tokenRevokeCommand struct {
	connection
	ID string `arg:"" name:"token-id" help:"The token's id, as issue and list tell it."`
}

func (c tokenRevokeCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	if err := node.call(http.MethodDelete, "tokens", url.Values{"id": {c.ID}}, nil, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "token %s revoked\n", c.ID)
	return err
}

type tokenListCommand struct {
	connection
	App string `required:"" placeholder:"ID" help:"The application."`
}

func (c tokenListCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	// Each page is written as it comes: an application may have more tokens than fit in memory. Within a page, columns are aligned.
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tMEMBER\tCREATED\tEXPIRES\tSTATE")
	query := url.Values{"application": {c.App}}
	for {
		var page adminapi.TokenPage
		if err := node.call(http.MethodGet, "tokens", query, nil, &page); err != nil {
			return err
		}
		for _, t := range page.Tokens {
			fmt.Fprintln(w, tokenRow(t, p.now()))
		}
		if err := w.Flush(); err != nil || page.Next == 0 {
			return err
		}
		query.Set("after", strconv.FormatInt(page.Next, 10))
	}
}

// tokenRow returns a token's line, its columns parted by tabs.
func tokenRow(t adminapi.Token, now time.Time) string {
	member := t.Member
	if member == "" {
		member = "-"
	}
	state := "valid"
	switch {
	case t.Revoked != nil:
		state = "revoked"
	case t.Expires != nil && !now.Before(*t.Expires):
		state = "expired"
	}
	return strings.Join([]string{t.ID, member, instant(&t.Created, ""), instant(t.Expires, "never"), state}, "\t")
}

// checkMember refuses a --member that is no id. An empty one is refused as well: a shell's variable that was not set would otherwise make an
// application's token.
func checkMember(member *string) error {
	switch {
	case member == nil:
		return nil
	case *member == "":
		return errors.New("--member: must not be empty; leave it out for the application itself")
	default:
		return checkID("--member", *member)
	}
}

// checkID refuses what cannot be the id of an application or a member.
func checkID(flag, id string) error {
	if !registry.ValidID(id) {
		return fmt.Errorf("%s: an id is 1 to 256 bytes of UTF-8 without control characters", flag)
	}
	return nil
}

// instant writes a time for people and programs alike; missing where there is none.
func instant(t *time.Time, missing string) string {
	if t == nil {
		return missing
	}
	return t.UTC().Format(time.RFC3339)
}
