package identity

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/sqlregistry"
)

const redirect = "http://127.0.0.1:1/signin/callback"

// issued is sign-in at a real issuer, with accounts in a real registry.
type issued struct {
	*testing.T
	*OIDC
	issuer   *testkit.Issuer
	registry *sqlregistry.Registry
}

func openIssued(t *testing.T, issuer *testkit.Issuer, change func(*OIDCOptions)) *issued {
	t.Helper()
	r, err := sqlregistry.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "registry.db"), sqlregistry.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	o := OIDCOptions{Issuer: issuer.URL, ClientID: "portal", ClientSecret: testkit.PortalSecret, Redirect: redirect, Accounts: r}
	if change != nil {
		change(&o)
	}
	s, err := NewOIDC(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &issued{t, s, issuer, r}
}

// visit goes to the issuer as a browser does, and returns what it brings back.
func (s *issued) visit(secret string) url.Values {
	s.Helper()
	address, err := s.Begin(s.Context(), secret, home)
	if err != nil {
		s.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.Fatal(err)
	}
	back := errors.New("back")
	client := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirect+"?") {
			return back
		}
		return nil
	}}
	answer, err := client.Get(address)
	if answer != nil {
		defer answer.Body.Close()
	}
	if !errors.Is(err, back) {
		s.Fatalf("the issuer sent nobody back: %v, %v", answer, err)
	}
	at, err := answer.Location()
	if err != nil {
		s.Fatal(err)
	}
	return at.Query()
}

// signIn signs somebody in with a secret of its own.
func (s *issued) signIn() (registry.Account, error) {
	s.Helper()
	secret := rand.Text()
	return s.Finish(s.Context(), secret, s.visit(secret), home)
}

func about(email string, verified any, groups any) map[string]any {
	return map[string]any{"sub": "sub of " + strings.ToLower(email), "email": email, "email_verified": verified, "groups": groups}
}

// TestOIDC signs people in at a real issuer, which tells their claims in the userinfo, and in the id_token.
func TestOIDC(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	for _, inToken := range []bool{false, true} {
		s := openIssued(t, issuer, func(o *OIDCOptions) {
			o.Scopes, o.GroupsClaim, o.OperatorGroup = []string{"groups"}, "groups", "operators"
		})
		issuer.Portal(t, redirect, inToken)
		before := issuer.Asked(t, "/me")

		issuer.Person(t, about("Ann@Example.com", true, []string{"people"}))
		ann, err := s.signIn()
		if err != nil || ann.Email != "ann@example.com" || ann.Operator || ann.Password != "" {
			t.Fatalf("a first sign-in: %+v, %v", ann, err)
		}
		again, err := s.signIn()
		if err != nil || again.Stamp != ann.Stamp || again.Created != ann.Created {
			t.Errorf("again: %+v, %v", again, err)
		}
		if asked := issuer.Asked(t, "/me") - before; (asked == 0) != inToken {
			t.Errorf("claims in the id_token: %v, and the userinfo was asked for %d times", inToken, asked)
		}
		// The group is followed both ways, and in both forms that issuers write it in.
		for _, groups := range []any{[]string{"people", "operators"}, "people", "operators", nil} {
			issuer.Person(t, about("ann@example.com", "true", groups))
			want := strings.Contains(strings.Join(texts(groups), " "), "operators")
			if got, err := s.signIn(); err != nil || got.Operator != want {
				t.Errorf("groups %v: %+v, %v", groups, got, err)
			}
		}
		// Whoever has an account with a password signs in to that.
		hash, err := NewPasswords().Hash(t.Context(), "a long enough password")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.registry.AddAccount(t.Context(), registry.NewAccount{Email: "bob@example.com", Password: hash}, ""); err != nil {
			t.Fatal(err)
		}
		issuer.Person(t, about("bob@example.com", true, "operators"))
		if bob, err := s.signIn(); err != nil || bob.Password != hash || !bob.Operator {
			t.Errorf("an account that was there: %+v, %v", bob, err)
		}
		entries, err := s.registry.Audit(t.Context(), 0, 1)
		if err != nil || entries[0].Actor != "oidc" {
			t.Errorf("the audit: %+v, %v", entries, err)
		}

		for name, who := range map[string]map[string]any{
			"has not verified":      about("eve@example.com", false, nil),
			"cannot name":           about("eve@exämple.com", true, nil),
			"tells no email":        {"sub": "eve"},
			"has not verified your": {"sub": "eve2", "email": "eve@example.com"},
		} {
			issuer.Person(t, who)
			if got, err := s.signIn(); fault.KindOf(err) != fault.Forbidden || !strings.Contains(fault.Message(err), name) {
				t.Errorf("%v: %+v, %v", who, got, err)
			}
		}
		if _, err := s.registry.Account(t.Context(), "eve@example.com"); fault.KindOf(err) != fault.NotFound {
			t.Errorf("somebody who was refused has an account: %v", err)
		}
		issuer.Person(t, nil)
		if _, err := s.signIn(); fault.KindOf(err) != fault.Unauthorized || !strings.Contains(fault.Message(err), "not let in") || strings.Contains(err.Error(), "<b>") {
			t.Errorf("declined: %v", err)
		}
	}

	// Who is an operator is not an issuer's to say that is not asked.
	s := openIssued(t, issuer, nil)
	if _, err := s.registry.AddAccount(t.Context(), registry.NewAccount{Email: "op@example.com", Operator: true}, ""); err != nil {
		t.Fatal(err)
	}
	issuer.Person(t, about("op@example.com", true, nil))
	if got, err := s.signIn(); err != nil || !got.Operator {
		t.Errorf("without a group: %+v, %v", got, err)
	}
}

