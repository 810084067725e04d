package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/internal/testkit"
)

// TestOIDC signs an operator in to a node's portal at a real issuer, by the group that it tells.
func TestOIDC(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	folder := t.TempDir()
	writeFile(t, folder, "oidc.secret", testkit.PortalSecret+"\n")
	writeFile(t, folder, "catalog.yaml", "catch_all: {}\napplications: [{id: acme, name: Acme Scheduler}]\n")
	writeFile(t, folder, "perdiem.yaml", fmt.Sprintf(`
listen: {portal: "127.0.0.1:0", admin: "127.0.0.1:0", ops: "127.0.0.1:0"}
catalog: catalog.yaml
oidc: {issuer: %q, client_id: portal, client_secret: "file:oidc.secret", label: Acme ID, scopes: [groups], operator_group: perdiem}
`, issuer.URL))
	n, err := startHere(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	portal := "http://" + n.address.Portal
	issuer.Portal(t, portal+"/signin/callback", false)
	issuer.Person(t, map[string]any{"sub": "1", "email": "op@example.com", "email_verified": true, "groups": []string{"perdiem"}})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	for _, step := range []struct{ path, says string }{{"/signin", "Sign in with Acme ID"}, {"/signin/oidc?next=/apps", "Acme Scheduler"}} {
		answer, err := client.Get(portal + step.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK || !strings.Contains(string(body), step.says) {
			t.Errorf("%s: %s %s", step.path, answer.Status, body)
		}
	}
}
