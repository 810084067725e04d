package identity

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
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
	address, err := s.Begin(s.Context(), secret)
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

func (s *issued) signIn() (registry.Account, error) {
	s.Helper()
	return s.Finish(s.Context(), "secret", s.visit("secret"))
}

func about(email string, verified any, groups any) map[string]any {
	return map[string]any{"sub": "sub of " + email, "email": email, "email_verified": verified, "groups": groups}
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
		"another browser's":      {"another's", good},
		"no browser's":           {"", with("state", derive("", "state"))},
		"another state":          {"mine", with("state", "x")},
		"no state":               {"mine", with("state", "")},
		"another issuer's":       {"mine", with("iss", "https://evil.example")},
		"a code of nobody's":     {"mine", with("code", "x")},
		"no code":                {"mine", with("code", "")},
		"another's with a state": {"another's", with("state", derive("another's", "state"))}, // PKCE: the verifier is another
	} {
		if _, err := s.Finish(t.Context(), c.secret, c.answer); fault.KindOf(err) != fault.Unauthorized && fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	fresh := s.visit("mine")
	if _, err := s.Finish(t.Context(), "mine", fresh); err != nil {
		t.Errorf("the right one: %v", err)
	}
	if _, err := s.Finish(t.Context(), "mine", fresh); !errors.Is(err, ErrNotBegun) {
		t.Errorf("a second time: %v", err)
	}
	for _, secret := range []string{testkit.PortalSecret, fresh.Get("code"), derive("mine", "verifier"), derive("mine", "state")} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("the log has %q: %s", secret, &logged)
		}
	}
	if _, err := s.Finish(t.Context(), "mine", url.Values{"state": {derive("mine", "state")}, "error": {"invalid_client\n" + strings.Repeat("x", 999)}}); fault.KindOf(err) != fault.Unauthorized || logged.Len() > 4000 {
		t.Errorf("an error of the issuer's: %v, logged %s", err, &logged)
	}
}

// An issuer may be down at the start and later, and be another than it was.
func TestOIDCOutage(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	issuer.Portal(t, redirect, false)
	issuer.Person(t, about("ann@example.com", true, nil))
	now := time.Now()
	s := openIssued(t, issuer, func(o *OIDCOptions) { o.Now = func() time.Time { return now } })
	issuer.Break(t)
	if _, err := s.Begin(t.Context(), "secret"); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), strings.TrimPrefix(issuer.URL, "http://")) {
		t.Errorf("down at the start: %v", err)
	}
	issuer.Mend(t)
	answer := s.visit("secret")
	issuer.Break(t)
	now = now.Add(2 * searchEvery)
	if _, err := s.Begin(t.Context(), "secret"); err != nil {
		t.Errorf("down, and its endpoints are known: %v", err)
	}
	if _, err := s.Finish(t.Context(), "secret", answer); fault.KindOf(err) != fault.Unavailable {
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
	if _, err := openIssued(t, issuer, nil).Begin(ctx, "secret"); err != nil && fault.KindOf(err) != fault.Unavailable {
		t.Errorf("of somebody who left: %v", err)
	}
}

// hostileIssuer answers what an issuer should not.
type hostileIssuer struct {
	*httptest.Server
	discovery map[string]any
	token     func(w http.ResponseWriter)
}

func startHostile(t *testing.T) *hostileIssuer {
	h := &hostileIssuer{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(h.discovery)
		case "/token":
			h.token(w)
		default:
			_, _ = w.Write([]byte(`{"keys": []}`))
		}
	}))
	t.Cleanup(h.Close)
	h.discovery = map[string]any{
		"issuer": h.URL, "authorization_endpoint": h.URL + "/auth", "token_endpoint": h.URL + "/token", "jwks_uri": h.URL + "/jwks",
		"id_token_signing_alg_values_supported": []string{"none", "HS256", "RS256"},
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
		if address, err := openIssued(t, &testkit.Issuer{URL: h.URL}, nil).Begin(t.Context(), "secret"); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s %.40s: %s, %v", key, value, address, err)
		}
	}
	encode := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	h := startHostile(t)
	s := openIssued(t, &testkit.Issuer{URL: h.URL}, nil)
	body := map[string]any{
		"iss": h.URL, "aud": "portal", "sub": "eve", "exp": time.Now().Add(time.Hour).Unix(), "nonce": derive("secret", "nonce"), "email": "op@example.com", "email_verified": true,
	}
	for name, answer := range map[string]string{
		"no id_token":   `{"access_token": "a", "token_type": "Bearer"}`,
		"unsigned":      `{"access_token": "a", "token_type": "Bearer", "id_token": "` + encode(map[string]string{"alg": "none"}) + "." + encode(body) + `."}`,
		"signed by us":  `{"access_token": "a", "token_type": "Bearer", "id_token": "` + encode(map[string]string{"alg": "HS256"}) + "." + encode(body) + `.AAAA"}`,
		"no key for it": `{"access_token": "a", "token_type": "Bearer", "id_token": "` + encode(map[string]string{"alg": "RS256"}) + "." + encode(body) + `.AAAA"}`,
		"endless":       `{"access_token": "` + strings.Repeat("a", maxOIDCAnswer) + `"}`,
		"no JSON":       "<html>",
	} {
		h.token = func(w http.ResponseWriter) { _, _ = w.Write([]byte(answer)) }
		got, err := s.Finish(t.Context(), "secret", url.Values{"state": {derive("secret", "state")}, "code": {"c"}})
		if fault.KindOf(err) != fault.Unavailable || strings.Contains(fault.Message(err), "html") {
			t.Errorf("%s: %+v, %v", name, got, err)
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