// An account is that of whoever signed in to it first, whatever emails the issuer gives to whom later.
func TestOIDCSubjects(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	issuer.Portal(t, redirect, true)
	var logged bytes.Buffer
	s := openIssued(t, issuer, func(o *OIDCOptions) {
		o.Logger, o.Scopes, o.GroupsClaim, o.OperatorGroup = slog.New(slog.NewTextHandler(&logged, nil)), []string{"groups"}, "groups", "operators"
	})
	if _, err := s.registry.AddAccount(t.Context(), registry.NewAccount{Email: "ann@example.com"}, ""); err != nil {
		t.Fatal(err)
	}
	is := func(sub, email string, groups ...string) {
		issuer.Person(t, map[string]any{"sub": sub, "email": email, "email_verified": true, "groups": groups})
	}
	want := func(email string, operator bool) {
		t.Helper()
		if got, err := s.signIn(); err != nil || got.Email != email || got.Operator != operator {
			t.Errorf("signed in to %+v, %v, want %s", got, err, email)
		}
	}
	refused := func() {
		t.Helper()
		got, err := s.signIn()
		if fault.KindOf(err) != fault.Forbidden || !strings.Contains(fault.Message(err), "belongs to somebody else") || strings.Contains(fault.Message(err), "a1") {
			t.Errorf("somebody else signed in to %+v, %v", got, err)
		}
	}
	is("a1", "ann@example.com")
	want("ann@example.com", false)
	is("b2", "ann@example.com", "operators")
	refused()
	refused()
	if text := logged.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "account=ann@example.com") || !strings.Contains(text, "b2") || !strings.Contains(text, "a1") {
		t.Errorf("logged %s", text)
	}
	if a, err := s.registry.Account(t.Context(), "ann@example.com"); err != nil || a.Operator {
		t.Errorf("the account of somebody who was refused: %+v, %v", a, err)
	}
	is("a1", "ann@new.example", "operators")
	want("ann@example.com", true)
	is("b2", "bob@example.com")
	want("bob@example.com", false)
	is("b2", "ann@example.com") // who has an account of their own
	want("bob@example.com", false)

	// Removing the account is what undoes it.
	if err := s.registry.RemoveAccount(t.Context(), "ann@example.com", ""); err != nil {
		t.Fatal(err)
	}
	is("c3", "ann@example.com")
	want("ann@example.com", false)

	// Of another issuer nobody is linked yet.
	another := testkit.StartIssuer(t)
	another.Portal(t, redirect, true)
	another.Person(t, map[string]any{"sub": "z9", "email": "bob@example.com", "email_verified": true})
	o := s.options
	o.Issuer, o.OperatorGroup = another.URL, ""
	moved, err := NewOIDC(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(moved.Close)
	s = &issued{t, moved, another, s.registry}
	want("bob@example.com", false)
	another.Person(t, map[string]any{"sub": "b2", "email": "bob@example.com", "email_verified": true})
	refused()
}

func texts(groups any) []string {
	switch g := groups.(type) {
	case []string:
		return g
	case string:
		return []string{g}
	default:
		return nil
	}
}

