package portal

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/sqlregistry"
)

func cookie(t *testing.T, r reply) *http.Cookie {
	t.Helper()
	c, err := http.ParseSetCookie(r.header.Get("Set-Cookie"))
	if err != nil {
		t.Fatalf("Set-Cookie %q: %v", r.header.Get("Set-Cookie"), err)
	}
	return c
}

func TestSignIn(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser("")
	form := url.Values{"email": {"Viewer@acme.example"}, "password": {password}, "next": {"/apps/acme/analytics?sort=-used"}}
	if got := b.get("/apps/acme/analytics?sort=-used"); got.header.Get("Location") != "/signin?next=%2Fapps%2Facme%2Fanalytics%3Fsort%3D-used" {
		t.Fatalf("sent to %s", got.header.Get("Location"))
	}
	wrong := b.post("/signin", url.Values{"email": {"viewer@acme.example"}, "password": {"wrong"}})
	if wrong.status != 403 || wrong.header.Get("Set-Cookie") != "" || !strings.Contains(wrong.body, "is wrong") || strings.Contains(wrong.body, `value="wrong"`) {
		t.Errorf("a wrong password: %d %v %s", wrong.status, wrong.header, wrong.body)
	}
	if got := b.post("/signin", url.Values{"email": {"viewer@acme.example"}, "password": {"often"}}); got.status != 429 || !strings.Contains(got.body, "wait a minute") {
		t.Errorf("too often: %d %s", got.status, got.body)
	}

	got := b.post("/signin", form)
	if got.status != 303 || got.header.Get("Location") != "/apps/acme/analytics?sort=-used" {
		t.Fatalf("%d %s", got.status, got.header.Get("Location"))
	}
	c := cookie(t, got)
	left := time.Until(c.Expires)
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure || c.Path != "/" || c.Domain != "" || left > 12*time.Hour+time.Minute || left < 11*time.Hour {
		t.Errorf("the cookie is %+v", c)
	}
	if page := b.get("/apps/acme/analytics"); page.status != 200 || !strings.Contains(page.body, "viewer@acme.example") {
		t.Errorf("signed in: %d", page.status)
	}
	if again := b.get("/signin?next=/apps/acme"); again.status != 303 || again.header.Get("Location") != "/apps/acme" {
		t.Errorf("the page of signing in, signed in: %d %v", again.status, again.header)
	}
	if out := b.post("/signout", nil); out.status != 303 || cookie(t, out).MaxAge >= 0 {
		t.Errorf("signing out: %d %v", out.status, out.header)
	}
	// Whoever kept the cookie has nothing.
	r := b.request("GET", "/apps", nil)
	r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	if got := b.do(r); got.status != 303 {
		t.Errorf("the cookie still opens: %d", got.status)
	}
}

