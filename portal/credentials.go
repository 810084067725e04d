package portal

import (
	"context"
	"net/http"
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
	tokensPage   = 50                 // tokens on a page
	maxOwnTokens = 100                // of an application that hold, so that a form cannot fill the registry
	endsSoon     = 7 * 24 * time.Hour // from when on an expiry is near
)

// lifetimeOption is how long a token may hold.
type lifetimeOption struct {
	Key, Name string
	holds     time.Duration // 0: until it is revoked
}

// lifetimes are how long a token holds that is issued here.
var lifetimes = []lifetimeOption{
	{"24h", "24 hours", 24 * time.Hour},
	{"7d", "7 days", 7 * 24 * time.Hour},
	{"30d", "30 days", 30 * 24 * time.Hour},
	{"90d", "90 days", 90 * 24 * time.Hour},
	{"365d", "365 days", 365 * 24 * time.Hour},
	{"never", "Until it is revoked", 0},
}

// usualLifetime is the one that is offered first.
const usualLifetime = "90d"

// credentialsBody is what the tab Credentials is told.
type credentialsBody struct {
	App       application
	MayChange bool
	Done      string
	Issued    *issuedToken // shown this once
	Lifetime  field
	Lifetimes []option
	Tokens    []tokenRow
	Newest    string // paths; empty: there is none
	Older     string
	Asked     string // the path of revoking
}

// option is one of a field that offers several.
type option struct {
	Key, Name string
	Chosen    bool
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
func (p *Portal) credentials(v *visit) error {
	return p.showCredentials(v, http.StatusOK, field{Value: usualLifetime})
}

func (p *Portal) showCredentials(v *visit, status int, lifetime field) error {
	query, now := v.r.URL.Query(), p.Now()
	before, _ := strconv.ParseInt(query.Get("before"), 10, 64) // what is no number is the first page
	tokens, next, err := p.Tokens.HoldingTokens(v.r.Context(), registry.HoldingTokens{Application: v.app.ID, Before: before, Limit: tokensPage})
	if err != nil {
		return err
	}
	tab := p.applicationPath(v.app.ID, "credentials")
	body := credentialsBody{App: v.application("credentials"), MayChange: v.mayChange(), Lifetime: lifetime, Asked: tab + "/revoke"}
	if before > 0 {
		body.Newest = tab
	}
	if next > 0 {
		body.Older = tab + "?before=" + strconv.FormatInt(next, 10)
	}
	for _, l := range lifetimes {
		body.Lifetimes = append(body.Lifetimes, option{l.Key, l.Name, l.Key == lifetime.Value})
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
	return v.show(status, "credentials", shown)
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
	form, err := v.form()
	if err != nil {
		return err
	}
	lifetime := field{Value: form.Get("lifetime")}
	chosen := slices.IndexFunc(lifetimes, func(l lifetimeOption) bool { return l.Key == lifetime.Value })
	if chosen < 0 {
		lifetime.Problem = "Choose how long the token holds."
		return p.showCredentials(v, http.StatusUnprocessableEntity, lifetime)
	}
	var expires time.Time
	if d := lifetimes[chosen].holds; d > 0 {
		expires = p.Now().Add(d)
	}
	token, secret, err := p.newToken(v, expires)
	if fault.KindOf(err) == fault.Conflict {
		lifetime.Problem = wrong(err)
		return p.showCredentials(v, http.StatusUnprocessableEntity, lifetime)
	}
	if err != nil {
		return err
	}
	issued := issuedToken{Token: token, Secret: secret, Curl: strings.Replace(p.example(p.Catalog(), v.app), "TOKEN", secret, 1)}
	v.onward("credentials", "issued", p.once.keep(*v.session, issued, p.Now()))
	return nil
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
			Heading: "Revoke token " + id + "?", Asked: "credentials/revoke", Fields: [][2]string{{"token", id}}, Button: "Revoke " + id,
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
