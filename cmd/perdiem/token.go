package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/registry"
)

type tokenCommands struct {
	Issue  tokenIssueCommand  `cmd:"" help:"Issue a token: the secret goes to standard output, once."`
	Revoke tokenRevokeCommand `cmd:"" help:"End a token for good."`
	List   tokenListCommand   `cmd:"" help:"List an application's tokens."`
}

type tokenIssueCommand struct {
	connection
	App    string  `required:"" placeholder:"ID" help:"The application."`
	Member *string `placeholder:"ID" help:"The member for whom the application acts; else the token is the application's own."`
	TTL    ttlFlag `name:"ttl" default:"24h" placeholder:"DURATION" help:"How long it holds (${default})."`
}

// Validate is called by kong.
func (c tokenIssueCommand) Validate() error {
	if _, err := c.TTL.duration(); err != nil {
		return err
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
	ttl, err := c.TTL.duration()
	if err != nil {
		return err
	}
	request := adminapi.TokenRequest{Application: c.App, TTL: ttl.String()}
	if c.Member != nil {
		request.Member = *c.Member
	}
	var issued adminapi.IssuedToken
	if err := node.call(http.MethodPost, "tokens", nil, request, &issued); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "%s expires %s\n", issued.ID, instant(issued.Expires, "never"))
	if issued.Warning != "" {
		fmt.Fprintln(p.stderr, issued.Warning)
	}
	_, err = fmt.Fprintln(p.stdout, issued.Secret)
	return err
}

// maxTTL is the longest time for which a token is issued here: a hundred years.
const maxTTL = 876_000 * time.Hour

// ttlFlag is a duration as it was typed. As for a limit, whatever follows the flag is taken for its value.
type ttlFlag string

// Decode implements [kong.MapperValue].
func (f *ttlFlag) Decode(ctx *kong.DecodeContext) error {
	t := ctx.Scan.Pop()
	if t.IsEOL() {
		return errors.New("must be followed by a duration, such as 24h")
	}
	*f = ttlFlag(t.String())
	return nil
}

func (f ttlFlag) duration() (time.Duration, error) {
	d, err := time.ParseDuration(string(f))
	if err != nil || d <= 0 || d > maxTTL {
		return 0, fmt.Errorf("--ttl %.64q: must be a duration of more than 0 and at most 876000h, such as 24h or 1h30m", string(f))
	}
	return d, nil
}

type tokenRevokeCommand struct {
	connection
	ID string `arg:"" name:"token-id" help:"The token's id, as issue and list tell it; or its secret, which is not shown."`
}

// Validate is called by kong.
func (c tokenRevokeCommand) Validate() error {
	if c.ID == "" {
		return errors.New("token-id: give the token's id, which perdiem token list --app A tells")
	}
	return nil
}

func (c tokenRevokeCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	id, err := c.id(node)
	if err != nil {
		return err
	}
	if err := node.call(http.MethodDelete, "tokens", url.Values{"id": {id}}, nil, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "token %s revoked\n", id)
	return err
}

// id returns the token's id. Whoever found a secret where it should not be has no id: the secret itself will do. It is neither sent nor shown, its
// hash is.
func (c tokenRevokeCommand) id(node *client) (string, error) {
	if !strings.Contains(c.ID, identity.TokenPrefix) {
		return c.ID, nil
	}
	hash, ok := identity.TokenHash(c.ID)
	if !ok {
		return "", errors.New("this holds a token's secret, or a part of one, not a token's id: give the whole secret and nothing else, or the id, " +
			"which perdiem token list --app A tells")
	}
	var page adminapi.TokenPage
	if err := node.call(http.MethodGet, "tokens", url.Values{"hash": {hex.EncodeToString(hash[:])}}, nil, &page); err != nil {
		return "", err
	}
	if len(page.Tokens) != 1 {
		return "", errors.New("the node does not find a token by its secret: give the id, which perdiem token list --app A tells")
	}
	return page.Tokens[0].ID, nil
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
