// Package portal is the Developer Portal: the pages on which the developers of an application see what they may call, what they have called
// today and when it resets, while it happens; and GET /v1/usage, which tells the same to their programs.
//
//	p, err := portal.New(portal.Options{…})
//	server := &http.Server{Handler: p}
//	…
//	p.Close() // ends the pages that are live, for which Shutdown would wait
//
// # Who sees what
//
// [routes] is all that there is to ask for, and says of each what somebody has to be: signed in, a viewer or an admin of the application that
// the path names, or an operator, who is all of it. Whoever may not see an application gets the same 404 as for one that does not exist.
//
// # Pages
//
// Each page has a folder in pages, with its template and its style, and a file here with its handler. All are put into the frame of pages/frame.
// They are whole without a script; live.js, which only the Analytics tab has, changes in place what the server sends it, and that is
// what the template makes: nothing is worded or drawn twice. Nothing is written into a page but by html/template, and the
// Content-Security-Policy lets no script or style run that is not a file of ours.
//
// # Operators
//
// The pages below /operator change the catalog by [registry.Runtime], all in the same way ([Portal.change]): a form that is sent leads to a preview of what would
// change and whom it would touch, and what is sent from there is done, as long as it is still that.
//
// # Paths
//
// An application's id is one escaped segment, whatever is in it ([segment]). A portal_url with a path is put before all of them; a request is taken with
// it and without.
package portal

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

// Options are what a [Portal] needs. All are required but TakesTokens, MailsAlerts, OIDC, URLUntold, Gateway, Call and Contact.
type Options struct {
	// Accounts keeps who may sign in, what is granted to them, and their sessions.
	Accounts registry.Accounts
	// Catalog returns the catalog that holds now.
	Catalog func() *catalog.Snapshot
	// Tokens keeps the applications' tokens.
	Tokens Tokens
	// NewToken returns the secret of a new token, and its hash.
	NewToken func() (secret string, hash registry.Hash)
	// TakesTokens says that callers are identified by such tokens. Without it none is issued, and people are told so.
	TakesTokens bool
	// Revoked has a token that was just revoked refused at once; where it fails, that takes a moment.
	Revoked func(context.Context) error
	// Alerts keeps when the applications' people are warned, and how.
	Alerts AlertSettings
	// TestAlert has an alert that tells of no limit delivered by each of an application's channels, and returns by how many.
	TestAlert func(ctx context.Context, application string) (int, error)
	// MailsAlerts says that there is a mail server for alerts. Without one addresses are kept, and people told that nothing goes there.
	MailsAlerts bool
	Usage       *usage.Reader
	History     *usage.History
	// SignIn returns the account of an email and a password. The error is [fault.Unauthorized] where they do not belong together, and
	// [fault.Exhausted] where too many were tried from the address or for the account.
	SignIn func(ctx context.Context, email, password string, from identity.From) (registry.Account, error)
	// Mark returns what a browser keeps, and sends with [identity.From], by which somebody has signed in to the account of an email.
	Mark func(email string) string
	// OIDC lets people sign in at an issuer, too; nil: by password alone. Its Redirect is [OIDCCallback] below URL.
	OIDC *identity.OIDC
	// Caller returns who makes a request by an application's or a member's token.
	Caller func(*http.Request) (identity.Caller, error)
	// From returns where a request comes from: what is behind the proxies that are trusted.
	From func(*http.Request) netip.Addr
	// URL is where browsers find the portal, perhaps with a path.
	URL *url.URL
	// URLUntold says that URL is only where the portal listens: browsers may find it elsewhere, which their requests tell.
	URLUntold bool
	// Gateway is where callers find the gateway, as http://HOST:PORT, perhaps with a path, and without quotes, for the commands that pages show; empty: that is not known.
	Gateway string
	// Call makes a test call; nil: there is no gateway, or it believes no tokens of perdiem's.
	Call Call
	// Contact is whom developers ask for higher limits, as mailto: or http(s):; nil: whoever runs the API, who is not named.
	Contact *url.URL
	// Operators is for the operators' pages alone.
	Operators OperatorOptions
	Now       func() time.Time
	Log       *slog.Logger
}

// Portal is an [http.Handler]. It is safe for concurrent use.
type Portal struct {
	Options
	base        string // the path before all others; empty, or begins with a slash and does not end with one
	routes      []route
	files       files
	pages       pages
	sessions    sessions
	crossOrigin *http.CrossOriginProtection
	hub         *hub
	once        once
	near        nearMembers

	forms      *paces // that change something of an application, by account
	calls      *paces // test calls, by application
	alertTests *paces // by application

	warnInsecure sync.Once // that sessions are begun without TLS
}

// New returns the portal, or an error that says which option is missing.
func New(o Options) (*Portal, error) {
	for _, need := range []struct {
		name    string
		missing bool
	}{
		{"Accounts", o.Accounts == nil},
		{"Catalog", o.Catalog == nil},
		{"Tokens", o.Tokens == nil},
		{"NewToken", o.NewToken == nil},
		{"Revoked", o.Revoked == nil},
		{"Alerts", o.Alerts == nil},
		{"TestAlert", o.TestAlert == nil},
		{"Usage", o.Usage == nil},
		{"History", o.History == nil},
		{"SignIn", o.SignIn == nil},
		{"Caller", o.Caller == nil},
		{"From", o.From == nil},
		{"URL", o.URL == nil},
		{"Now", o.Now == nil},
		{"Log", o.Log == nil},
		{"Operators." + o.Operators.missing(), o.Operators.missing() != ""},
	} {
		if need.missing {
			return nil, errors.New("portal: Options need " + need.name)
		}
	}
	p := &Portal{
		Options: o, base: strings.TrimRight(o.URL.EscapedPath(), "/"), routes: routes(), crossOrigin: http.NewCrossOriginProtection(),
		forms: newPaces(formsAtOnce, formEvery), calls: newPaces(1, callEvery), alertTests: newPaces(1, testEvery),
	}
	if err := p.crossOrigin.AddTrustedOrigin(o.URL.Scheme + "://" + o.URL.Host); err != nil {
		return nil, err
	}
	var err error
	if p.files, err = readFiles(); err != nil {
		return nil, err
	}
	if p.pages, err = p.readPages(); err != nil {
		return nil, err
	}
	p.sessions = sessions{secure: p.newSessions(true), open: p.newSessions(false)}
	p.hub = newHub(p.look)
	return p, nil
}

// Close ends what is live, and lets nothing go live any more.
func (p *Portal) Close() { p.hub.close() }

// policy is the Content-Security-Policy of every answer.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// maxBody is the size of the largest body that is read, in bytes: that of a form whose fields are filled in with as many characters as they take, each escaped
// to nine bytes. The operators' form of an endpoint is the longest, by its conditions.
const maxBody = 256 << 10

// ServeHTTP serves a request.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // with none at all, a form's Origin would be null
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)

	v := &visit{portal: p, w: w, r: r}
	if err := v.serve(); err != nil {
		v.fail(err)
	}
}

// path returns the path of something in the portal, which may have a query.
func (p *Portal) path(rest string) string { return p.base + rest }

// applicationPath returns the path of a page of an application.
func (p *Portal) applicationPath(id, page string) string {
	return p.path("/apps/" + segment(id) + "/" + page)
}

// displayName is what an application is called.
func displayName(a *catalog.Application) string { return cmp.Or(a.Name, a.ID) }