// An answer is good for the browser that began, once, and whole.
func TestOIDCAnswers(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	issuer.Portal(t, redirect, true)
	issuer.Person(t, about("ann@example.com", true, nil))
	var logged bytes.Buffer
	s := openIssued(t, issuer, func(o *OIDCOptions) { o.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	good := s.visit("mine")
	if good.Get("iss") != issuer.URL {
		t.Errorf("the issuer says %v", good)
	}
	with := func(key, value string) url.Values {
		changed := maps.Clone(good)
		changed.Set(key, value)
		return changed
	}
	for name, c := range map[string]struct {
		secret string
		answer url.Values
	}{
		"another browser's": {"another's", good},
		"no browser's":      {"", with("state", derive("", "state"))},
		"another state":     {"mine", with("state", "x")},
		"no state":          {"mine", with("state", "")},
		"another issuer's":  {"mine", with("iss", "https://evil.example")},
		"no code":           {"mine", with("code", "")},
	} {
		if _, err := s.Finish(t.Context(), c.secret, c.answer, home); !errors.Is(err, ErrNotBegun) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if asked := issuer.Asked(t, "/token"); asked != 0 || logged.Len() > 0 {
		t.Errorf("the issuer was asked %d times about answers to nothing, and logged: %s", asked, &logged)
	}
	// PKCE: the verifier of another browser is another, and the issuer gives no token. To the right one the same code gets one.
	_, err := s.Finish(t.Context(), "another's", with("state", derive("another's", "state")), home)
	if fault.KindOf(err) != fault.Unauthorized || errors.Is(err, ErrNotBegun) || !strings.Contains(logged.String(), "does not take the code") {
		t.Errorf("another's with a state: %v, logged %s", err, &logged)
	}
	if _, err := s.Finish(t.Context(), "mine", good, home); err != nil {
		t.Errorf("the right one: %v", err)
	}
	asked := issuer.Asked(t, "/token")
	for range 2 {
		if _, err := s.Finish(t.Context(), "mine", with("code", "x"), home); !errors.Is(err, errUsed) {
			t.Errorf("a second time: %v", err)
		}
	}
	if again := issuer.Asked(t, "/token"); again != asked {
		t.Errorf("for one attempt the issuer was asked %d times more", again-asked)
	}
	for _, secret := range []string{testkit.PortalSecret, good.Get("code"), derive("mine", "verifier"), derive("mine", "state")} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("the log has %q: %s", secret, &logged)
		}
	}
	for range 50 {
		_, err := s.Finish(t.Context(), "mine", url.Values{"state": {derive("mine", "state")}, "error": {"invalid_client\n" + strings.Repeat("x", 999)}}, home)
		if fault.KindOf(err) != fault.Unauthorized || logged.Len() > 2000 {
			t.Fatalf("an error of the issuer's: %v, logged %s", err, &logged)
		}
	}
	if count := strings.Count(logged.String(), "is the client registered there"); count != 1 {
		t.Errorf("an error was logged %d times: %s", count, &logged)
	}
}

// Whoever brings codes that the issuer does not take gets as many asked as passwords may be wrong.
func TestOIDCPace(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	issuer.Portal(t, redirect, true)
	issuer.Person(t, about("ann@example.com", true, nil))
	var logged bytes.Buffer
	s := openIssued(t, issuer, func(o *OIDCOptions) { o.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	junk := func(i int, from netip.Addr) error {
		secret := fmt.Sprint("secret ", i)
		_, err := s.Finish(t.Context(), secret, url.Values{"state": {derive(secret, "state")}, "code": {"junk"}}, from)
		return err
	}
	for i := range 2 * addressPace.burst { // as many again that are good count for nothing
		if i%2 == 0 {
			if _, err := s.signIn(); err != nil {
				t.Fatal(err)
			}
		} else if err := junk(i, home); fault.KindOf(err) != fault.Unauthorized {
			t.Fatal(err)
		}
	}
	asked := issuer.Asked(t, "/token")
	for i := range 5 {
		err := junk(1000+i, home)
		if wait, ok := errors.AsType[Wait](err); fault.KindOf(err) != fault.Exhausted || !ok || wait <= 0 {
			t.Errorf("too often: %v", err)
		}
	}
	if _, err := s.Begin(t.Context(), "secret", home); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("beginning anew: %v", err)
	}
	if again := issuer.Asked(t, "/token"); again != asked {
		t.Errorf("the issuer was asked %d times more", again-asked)
	}
	if err := junk(2000, anywhere); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("from elsewhere: %v", err)
	}
	if count := strings.Count(logged.String(), "did not confirm"); count != 1 || !strings.Contains(logged.String(), redirect) {
		t.Errorf("it was logged %d times: %s", count, &logged)
	}
}

// An issuer may be down at the start and later, and be another than it was.
func TestOIDCOutage(t *testing.T) {
	var logged bytes.Buffer
	issuer := testkit.StartIssuer(t)
	issuer.Portal(t, redirect, false)
	issuer.Person(t, about("ann@example.com", true, nil))
	now := time.Now()
	s := openIssued(t, issuer, func(o *OIDCOptions) {
		o.Now, o.Logger = func() time.Time { return now }, slog.New(slog.NewTextHandler(&logged, nil))
	})
	issuer.Break(t)
	for i := range addressPace.burst + 2 {
		want := fault.Unavailable
		if i >= addressPace.burst {
			want = fault.Exhausted
		}
		if _, err := s.Begin(t.Context(), "secret", anywhere); fault.KindOf(err) != want {
			t.Errorf("attempt %d at an issuer that is down: %v", i, err)
		}
	}
	if count := strings.Count(logged.String(), "\n"); count != 1 {
		t.Errorf("it was logged %d times: %s", count, &logged)
	}
	if _, err := s.Begin(t.Context(), "secret", home); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), strings.TrimPrefix(issuer.URL, "http://")) {
		t.Errorf("down at the start: %v", err)
	}
	issuer.Mend(t)
	answer := s.visit("secret")
	issuer.Break(t)
	now = now.Add(2 * searchEvery)
	if _, err := s.Begin(t.Context(), "secret", home); err != nil {
		t.Errorf("down, and its endpoints are known: %v", err)
	}
	if _, err := s.Finish(t.Context(), "secret", answer, home); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("down when somebody comes back: %v", err)
	}
	issuer.Mend(t)
	now = time.Now()
	issuer.Rotate(t, false)
	if _, err := s.signIn(); err != nil {
		t.Errorf("with new keys: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openIssued(t, issuer, nil).Begin(ctx, "secret", home); err != nil && fault.KindOf(err) != fault.Unavailable {
		t.Errorf("of somebody who left: %v", err)
	}
}

