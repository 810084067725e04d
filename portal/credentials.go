package portal

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// Tokens is what the portal needs of a [registry.Registry] for the tab Credentials, as that has it.
type Tokens interface {
	IssueToken(context.Context, registry.NewToken) (registry.Token, error)
	RevokeToken(ctx context.Context, id, actor string) error
	Token(ctx context.Context, id string) (registry.Token, error)
	HoldingTokens(context.Context, registry.HoldingTokens) (tokens []registry.Token, next int64, err error)
}

const (
	maxOwnTokens = 100                // of an application that hold, so that a form cannot fill the registry
	endsSoon     = 7 * 24 * time.Hour // from when on an expiry is near
)

// lifetimes are how long a token holds that is issued here: the value of the form's field, and how it is called.
var lifetimes = [][2]string{
	{"24h", "24 hours"},
	{"168h", "7 days"},
	{"720h", "30 days"},
	{"2160h", "90 days"},
	{"8760h", "365 days"},
	{"0", "Until it is revoked"},
}

// usualLifetime is the one that is offered first.
const usualLifetime = "2160h"

// credentialsBody is what the tab Credentials is told.
type credentialsBody struct {
	App       application
	MayChange bool
	MayIssue  bool
	InUse     bool // callers are identified by such tokens
	Done      string
	Issued    *issuedToken // shown this once
	Form      form
	Tokens    []tokenRow
	Newest    string // paths; empty: there is none
	Older     string
	Asked     string // the path of revoking
}

// issuedToken is a new token with its secret.
type issuedToken struct {
	registry.Token
	Secret string
	Curl   string // a command that uses it; empty: it is not known how
}

// tokenRow is a token in the list.
type tokenRow struct {
	registry.Token
	Soon string // in how many days it expires, where that is soon
}

// credentials shows the tab Credentials: the tokens that hold.
func (p *Portal) credentials(v *visit) error { return p.showCredentials(v, nil) }

func (p *Portal) showCredentials(v *visit, s *sent) error {
	query, now := v.r.URL.Query(), p.Now()
	before, _ := strconv.ParseInt(query.Get("before"), 10, 64) // what is no number is the first page
	tokens, next, err := p.Tokens.HoldingTokens(v.r.Context(), registry.HoldingTokens{Application: v.app.ID, Before: before, Limit: perPage})
	if err != nil {
		return err
	}
	tab := p.applicationPath(v.app.ID, "credentials")
	body := credentialsBody{App: v.application("credentials"), MayChange: v.mayChange(), MayIssue: v.mayChange() && p.TakesTokens, InUse: p.TakesTokens, Asked: tab + "/revoke"}
	body.Form = s.form(form{Action: tab, Button: "Issue a token", Fields: []field{{
		Name: "lifetime", Label: "How long it holds", Help: "It calls as the application itself. Tokens for members are issued by whoever runs this API.", Options: choices(usualLifetime, lifetimes...),
	}}})
	if before > 0 {
		body.Newest = tab
	}
	if next > 0 {
		body.Older = tab + "?before=" + strconv.FormatInt(next, 10)
	}
	for _, t := range tokens {
		row := tokenRow{Token: t}
		if left := t.Expires.Sub(now); !t.Expires.IsZero() && left < endsSoon {
			row.Soon = in(left)
		}
		body.Tokens = append(body.Tokens, row)
	}
	shown := page{Title: "Credentials · " + displayName(v.app)}
	switch {
	case query.Has("revoked"):
		body.Done = "The token was revoked. Whoever sends it is refused."
	case query.Has("issued"):
		issued, ok := p.once.take(*v.session, query.Get("issued"), now).(issuedToken)
		if !ok {
			body.Done = "The new token's secret was shown once, and cannot be shown again. If nobody has kept it, revoke the token and issue another."
			break
		}
		body.Issued, shown.Script = &issued, "copy.js"
	}
	shown.Body = body
	return v.show(s.status(), "credentials", shown)
}

// in says after which time something happens, roughly.
func in(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return count(int64(d/(24*time.Hour)), "day", "days")
	case d >= 2*time.Hour:
		return count(int64(d/time.Hour), "hour", "hours")
	default:
		return count(max(1, int64(d/time.Minute)), "minute", "minutes")
	}
}

// issueToken issues a token of the application itself. Those of members are the operator's to issue.
func (p *Portal) issueToken(v *visit) error {
	if !p.TakesTokens {
		return fault.New(fault.Conflict, "No call could be made with a token of this portal: whoever runs this API has callers identified otherwise.")
	}
	form, err := v.form()
	if err != nil {
		return err
	}
	expires, err := p.readLifetime(form)
	var token registry.Token
	var secret string
	if err == nil {
		token, secret, err = p.newToken(v, expires)
	}
	if isFormError(err) {
		return p.showCredentials(v, &sent{values: form, err: err})
	}
	if err != nil {
		return err
	}
	issued := issuedToken{Token: token, Secret: secret, Curl: strings.Replace(p.example(p.Catalog(), v.app), "TOKEN", secret, 1)}
	v.onward("credentials", "issued", p.once.keep(*v.session, issued, p.Now()))
	return nil
}

// readLifetime returns when a token expires that lives as long as the form says; the zero time: when it is revoked.
func (p *Portal) readLifetime(form url.Values) (time.Time, error) {
	lifetime := form.Get("lifetime")
	if !slices.ContainsFunc(lifetimes, func(l [2]string) bool { return l[0] == lifetime }) {
		return time.Time{}, misfilled("lifetime", "Choose how long the token holds.")
	}
	holds, err := time.ParseDuration(lifetime)
	if err != nil || holds == 0 {
		return time.Time{}, err
	}
	return p.Now().Add(holds), nil
}

// newToken issues a token of the visit's application; [fault.Conflict] where it has too many.
func (p *Portal) newToken(v *visit, expires time.Time) (_ registry.Token, secret string, err error) {
	secret, hash := p.NewToken()
	token, err := p.Tokens.IssueToken(v.r.Context(), registry.NewToken{
		Hash: hash, Application: v.app.ID, Expires: expires, MaxOwn: maxOwnTokens, Actor: v.account.Email,
	})
	return token, secret, err
}

// revokeToken ends one of the application's tokens, a member's too, after it has asked.
func (p *Portal) revokeToken(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	ctx, id := v.r.Context(), form.Get("token")
	token, err := p.Tokens.Token(ctx, id)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if err != nil || token.Application != v.app.ID { // another's is not told from none
		return fault.New(fault.NotFound, "The application has no such token.")
	}
	if !isSure(form) {
		whose := "the application itself"
		if token.Member != "" {
			whose = "member " + token.Member
		}
		return v.ask("credentials", question{
			Heading: "Revoke token " + id + "?", Asked: "credentials/revoke", Hidden: []hidden{{"token", id}}, Button: "Revoke " + id,
			Text: "It is a token of " + whose + ", issued on " + date(token.Created) + ". Calls that send it are refused from now on, and it cannot be brought back.",
		})
	}
	if err := p.Tokens.RevokeToken(ctx, id, v.account.Email); err != nil {
		return err
	}
	if err := p.Revoked(ctx); err != nil {
		p.Log.Warn("a token that was revoked may hold on this node for some seconds still", "token", id, "err", err)
	}
	v.onward("credentials", "revoked", "")
	return nil
}
