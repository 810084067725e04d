package portal

import (
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/registry"
)

// openOIDCSite is a site whose people may sign in at a real issuer.
func openOIDCSite(t *testing.T, issuer *testkit.Issuer, change ...func(*Options)) *site {
	t.Helper()
	return openSite(t, sample, append(change, func(o *Options) {
		redirect := o.URL.String() + OIDCCallback
		issuer.Portal(t, redirect, false)
		oidc, err := identity.NewOIDC(identity.OIDCOptions{
			Issuer: issuer.URL, ClientID: "portal", ClientSecret: testkit.PortalSecret, Redirect: redirect, Label: `Acme <ID> & "Co"`, Accounts: o.Accounts,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(oidc.Close)
		o.OIDC = oidc
	})...)
}

// atIssuer goes on at the issuer, and returns the path and query with which the browser is sent back.
func (b *browser) atIssuer(address string) string {
	b.site.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.site.Fatal(err)
	}
	back := errors.New("back")
	client := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), b.site.server.URL) {
			return back
		}
		return nil
	}}
	answer, err := client.Get(address)
	if answer != nil {
		defer answer.Body.Close()
	}
	if !errors.Is(err, back) {
		b.site.Fatalf("the issuer sent nobody back: %v, %v", answer, err)
	}
	at, err := answer.Location()
	if err != nil {
		b.site.Fatal(err)
	}
	return at.RequestURI()
}

