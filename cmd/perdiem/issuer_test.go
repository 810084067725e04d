package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/registry"
)

// TestIssuer runs a node beside a real issuer, whose application the catalog does not know: the very call that meets it is decided by the
// tier's limits, and so are all that follow, whichever sort of token they bring.
func TestIssuer(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s of %s, key %q, bearer %t", r.Header.Get("X-Perdiem-Member"), r.Header.Get("X-Perdiem-Application"),
			r.Header.Get("X-Api-Key"), strings.HasPrefix(r.Header.Get("Authorization"), "Bearer "))
	}))
	defer upstream.Close()
	folder := t.TempDir()
	writeFile(t, folder, "introspect.secret", testkit.IntrospectionSecret+"\n")
	writeFile(t, folder, "catalog.yaml", "catch_all: {}\ntiers: {development: {'*': {application: 5, member: 2}}}\napplications: [{id: acme}]\n")
	writeFile(t, folder, "perdiem.yaml", fmt.Sprintf(`
listen: {gateway: "127.0.0.1:0", portal: "127.0.0.1:0", admin: "127.0.0.1:0", ops: "127.0.0.1:0"}
upstream: %s
catalog: catalog.yaml
unknown_applications: {tier: development}
identity:
  - tokens: {header: X-Api-Key}
  - jwt: {jwks: "%[2]s/jwks", issuer: "%[2]s", audience: api}
  - introspection: {url: "%[2]s/token/introspection", client_id: gw, client_secret: "file:introspect.secret"}
`, upstream.URL, issuer.URL))
	n, err := startHere(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	want := func(status int, text, name, value string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://"+n.address.Gateway+"/x", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(name, value)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var body strings.Builder
		if err := answer.Write(&body); err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode != status || !strings.Contains(body.String(), text) {
			t.Errorf("answered %s, want %d and %q", body.String(), status, text)
		}
		return answer
	}
	bearer := func(token string) string { return "Bearer " + token }

	want(http.StatusUnauthorized, "", "Authorization", bearer("made-up"))
	if entries, err := n.registry.Audit(t.Context(), 0, 1); err != nil || entries[0].Action == registry.ActionAdd {
		t.Errorf("a token that does not hold registered somebody: %+v, %v", entries, err)
	}
	jwt := issuer.Token(t, "jwt/ES256", "m-1")
	first := want(http.StatusOK, `m-1 of app-1, key "", bearer true`, "Authorization", bearer(jwt))
	if got := first.Header.Get("RateLimit"); !strings.HasPrefix(got, `"application";r=4;`) || !strings.Contains(got, `"member";r=1;`) {
		t.Errorf("the call that met the application: RateLimit %s", got)
	}
	want(http.StatusOK, "m-1 of app-1", "Authorization", bearer(issuer.Token(t, "opaque", "m-1")))
	want(http.StatusTooManyRequests, "APPLICATION_AND_MEMBER", "Authorization", bearer(jwt))
	want(http.StatusOK, ` of app-1, key "", bearer false`, "X-Api-Key", issuer.Token(t, "opaque", ""))

	secret, hash := n.tokenKey.NewToken()
	if _, err := n.registry.IssueToken(t.Context(), registry.NewToken{Hash: hash, Application: "app-1", Member: "m-2"}); err != nil {
		t.Error(err)
	}
	want(http.StatusOK, `m-2 of app-1, key "", bearer false`, "X-Api-Key", secret)
	want(http.StatusOK, `m-2 of app-1, key "", bearer false`, "Authorization", bearer(secret))
	want(http.StatusTooManyRequests, "APPLICATION DAY", "Authorization", bearer(issuer.Token(t, "jwt/RS256", "m-3")))

	entries, err := n.registry.Audit(t.Context(), 0, 2)
	if err != nil || entries[1].Action != registry.ActionAdd || entries[1].Subject != "application app-1" || entries[1].After != "tier development" {
		t.Errorf("the audit: %+v, %v", entries, err)
	}
	n.reload(t.Context())
	if _, known := n.snapshots.current().Application("app-1"); !known {
		t.Error("the catalog's file removed it")
	}
}

// TestUnknownTier names a tier that the catalog does not have.
func TestUnknownTier(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, folder, "perdiem.yaml", quietNode+"unknown_applications:\n  tier: nowhere\n")
	writeFile(t, folder, "catalog.yaml", oneCatalog)
	_, err := readBoth(folder)
	want := filepath.Join(folder, "perdiem.yaml") + `:4:9: unknown_applications.tier: the catalog has no tier "nowhere"`
	if err == nil || err.Error() != want {
		t.Errorf("problems: %v, want %s", err, want)
	}
}

// readBoth reads a configuration and the catalog that it names, as check does.
func readBoth(folder string) (*config, error) {
	c, err := readConfig(filepath.Join(folder, "perdiem.yaml"), getenv)
	if err != nil {
		return nil, err
	}
	_, err = c.readCatalog()
	return c, err
}