// A session's secret that somebody put into the browser is worth nothing after signing in.
func TestSessionFixation(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser("")
	first := cookie(t, b.post("/signin", url.Values{"email": {"viewer@acme.example"}, "password": {password}}))
	second := cookie(t, b.post("/signin", url.Values{"email": {"admin@acme.example"}, "password": {password}}))
	if first.Value == second.Value {
		t.Fatal("the secret stayed")
	}
	r := s.browser("").request("POST", "/signin", strings.NewReader(url.Values{"email": {"viewer@acme.example"}, "password": {password}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.AddCookie(&http.Cookie{Name: first.Name, Value: "planted"})
	if got := cookie(t, s.browser("").do(r)); got.Value == "planted" {
		t.Error("a planted secret was taken")
	}
	for _, value := range []string{first.Value, "planted"} {
		r := s.browser("").request("GET", "/apps", nil)
		r.AddCookie(&http.Cookie{Name: first.Name, Value: value})
		if got := s.browser("").do(r); got.status != 303 {
			t.Errorf("%s opens: %d", value, got.status)
		}
	}
}

// Sessions end with the password, the account, and the grant.
func TestSessionsEnd(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser("viewer@acme.example")
	if err := s.registry.Withdraw(t.Context(), "viewer@acme.example", "acme", ""); err != nil {
		t.Fatal(err)
	}
	if got := b.get("/apps/acme/analytics"); got.status != 404 {
		t.Errorf("the grant is gone: %d", got.status)
	}
	if err := s.registry.EndSessions(t.Context(), "viewer@acme.example", ""); err != nil {
		t.Fatal(err)
	}
	if got := b.get("/apps"); got.status != 303 {
		t.Errorf("the sessions were ended: %d", got.status)
	}
	admin := s.browser("admin@acme.example")
	if err := s.registry.RemoveAccount(t.Context(), "admin@acme.example", ""); err != nil {
		t.Fatal(err)
	}
	if got := admin.get("/apps"); got.status != 303 {
		t.Errorf("the account is gone: %d", got.status)
	}
}

func TestCookiesAreForTLS(t *testing.T) {
	for address, secure := range map[string]bool{
		"https://portal.example/base/": true, "http://portal.example": true, "http://192.0.2.1:8081": true, "https://127.0.0.1": true,
		"http://127.0.0.1:8081": false, "http://localhost:8081": false, "http://[::1]:8081": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		s := openSite(t, sample, func(o *Options) { o.URL = u })
		got := s.browser("").post("/signin", url.Values{"email": {"viewer@acme.example"}, "password": {password}})
		c := cookie(t, got)
		if c.Secure != secure || secure != strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("%s: the cookie is %v", address, c)
		}
	}
}

// Where nobody told the portal's address, each request decides by the name that it came to.
func TestCookiesByHost(t *testing.T) {
	for address, secure := range map[string]map[string]bool{
		"http://127.0.0.1:8081": {
			"portal.example": true, "192.0.2.1:8081": true, "localhost.example": true, "[2001:db8::1]:8081": true,
			"127.0.0.1:8081": false, "localhost:8081": false, "localhost": false, "[::1]:8081": false,
		},
		"https://127.0.0.1:8081": {"portal.example": true, "127.0.0.1:8081": true}, // it speaks TLS itself
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		issuer := testkit.StartIssuer(t)
		s := openOIDCSite(t, issuer, func(o *Options) { o.URL, o.URLUntold = u, true })
		ask := func(host, method, path, body string, cookies ...*http.Cookie) reply {
			r := s.browser("").request(method, path, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Host = host
			for _, c := range cookies {
				r.AddCookie(c)
			}
			return s.browser("").do(r)
		}
		for host, secure := range secure {
			prefix := ""
			if secure {
				prefix = "__Host-"
			}
			c := cookie(t, ask(host, "POST", "/signin", url.Values{"email": {"viewer@acme.example"}, "password": {password}}.Encode()))
			if c.Secure != secure || c.Name != prefix+"perdiem" {
				t.Errorf("%s at %s: the cookie is %v", host, address, c)
			}
			if begun := cookie(t, ask(host, "GET", "/signin/oidc", "")); begun.Secure != secure || begun.Name != prefix+attemptCookie {
				t.Errorf("%s at %s: the attempt is %v", host, address, begun)
			}
			if got := ask(host, "GET", "/apps", "", c); got.status != 200 {
				t.Errorf("%s at %s: signed in, %d", host, address, got.status)
			}
			// One of the other name may be anybody's.
			other := &http.Cookie{Name: map[bool]string{true: "perdiem", false: "__Host-perdiem"}[secure], Value: c.Value}
			if got := ask(host, "GET", "/apps", "", other); got.status != 303 {
				t.Errorf("%s at %s: with the cookie %s, %d", host, address, other.Name, got.status)
			}
			if gone := cookie(t, ask(host, "POST", "/signout", "", c)); gone.Name != c.Name || gone.MaxAge >= 0 && gone.Value != "" {
				t.Errorf("%s at %s: signed out, the cookie is %v", host, address, gone)
			}
			warns := strings.Contains(ask(host, "GET", "/signin", "").body, "Unless the address of this page begins with https")
			if warns != (secure && u.Scheme == "http") {
				t.Errorf("%s at %s: the page warns of a missing encryption: %t", host, address, warns)
			}
		}
	}
}

// A portal below a path of its address links there, and takes requests with the path and without it.
func TestBasePath(t *testing.T) {
	s := openSite(t, sample, func(o *Options) { u := *o.URL; u.Path = "/portal/"; o.URL = &u })
	b := s.browser("admin@acme.example")
	for _, path := range []string{"/portal/apps/acme/analytics", "/apps/acme/analytics"} {
		got := b.get(path)
		if got.status != 200 {
			t.Fatalf("%s: %d", path, got.status)
		}
		for _, n := range all(got.document(t), having("href", "")) {
			if href, _ := attribute(n, "href"); strings.HasPrefix(href, "/") && !strings.HasPrefix(href, "/portal/") {
				t.Errorf("%s links to %s", path, href)
			}
		}
	}
	if got := s.browser("").get("/apps"); got.header.Get("Location") != "/portal/signin" {
		t.Errorf("sent to %s", got.header.Get("Location"))
	}
}

// Signing in leads to a page of the portal, and nowhere else.
func TestNoOpenRedirect(t *testing.T) {
	s := openSite(t, sample)
	for next, good := range map[string]bool{
		"/apps": true, "/apps/acme/analytics?sort=-used&member=m%2F1": true, "/apps/a%2Fb/analytics": true, "/apps/~../analytics": true,
		"": false, "apps": false, "//evil.example": false, "/\\evil.example": false, "\\\\evil.example": false, "https://evil.example": false, "https:/evil.example": false,
		"/\t/evil.example": false, "/ /x": false, "javascript:alert(1)": false, "/../x": false, "/apps/%2E%2e/x": false, "/é": false, "/" + strings.Repeat("a", 3000): false,
		"http:evil.example": false, "/%zz": false, "///evil.example": false,
	} {
		want := ""
		if good {
			want = next
		}
		if got := s.portal.inside(next); got != want {
			t.Errorf("%q leads to %q", next, got)
		}
	}
	got := s.browser("").post("/signin", url.Values{"email": {"viewer@acme.example"}, "password": {password}, "next": {"//evil.example/"}})
	if got.header.Get("Location") != "/apps" {
		t.Errorf("sent to %s", got.header.Get("Location"))
	}
	below := openSite(t, sample, func(o *Options) { u := *o.URL; u.Path = "/portal"; o.URL = &u })
	if got := below.portal.inside("/elsewhere"); got != "" {
		t.Errorf("out of the portal's path: %s", got)
	}
}

func TestAccountsRegistryIsDown(t *testing.T) {
	s := openSite(t, sample, func(o *Options) { o.Accounts = downAccounts{} })
	b := s.browser("")
	r := b.request("GET", "/apps", nil)
	r.AddCookie(&http.Cookie{Name: "perdiem", Value: "any"})
	got := b.do(r)
	if got.status != 503 || !strings.Contains(got.body, "Try again in a minute") || strings.Contains(got.body, "disk") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// downAccounts are those of a registry that cannot be read.
type downAccounts struct{ *sqlregistry.Registry }

func (downAccounts) Session(context.Context, registry.Hash) (registry.Session, error) {
	return registry.Session{}, fault.Wrap(fault.Unavailable, errors.New("disk is full"), "The registry cannot be reached.")
}

// Whoever opens a page below portal_url's path comes to it after signing in, whether a proxy strips that path or not.
func TestDeepLinkBelowAPath(t *testing.T) {
	s := openSite(t, sample, func(o *Options) { u := *o.URL; u.Path = "/portal/"; o.URL = &u })
	const link = "/portal/apps/acme/analytics?sort=-used"
	for _, asked := range []string{link, strings.TrimPrefix(link, "/portal")} {
		b := s.browser("")
		to := b.get(asked).header.Get("Location")
		page := b.get(to)
		next := ""
		for _, input := range all(page.document(t), having("name", "next")) {
			next, _ = attribute(input, "value")
		}
		got := b.post("/signin", url.Values{"email": {"viewer@acme.example"}, "password": {password}, "next": {next}})
		if got.status != 303 || got.header.Get("Location") != link {
			t.Errorf("%s: sent to %s, and then to %q", asked, to, got.header.Get("Location"))
		}
	}
	for _, asked := range []string{"/portal/apps", "/apps", "/portal/", "/"} { // where it goes anyway
		if got := s.browser("").get(asked).header.Get("Location"); strings.Contains(got, "next") {
			t.Errorf("%s: sent to %s", asked, got)
		}
	}
}

// A browser by which somebody has signed in brings its mark along the next time, whoever is signed in or out.
func TestSignInMarksTheBrowser(t *testing.T) {
	var marks []string
	s := openSite(t, sample, func(o *Options) {
		signIn := o.SignIn
		o.SignIn = func(ctx context.Context, email, password string, from identity.From) (registry.Account, error) {
			marks = append(marks, from.Mark)
			return signIn(ctx, email, password, from)
		}
	})
	b := s.browser("")
	sign := func(word string) reply {
		return b.post("/signin", url.Values{"email": {"viewer@acme.example"}, "password": {word}})
	}
	if wrong := sign("wrong"); len(wrong.header.Values("Set-Cookie")) > 0 {
		t.Errorf("who is not let in keeps %q", wrong.header.Values("Set-Cookie"))
	}
	set := sign(password).header.Values("Set-Cookie")
	b.post("/signout", nil)
	sign(password)
	if diff := cmp.Diff([]string{"", "", "mark of viewer@acme.example"}, marks); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	if len(set) != 2 {
		t.Fatalf("it keeps %q", set)
	}
	c, err := http.ParseSetCookie(set[1])
	if err != nil || c.Name != markCookie || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure || c.Path != "/" || c.MaxAge != int(markAge/time.Second) {
		t.Errorf("%+v, %v", c, err)
	}
	r := b.request("POST", "/signin", strings.NewReader(url.Values{"email": {"viewer@acme.example"}, "password": {password}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Host = "portal.example"
	s.portal.URLUntold = true
	for _, text := range b.do(r).header.Values("Set-Cookie") {
		if c, err := http.ParseSetCookie(text); err != nil || !c.Secure || !strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("from elsewhere: %s, %v", text, err)
		}
	}
}

func TestSignInSaysHowLongToWait(t *testing.T) {
	s := openSite(t, sample, func(o *Options) {
		o.SignIn = func(context.Context, string, string, identity.From) (registry.Account, error) {
			return registry.Account{}, fault.Wrap(fault.Exhausted, identity.Wait(1500*time.Millisecond), "Wait a moment.")
		}
	})
	if got := s.browser("").post("/signin", url.Values{"email": {"viewer@acme.example"}}); got.status != 429 || got.header.Get("Retry-After") != "2" {
		t.Errorf("%d, Retry-After %q", got.status, got.header.Get("Retry-After"))
	}
}

// Signing out without a session has the registry do nothing, whatever cookie comes with it.
func TestSignOutWithoutSession(t *testing.T) {
	ended := &countingAccounts{}
	s := openSite(t, sample, func(o *Options) { ended.Registry = o.Accounts.(*sqlregistry.Registry); o.Accounts = ended })
	b := s.browser("")
	r := b.request("POST", "/signout", nil)
	r.AddCookie(&http.Cookie{Name: "perdiem", Value: "any"})
	for _, got := range []reply{b.post("/signout", nil), b.do(r)} {
		if got.status != 303 || got.header.Get("Location") != "/signin?out" {
			t.Errorf("%d to %s", got.status, got.header.Get("Location"))
		}
	}
	if ended.ended != 0 {
		t.Errorf("%d sessions were ended", ended.ended)
	}
	b = s.browser("viewer@acme.example")
	before := ended.ended
	if b.post("/signout", nil); ended.ended != before+1 {
		t.Errorf("%d sessions were ended by one who had one", ended.ended-before)
	}
}

// countingAccounts count how often a session is to be ended.
type countingAccounts struct {
	*sqlregistry.Registry
	ended int
}

func (c *countingAccounts) EndSession(ctx context.Context, hash registry.Hash) error {
	c.ended++
	return c.Registry.EndSession(ctx, hash)
}

// Whoever signs in from elsewhere without TLS, to a portal that knows no other address than this machine's, is the sign of a portal_url that is missing.
func TestInsecureSignInIsLogged(t *testing.T) {
	s := openSite(t, sample, func(o *Options) { o.URLUntold = true })
	signIn := func(host string) {
		r := s.browser("").request("POST", "/signin", strings.NewReader(url.Values{"email": {"viewer@acme.example"}, "password": {password}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Host = host
		if got := s.browser("").do(r); got.status != 303 {
			t.Fatalf("signing in at %s: %d", host, got.status)
		}
	}
	for _, host := range []string{"localhost:8081", "127.0.0.1:8081", "[::1]:8081"} {
		signIn(host)
	}
	if strings.Contains(s.logged.String(), "portal_url") {
		t.Errorf("from this machine: %s", s.logged)
	}
	signIn("portal.example")
	signIn("portal.example")
	if said := s.logged.String(); strings.Count(said, "portal_url") != 1 || !strings.Contains(said, "portal.example") || !strings.Contains(said, "unless a proxy speaks TLS") {
		t.Errorf("from elsewhere, twice: %s", s.logged)
	}
}