// hostileIssuer answers what an issuer should not.
type hostileIssuer struct {
	*httptest.Server
	discovery map[string]any
	token     func(w http.ResponseWriter)
	keys      []any
}

func startHostile(t *testing.T) *hostileIssuer {
	h := &hostileIssuer{keys: []any{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(h.discovery)
		case "/token":
			h.token(w)
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"keys": h.keys})
		}
	}))
	t.Cleanup(h.Close)
	h.discovery = map[string]any{
		"issuer": h.URL, "authorization_endpoint": h.URL + "/auth", "token_endpoint": h.URL + "/token", "jwks_uri": h.URL + "/jwks",
		"id_token_signing_alg_values_supported": []string{"none", "HS256", "RS256", "ES256"},
	}
	return h
}

// An issuer's endpoints have to be as safe as itself, and its answers bounded and signed.
func TestOIDCHostileIssuer(t *testing.T) {
	for key, value := range map[string]string{
		"issuer": "https://other.example", "authorization_endpoint": "http://elsewhere.example/auth", "token_endpoint": "", "jwks_uri": "http://elsewhere.example/",
		"userinfo_endpoint": "javascript:alert(1)", "filler": strings.Repeat("x", maxOIDCAnswer),
	} {
		h := startHostile(t)
		h.discovery[key] = value
		if address, err := openIssued(t, &testkit.Issuer{URL: h.URL}, nil).Begin(t.Context(), "secret", home); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s %.40s: %s, %v", key, value, address, err)
		}
	}
	h := startHostile(t)
	s := openIssued(t, &testkit.Issuer{URL: h.URL}, nil)
	for name, answer := range map[string]string{
		"no id_token":   `{"access_token": "a", "token_type": "Bearer"}`,
		"unsigned":      `{"access_token": "a", "token_type": "Bearer", "id_token": "` + b64([]byte(`{"alg": "none"}`)) + "." + b64(h.says("unsigned")) + `."}`,
		"signed by us":  `{"access_token": "a", "token_type": "Bearer", "id_token": "` + b64([]byte(`{"alg": "HS256"}`)) + "." + b64(h.says("signed by us")) + `.AAAA"}`,
		"no key for it": `{"access_token": "a", "token_type": "Bearer", "id_token": "` + b64([]byte(`{"alg": "RS256"}`)) + "." + b64(h.says("no key for it")) + `.AAAA"}`,
		"endless":       `{"access_token": "` + strings.Repeat("a", maxOIDCAnswer) + `"}`,
		"no JSON":       "<html>",
	} {
		h.token = func(w http.ResponseWriter) { _, _ = w.Write([]byte(answer)) }
		got, err := s.Finish(t.Context(), name, url.Values{"state": {derive(name, "state")}, "code": {"c"}}, home)
		if fault.KindOf(err) != fault.Unavailable || strings.Contains(fault.Message(err), "html") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// says returns the claims of somebody who signs in with a secret.
func (h *hostileIssuer) says(secret string) []byte {
	text, err := json.Marshal(map[string]any{
		"iss": h.URL, "aud": "portal", "sub": "op", "exp": time.Now().Add(time.Hour).Unix(), "nonce": derive(secret, "nonce"), "email": "op@example.com", "email_verified": true,
	})
	if err != nil {
		panic(err)
	}
	return text
}

// What an issuer does not confirm is nobody's sign-in, and the operator is told why.
func TestOIDCThatIsNotConfirmed(t *testing.T) {
	h := startHostile(t)
	key := newECKey("k")
	h.keys = []any{key.jwk()}
	signed := func(claims string) string {
		return `{"access_token": "a", "token_type": "Bearer", "id_token": "` + key.sign(`{"alg": "ES256", "kid": "k"}`, claims) + `"}`
	}
	tokens := func(secret string) string { return signed(string(h.says(secret))) }
	for name, c := range map[string]struct {
		status       int
		answer, says string // empty: it is confirmed
	}{
		"as it should be":         {http.StatusOK, tokens("secret"), ""},
		"an id_token of another":  {http.StatusOK, tokens("another's"), "the nonce of its id_token"},
		"another redirect":        {http.StatusBadRequest, `{"error": "invalid_grant", "error_description": "redirect_uri does not match\n` + strings.Repeat("x", 10_000) + `"}`, "redirect_uri does not match"},
		"an error that says none": {http.StatusBadRequest, `{"error": "invalid_grant"}`, "does not take the code"},
	} {
		var logged bytes.Buffer
		s := openIssued(t, &testkit.Issuer{URL: h.URL}, func(o *OIDCOptions) { o.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
		h.token = func(w http.ResponseWriter) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.answer))
		}
		_, err := s.Finish(t.Context(), "secret", url.Values{"state": {derive("secret", "state")}, "code": {"c"}}, home)
		if c.says == "" {
			if err != nil || logged.Len() > 0 {
				t.Errorf("%s: %v, logged %s", name, err, &logged)
			}
			continue
		}
		text := logged.String()
		if fault.KindOf(err) != fault.Unauthorized || errors.Is(err, ErrNotBegun) || strings.Count(text, "\n") != 1 || len(text) > 1000 || !strings.Contains(text, c.says) || !strings.Contains(text, redirect) {
			t.Errorf("%s: %v, logged %s", name, err, text)
		}
		if strings.Contains(fault.Message(err), "redirect_uri") {
			t.Errorf("%s: everybody is told %s", name, fault.Message(err))
		}
	}
	for _, sub := range []string{"", strings.Repeat("x", registry.MaxSubject+1)} {
		s := openIssued(t, &testkit.Issuer{URL: h.URL}, nil)
		h.token = func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(signed(strings.Replace(string(h.says("secret")), `"sub":"op"`, `"sub":"`+sub+`"`, 1))))
		}
		if got, err := s.Finish(t.Context(), "secret", url.Values{"state": {derive("secret", "state")}, "code": {"c"}}, home); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("the sub %.9q: %+v, %v", sub, got, err)
		}
	}
}

func TestOIDCOptions(t *testing.T) {
	_, err := NewOIDC(OIDCOptions{Issuer: "http://issuer.example", OperatorGroup: "operators"})
	for _, missing := range []string{"oidc.issuer: must begin with https", "ClientID", "ClientSecret", "Redirect", "Accounts", "GroupsClaim"} {
		if err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s is not reported: %v", missing, err)
		}
	}
}
