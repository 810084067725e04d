package portal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/sqlregistry"
	"github.com/perdiem/perdiem/usage"
)

const sample = `
endpoints:
  - {id: posts.create, match: POST /rest/posts, application: 500, member: 50}
  - {id: posts.find, match: GET /rest/posts, application: 10000}
  - {id: posts.search, match: GET /rest/posts, when: {query: {q: author}}, application: 15000000, member: 1000}
catch_all: {application: 1000, member: 100}
tiers:
  development: {posts.create: {application: 400}}
applications:
  - {id: acme, name: Acme Scheduler, tier: development}
  - {id: beta}
  - {id: "..", name: Dots}
  - {id: "a/b?c#d%2F\"'é", name: "Odd"}
`

// counts are counters that say what they are told.
type counts struct {
	mu      sync.Mutex
	day     quota.Day                                // guarded by mu
	of      map[string][]usage.Counts                // guarded by mu: by application
	members map[string]map[string]usage.MemberCounts // guarded by mu: by member and endpoint
	err     error                                    // guarded by mu
	reads   int                                      // guarded by mu

	nearReads int // guarded by mu
}

func (c *counts) Day() quota.Day {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.day
}

func (c *counts) Application(_ context.Context, application string) ([]usage.Counts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	return append([]usage.Counts(nil), c.of[application]...), c.err
}

func (c *counts) Member(_ context.Context, _, member string, endpoints []string) ([]usage.MemberCounts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]usage.MemberCounts, len(endpoints))
	for i, e := range endpoints {
		all[i] = c.members[member][e]
	}
	return all, c.err
}

// ofMembers returns what members used of an endpoint.
func (c *counts) ofMembers(_ context.Context, _, endpoint string, members []string) ([]usage.MemberCounts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nearReads++
	all := make([]usage.MemberCounts, len(members))
	for i, m := range members {
		all[i] = c.members[m][endpoint]
	}
	return all, c.err
}

func (c *counts) set(application string, of ...usage.Counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[application] = of
}

func (c *counts) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// site is a portal that serves, on a real registry.
type site struct {
	*testing.T
	portal   *Portal
	server   *httptest.Server
	registry *sqlregistry.Registry
	counts   *counts
	history  *usage.History
	near     *usage.NearMembers
	snapshot *catalog.Snapshot                // as it was applied
	now      atomic.Pointer[catalog.Snapshot] // that holds
	logged   *bytes.Buffer
	called   []gatewayCall // one after the other
	tested   atomic.Int32  // how often alerts were tested
	revoked  atomic.Int32  // how often the portal had what was revoked refused
}

const password = "correct horse battery"

// at is the moment at which a site's clock stands.
var at = time.Date(2026, 11, 23, 18, 47, 27, 0, time.UTC)

func openSite(t *testing.T, catalogText string, change ...func(*Options)) *site {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s := &site{T: t, logged: &bytes.Buffer{}}
	parsed, err := catalog.Parse("catalog.yaml", []byte(catalogText), catalog.PathPolicy{})
	must(err)
	s.registry, err = sqlregistry.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "registry.db"), sqlregistry.Options{Now: func() time.Time { return at }})
	must(err)
	t.Cleanup(func() { must(s.registry.Close()) })
	_, err = s.registry.Apply(t.Context(), parsed, registry.ApplyOptions{})
	must(err)
	s.snapshot, err = catalog.NewSnapshot(parsed, catalog.Options{})
	must(err)
	s.now.Store(s.snapshot)
	for email, operator := range map[string]bool{"viewer@acme.example": false, "admin@acme.example": false, "other@beta.example": false, "operator@example.com": true} {
		_, err := s.registry.AddAccount(t.Context(), registry.NewAccount{Email: email, Operator: operator}, "")
		must(err)
	}
	for _, g := range []registry.Grant{
		{Email: "viewer@acme.example", Application: "acme", Role: registry.Viewer},
		{Email: "admin@acme.example", Application: "acme", Role: registry.Admin},
		{Email: "other@beta.example", Application: "beta", Role: registry.Admin},
	} {
		if _, known := s.snapshot.Application(g.Application); known {
			must(s.registry.Grant(t.Context(), g, ""))
		}
	}
	rule, err := quota.NewDayRule("UTC", "00:00")
	must(err)
	day := rule.At(at)
	s.counts = &counts{day: day, of: map[string][]usage.Counts{}, members: map[string]map[string]usage.MemberCounts{}}
	s.near, err = usage.OpenNear(t.Context(), usage.NearOptions{Store: s.registry, Day: s.counts.Day, Members: s.counts.ofMembers, Log: slog.New(slog.DiscardHandler)})
	must(err)
	reader, err := usage.New(usage.Options{Catalog: s.now.Load, Counters: s.counts, Now: func() time.Time { return at }, Near: s.near})
	must(err)
	s.history, err = usage.NewHistory(usage.HistoryOptions{
		Store: s.registry, Day: s.counts.Day, Decided: func(func(usage.Decided) bool) bool { return true }, DecidedOf: func(string, func(usage.Decided)) {}, Days: 400, Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler),
	})
	must(err)
	s.server = httptest.NewUnstartedServer(nil)
	base := &url.URL{Scheme: "http", Host: s.server.Listener.Addr().String()}
	o := Options{
		Accounts: s.registry, Tokens: s.registry, NewToken: identity.NewTokenKey().NewToken, TakesTokens: true, Revoked: func(context.Context) error { s.revoked.Add(1); return nil }, Alerts: s.registry, TestAlert: func(context.Context, string) (int, error) { return int(s.tested.Add(1)) - 1, nil }, MailsAlerts: true, Call: s.call, Contact: &url.URL{Scheme: "mailto", Opaque: "api@example.com"}, Catalog: s.now.Load, Usage: reader, History: s.history, SignIn: s.signInBy, Mark: func(email string) string { return "mark of " + email },
		Caller: func(r *http.Request) (identity.Caller, error) {
			if r.Header.Get("Authorization") != "Bearer acme" {
				return identity.Caller{}, fault.New(fault.Unauthorized, "No token.")
			}
			return identity.Caller{Application: "acme"}, nil
		},
		From: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.1") }, URL: base, Gateway: "http://gateway.example",
		Now: func() time.Time { return at }, Log: slog.New(slog.NewTextHandler(s.logged, nil)),
		Operators: OperatorOptions{
			Runtime: s.registry, Audit: s.registry.Audit, Changed: s.refresh, HashPassword: hashPassword, Health: func() Health { return well(day) },
		},
	}
	for _, c := range change {
		c(&o)
	}
	s.portal, err = New(o)
	must(err)
	s.server.Config.Handler = s.portal
	s.server.Start()
	t.Cleanup(s.server.Close)
	t.Cleanup(s.portal.Close)
	return s
}