// TestOIDCSignIn is the way from the page of signing in, by a real issuer, to the page that was asked for.
func TestOIDCSignIn(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	s := openOIDCSite(t, issuer)
	issuer.Person(t, map[string]any{"sub": "1", "email": "Viewer@acme.example", "email_verified": true})
	b := s.browser("")
	page := b.get("/signin?next=/apps/acme/analytics?sort%3D-used")
	if !strings.Contains(page.body, `Sign in with Acme &lt;ID&gt; &amp; &#34;Co&#34;`) || !strings.Contains(page.body, `href="/signin/oidc?next=%2fapps%2facme%2fanalytics%3fsort%3d-used"`) {
		t.Fatalf("the page: %s", page.body)
	}
	begun := b.get("/signin/oidc?next=%2fapps%2facme%2fanalytics%3fsort%3d-used")
	c := cookie(t, begun)
	if begun.status != 303 || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.MaxAge != attemptTime || c.Name != attemptCookie {
		t.Fatalf("%d %v", begun.status, begun.header)
	}
	to, err := url.Parse(begun.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	asked := to.Query()
	if !strings.HasPrefix(to.String(), issuer.URL+"/auth?") || asked.Get("code_challenge_method") != "S256" || asked.Get("nonce") == "" || asked.Get("response_type") != "code" ||
		asked.Get("scope") != "openid email" || strings.Contains(to.RawQuery, strings.Split(c.Value, ".")[0]) {
		t.Errorf("the issuer is asked %s", to)
	}
	back := b.atIssuer(to.String())

	// Somebody else's browser cannot use it, and learns nothing.
	other := s.browser("")
	if got := other.get(back); got.status != 403 || !strings.Contains(got.body, "Begin again") || strings.Contains(strings.Join(got.header.Values("Set-Cookie"), " "), "perdiem=") {
		t.Errorf("another's answer: %d %v %s", got.status, got.header, got.body)
	}
	got := b.get(back)
	if got.status != 303 || got.header.Get("Location") != "/apps/acme/analytics?sort=-used" {
		t.Fatalf("back: %d %v %s", got.status, got.header, got.body)
	}
	if page := b.get("/apps/acme/analytics"); page.status != 200 || !strings.Contains(page.body, "viewer@acme.example") {
		t.Errorf("signed in: %d", page.status)
	}
	if again := b.get("/signin/oidc?next=/apps/acme"); again.header.Get("Location") != "/apps/acme" {
		t.Errorf("signed in already: %v", again.header)
	}
	if twice := b.get(back); twice.status != 303 || twice.header.Get("Location") != "/apps" {
		t.Errorf("the answer again, by somebody who is signed in: %d %v", twice.status, twice.header)
	}
	kept := s.browser("")
	r := kept.request("GET", back, nil)
	r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	before := issuer.Asked(t, "/token")
	if again := kept.do(r); again.status != 403 || !strings.Contains(again.body, "used already") || issuer.Asked(t, "/token") != before {
		t.Errorf("the answer again, with the attempt kept: %d %s", again.status, again.body)
	}
}

// Of two tabs in which somebody begins, the first to return leaves the other's attempt alone, and returns to somebody who is signed in afterwards.
func TestOIDCTabs(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	s := openOIDCSite(t, issuer)
	issuer.Person(t, map[string]any{"sub": "1", "email": "viewer@acme.example", "email_verified": true})
	b := s.browser("")
	begin := func(next string) (back string) {
		return b.atIssuer(b.get("/signin/oidc?next=" + next).header.Get("Location"))
	}
	first, second := begin("/apps"), begin("/apps/acme/analytics") // whose attempt is the one that the browser keeps
	if got := b.get(first); got.status != 403 || len(got.header.Values("Set-Cookie")) > 0 {
		t.Errorf("the first: %d %v", got.status, got.header)
	}
	if got := b.get(second); got.status != 303 || got.header.Get("Location") != "/apps/acme/analytics" {
		t.Fatalf("the second: %d %v", got.status, got.header)
	}
	if got := b.get(first); got.status != 303 || got.header.Get("Location") != "/apps" {
		t.Errorf("the first, now that the second has signed in: %d %v", got.status, got.header)
	}
}

// Anybody can come back with junk: each attempt has the issuer asked once, and each network so often only.
func TestOIDCJunk(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	s := openOIDCSite(t, issuer)
	b := s.browser("")
	junk := func() (back string) {
		to, err := url.Parse(b.get("/signin/oidc").header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		return OIDCCallback + "?" + url.Values{"state": {to.Query().Get("state")}, "code": {"junk"}}.Encode()
	}
	for range 30 {
		if got := b.get(junk()); got.status != 403 {
			t.Errorf("junk: %d", got.status)
		}
	}
	if asked := issuer.Asked(t, "/token"); asked != 30 {
		t.Errorf("the issuer was asked %d times", asked)
	}
	got := b.get("/signin/oidc")
	if got.status != 429 || !strings.Contains(got.body, "try again in") || !strings.Contains(got.body, `id="password"`) {
		t.Errorf("one more: %d %s", got.status, got.body)
	}
}

// With TLS no other host and no page without it can set the attempt.
func TestOIDCAttemptIsForTLS(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	for address, secure := range map[string]bool{"https://portal.example/base": true, "http://127.0.0.1:8081": false} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		s := openOIDCSite(t, issuer, func(o *Options) { o.URL = u })
		begun := s.browser("").get("/signin/oidc")
		c := cookie(t, begun)
		if begun.status != 303 || c.Secure != secure || (c.Name == "__Host-"+attemptCookie) != secure || c.Path != "/" || c.Domain != "" || !c.HttpOnly {
			t.Errorf("%s: %d %v", address, begun.status, c)
		}
		// A cookie of the other name is no attempt.
		to, err := url.Parse(begun.header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		other := s.browser("")
		back := other.request("GET", OIDCCallback+"?"+url.Values{"state": {to.Query().Get("state")}, "code": {"c"}}.Encode(), nil)
		name := attemptCookie
		if !secure {
			name = "__Host-" + attemptCookie
		}
		back.AddCookie(&http.Cookie{Name: name, Value: c.Value})
		if got := other.do(back); got.status != 403 || !strings.Contains(got.body, "another browser") {
			t.Errorf("%s: an attempt under the name %s: %d %s", address, name, got.status, got.body)
		}
	}
}

// A session that was planted, or ran before, does not go on; nor does anybody end up elsewhere.
func TestOIDCSession(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	s := openOIDCSite(t, issuer)
	issuer.Person(t, map[string]any{"sub": "2", "email": "new@acme.example", "email_verified": true})
	b := s.browser("")
	before := cookie(t, b.post("/signin", url.Values{"email": {"viewer@acme.example"}, "password": {password}}))
	jar := b.client.Jar
	b.client.Jar, _ = cookiejar.New(nil) // a cookie alone signs nobody out
	begun := b.get("/signin/oidc?next=//evil.example/")
	back := b.atIssuer(begun.header.Get("Location"))
	r := b.request("GET", back, nil)
	r.AddCookie(&http.Cookie{Name: before.Name, Value: before.Value})
	got := b.do(r)
	if got.status != 303 || got.header.Get("Location") != "/apps" {
		t.Fatalf("%d %v %s", got.status, got.header, got.body)
	}
	for _, text := range got.header.Values("Set-Cookie") {
		c, err := http.ParseSetCookie(text)
		if err != nil {
			t.Fatal(err)
		}
		if c.Name == before.Name && c.Value == before.Value {
			t.Error("the session's secret stayed")
		}
	}
	if page := b.get("/apps"); page.status != 200 || !strings.Contains(page.body, "new@acme.example") {
		t.Errorf("signed in for the first time: %d %s", page.status, page.body)
	}
	if page := b.get("/apps/acme/analytics"); page.status != 404 {
		t.Errorf("nothing is granted to a new account: %d", page.status)
	}
	b.client.Jar = jar
	if page := b.get("/apps"); page.status != 303 {
		t.Errorf("the session of before still runs: %d", page.status)
	}
	if account, err := s.registry.Account(t.Context(), "new@acme.example"); err != nil || account.Operator || account.Password != "" {
		t.Errorf("the account %+v, %v", account, err)
	}
}

// What goes wrong is told on the page of signing in, where a password still does.
func TestOIDCErrors(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	s := openOIDCSite(t, issuer)
	issuer.Person(t, nil)
	b := s.browser("")
	come := func() reply {
		t.Helper()
		return b.get(b.atIssuer(b.get("/signin/oidc?next=/apps/acme").header.Get("Location")))
	}
	if got := come(); got.status != 403 || !strings.Contains(got.body, "You were not let in") || strings.Contains(got.body, "declined") || !strings.Contains(got.body, `name="next" value="/apps/acme"`) {
		t.Errorf("declined: %d %s", got.status, got.body)
	}
	issuer.Person(t, map[string]any{"sub": "3", "email": "eve@acme.example", "email_verified": false})
	if got := come(); got.status != 403 || !strings.Contains(got.body, "has not verified your email address") {
		t.Errorf("not verified: %d %s", got.status, got.body)
	}
	issuer.Break(t)
	defer issuer.Mend(t)
	fresh := openOIDCSiteDown(t, issuer)
	if got := fresh.browser("").get("/signin/oidc"); got.status != 503 || !strings.Contains(got.body, "cannot be asked who you are") || !strings.Contains(got.body, `id="password"`) {
		t.Errorf("the issuer is down: %d %s", got.status, got.body)
	}
	for _, path := range []string{"/signin/callback", "/signin/callback?state=x&code=y", "/signin/callback?error=<script>", "/signin/callback?%zz"} {
		if got := b.get(path); got.status != 403 && got.status != 400 || strings.Contains(got.body, "<script>") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if _, err := s.registry.Account(t.Context(), "eve@acme.example"); err == nil {
		t.Error("somebody who was refused has an account")
	}
	if entries, err := s.registry.Grants(t.Context(), "viewer@acme.example"); err != nil || len(entries) != 1 || entries[0].Role != registry.Viewer {
		t.Errorf("the grants: %v, %v", entries, err)
	}
}

// Where too many sign-ins from a network came to nothing, an answer is not looked at, and can be brought again.
func TestOIDCHasAPace(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	from := netip.MustParseAddr("192.0.2.1")
	s := openOIDCSite(t, issuer, func(o *Options) { o.From = func(*http.Request) netip.Addr { return from } })
	issuer.Person(t, map[string]any{"sub": "1", "email": "new@acme.example", "email_verified": true})
	b := s.browser("")
	back := b.atIssuer(b.get("/signin/oidc").header.Get("Location"))
	waits := func(got reply) bool { return got.status == 429 && got.header.Get("Retry-After") != "" }
	for i := 0; ; i++ {
		if i == 200 {
			t.Fatal("nobody is made to wait")
		}
		hostile := s.browser("")
		begun := hostile.get("/signin/oidc")
		if waits(begun) {
			break
		}
		to, err := url.Parse(begun.header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		hostile.get("/signin/callback?" + url.Values{"state": {to.Query().Get("state")}, "code": {"junk"}}.Encode())
	}
	got := b.get(back)
	if !waits(got) || len(got.header.Values("Set-Cookie")) > 0 {
		t.Errorf("an answer that was not looked at: %d %v", got.status, got.header)
	}
	from = netip.MustParseAddr("198.51.100.1") // of a network that does not have to wait
	if got := b.get(back); got.status != 303 || got.header.Get("Location") != "/apps" || b.get("/apps").status != 200 {
		t.Errorf("the same answer, brought again: %d %s", got.status, got.one(t, "content"))
	}
}

// openOIDCSiteDown is a site whose issuer was never reached.
func openOIDCSiteDown(t *testing.T, issuer *testkit.Issuer) *site {
	t.Helper()
	return openSite(t, sample, func(o *Options) {
		oidc, err := identity.NewOIDC(identity.OIDCOptions{
			Issuer: issuer.URL, ClientID: "portal", ClientSecret: testkit.PortalSecret, Redirect: o.URL.String() + OIDCCallback, Accounts: o.Accounts,
		})
		if err != nil {
			t.Fatal(err)
		}
		o.OIDC = oidc
	})
}
