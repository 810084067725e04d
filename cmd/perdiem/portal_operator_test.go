package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/registry"
)

// TestOperatorChangesTheCatalogInThePortal suspends an application and lowers a limit without a script: what was saved holds for the very next call.
func TestOperatorChangesTheCatalogInThePortal(t *testing.T) {
	s := openPortalStage(t)
	hash, err := s.node.passwords.Hash(t.Context(), portalPassword)
	s.must(err)
	_, err = s.node.registry.AddAccount(t.Context(), registry.NewAccount{Email: "olga@example.com", Operator: true, Password: hash}, "")
	s.must(err)
	jar, err := cookiejar.New(nil)
	s.must(err)
	client := &http.Client{Jar: jar}
	read := func(answer *http.Response, err error) string {
		t.Helper()
		s.must(err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		s.must(err)
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", answer.Request.URL, answer.StatusCode, body)
		}
		return string(body)
	}
	read(client.PostForm(s.url("/signin"), url.Values{"email": {"olga@example.com"}, "password": {portalPassword}}))
	seen := regexp.MustCompile(`name="seen" value="([0-9a-f]+)"`)
	save := func(path string, form url.Values) {
		t.Helper()
		preview := read(client.PostForm(s.url(path), form))
		found := seen.FindStringSubmatch(preview)
		if found == nil {
			t.Fatalf("no preview: %s", preview)
		}
		form.Set("seen", found[1])
		if page := read(client.PostForm(s.url(path), form)); !strings.Contains(page, `id="saved"`) {
			t.Fatalf("not saved: %s", page)
		}
	}
	status := func(want int, when string) {
		t.Helper()
		if got := s.call(); got != want {
			t.Errorf("%s: %d, want %d", when, got, want)
		}
	}
	status(200, "before")
	save("/operator/apps/acme", url.Values{"do": {"suspend"}})
	status(403, "suspended")
	save("/operator/apps/acme", url.Values{"do": {"resume"}})
	status(200, "resumed")
	save("/operator/apps/acme", url.Values{"do": {"override"}, "endpoint": {"posts.find"}, "application": {"2"}})
	status(429, "with an override of what is used")
	save("/operator/apps/acme", url.Values{"do": {"clear"}, "endpoint": {"posts.find"}})
	status(200, "with the override cleared")
	entries, err := s.node.registry.Audit(t.Context(), 0, 4)
	s.must(err)
	for _, e := range entries {
		if e.Actor != "olga@example.com" {
			t.Errorf("the audit has %+v", e)
		}
	}
	health := read(client.Get(s.url("/operator/health")))
	for _, want := range []string{"● Ready", "● Up", "Watching", s.node.address.Gateway, s.node.address.Ops} {
		if !strings.Contains(health, want) {
			t.Errorf("no %q in %s", want, health)
		}
	}
}