// refresh takes up the registry's catalog.
func (s *site) refresh(ctx context.Context) error {
	c, version, err := s.registry.Catalog(ctx)
	if err != nil {
		return err
	}
	snapshot, err := catalog.NewSnapshot(c, catalog.Options{Version: version})
	if err != nil {
		return err
	}
	s.now.Store(snapshot)
	return nil
}

// hashPassword is as long-winded as tests can bear: not at all.
func hashPassword(_ context.Context, word string) (string, error) {
	if len(word) < 12 {
		return "", fault.New(fault.Invalid, "A password has at least 12 characters.")
	}
	return fmt.Sprintf("$hash$of-%d", len(word)), nil
}

// well is the health of a node with which all is well.
func well(day quota.Day) Health {
	return Health{
		Version: "v1.2.3", Day: day, CatalogVersion: 7,
		Ledger:     LedgerHealth{Durability: "disk", WhenDown: "refuse", DiskBytes: 300 << 20, FreeBytes: 40 << 30, Accounts: 1234},
		Protection: &ProtectionHealth{Limit: 64, InFlight: 3, Latency: 12 * time.Millisecond, UsualLatency: 15 * time.Millisecond},
		Listeners:  []Listener{{"gateway", "127.0.0.1:8080"}, {"portal", "127.0.0.1:8081"}, {"admin", "127.0.0.1:8082"}, {"ops", "127.0.0.1:9090"}},
	}
}

// call stands for the gateway: it notes what was called, and by whose token.
func (s *site) call(ctx context.Context, method, path, token string) (int, http.Header, error) {
	found, err := s.registry.TokenByHash(ctx, sha256.Sum256([]byte(token)))
	s.called = append(s.called, gatewayCall{method, path, found})
	return http.StatusOK, http.Header{"Ratelimit": {`"application";r=1;t=1`}, "X-Evil": {"<script>alert(1)</script>"}}, err
}

// gatewayCall is a call that reached the gateway.
type gatewayCall struct {
	method, path string
	token        registry.Token
}

func (s *site) signInBy(ctx context.Context, email, word string, from identity.From) (registry.Account, error) {
	switch {
	case !from.Address.IsValid():
		return registry.Account{}, errors.New("no address")
	case word == "often":
		return registry.Account{}, fault.New(fault.Exhausted, "Too many attempts: wait a minute.")
	case word != password:
		return registry.Account{}, fault.New(fault.Unauthorized, "The email address or the password is wrong.")
	}
	return s.registry.Account(ctx, email)
}

// browser is somebody at the site; email may be empty for nobody. It follows no redirect.
func (s *site) browser(email string) *browser {
	s.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.Fatal(err)
	}
	b := &browser{site: s, client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if email != "" {
		if got := b.post("/signin", url.Values{"email": {email}, "password": {password}}); got.status != http.StatusSeeOther {
			s.Fatalf("signing in as %s: %d %s", email, got.status, got.body)
		}
	}
	return b
}

type browser struct {
	site   *site
	client *http.Client
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (b *browser) do(r *http.Request) reply {
	b.site.Helper()
	res, err := b.client.Do(r)
	if err != nil {
		b.site.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.site.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

func (b *browser) request(method, path string, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(b.site.Context(), method, b.site.server.URL+path, body)
	if err != nil {
		b.site.Fatal(err)
	}
	return r
}

func (b *browser) get(path string) reply { b.site.Helper(); return b.do(b.request("GET", path, nil)) }

func (b *browser) post(path string, form url.Values) reply {
	b.site.Helper()
	r := b.request("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(r)
}

// document is a page as a browser reads it.
func (r reply) document(t *testing.T) *html.Node {
	t.Helper()
	n, err := html.Parse(strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// all returns the elements of a document of which is says yes, templates' content left out.
func all(n *html.Node, is func(*html.Node) bool) (found []*html.Node) {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && is(d) {
			found = append(found, d)
		}
	}
	return found
}

func attribute(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func having(name, value string) func(*html.Node) bool {
	return func(n *html.Node) bool {
		got, ok := attribute(n, name)
		return ok && (value == "" || got == value)
	}
}

// fields returns the values of a row's cells, by their fields.
func fields(row *html.Node) map[string]string {
	values := map[string]string{}
	for _, cell := range all(row, having("data-field", "")) {
		name, _ := attribute(cell, "data-field")
		values[name], _ = attribute(cell, "data-value")
	}
	return values
}
