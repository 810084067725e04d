package portal

import (
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/registry"
)

// openOIDCSite is a site whose people may sign in at a real issuer.
func openOIDCSite(t *testing.T, issuer *testkit.Issuer) *site {
	t.Helper()
	s := openSite(t, sample, func(o *Options) {
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
	})
	return s
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
	if twice := b.get(back); twice.status != 403 {
		t.Errorf("the answer again: %d", twice.status)
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
