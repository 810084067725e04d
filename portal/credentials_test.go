package portal

import (
	"crypto/rand"
	"crypto/sha256"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/perdiem/perdiem/registry"
)

// issued issues a token of an application, for a member where one is named.
func (s *site) issued(application, member string) registry.Token {
	s.Helper()
	token, err := s.registry.IssueToken(s.Context(), registry.NewToken{Hash: sha256.Sum256([]byte(rand.Text())), Application: application, Member: member})
	if err != nil {
		s.Fatal(err)
	}
	return token
}

// audited returns the newest entry of the audit.
func (s *site) audited() registry.AuditEntry {
	s.Helper()
	entries, err := s.registry.Audit(s.Context(), 0, 1)
	if err != nil || len(entries) != 1 {
		s.Fatal(entries, err)
	}
	return entries[0]
}

// follow sends a form, and opens the page that the browser is sent on to.
func (b *browser) follow(path string, form url.Values) (page reply, location string) {
	b.site.Helper()
	got := b.post(path, form)
	if location = got.header.Get("Location"); got.status != 303 {
		b.site.Fatalf("%s: %d %s", path, got.status, got.body)
	}
	return b.get(location), location
}

var secretText = regexp.MustCompile(`<code id="secret">([^<]*)</code>`)

// secretOn returns the secret that a page shows; empty: none.
func secretOn(r reply) string {
	if m := secretText.FindStringSubmatch(r.body); m != nil {
		return html.UnescapeString(m[1])
	}
	return ""
}

func (r reply) rows(t *testing.T, name string) (ids []string) {
	t.Helper()
	for _, row := range all(r.document(t), having(name, "")) {
		id, _ := attribute(row, name)
		ids = append(ids, id)
	}
	return ids
}

// A token's secret is shown to who issued it, once, and is kept nowhere.
func TestIssueToken(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser("admin@acme.example")
	if page := b.get("/apps/acme/credentials"); !strings.Contains(page.body, `id="no-tokens"`) {
		t.Errorf("without a token: %s", page.body)
	}
	page, location := b.follow("/apps/acme/credentials", url.Values{"lifetime": {"168h"}})
	secret := secretOn(page)
	found, err := s.registry.TokenByHash(t.Context(), sha256.Sum256([]byte(secret)))
	if err != nil || found.Application != "acme" || found.Member != "" || !found.Expires.Equal(at.Add(7*24*time.Hour)) {
		t.Fatalf("the secret %q is of %+v, %v", secret, found, err)
	}
	if e := s.audited(); e.Actor != "admin@acme.example" || e.Action != registry.ActionIssueToken || strings.Contains(e.Subject+e.After, secret) {
		t.Errorf("the audit says %+v", e)
	}
	if again := b.get(location); secretOn(again) != "" || strings.Contains(again.body, secret) || !strings.Contains(again.body, "was shown once") {
		t.Errorf("a second time: %s", again.body)
	}
	if strings.Contains(location, secret) || strings.Contains(s.logged.String(), secret) {
		t.Error("the secret is in an address or in the log")
	}
	for _, lifetime := range []string{"", "8d", "-1h"} {
		got := b.post("/apps/acme/credentials", url.Values{"lifetime": {lifetime}, "member": {"m-1"}})
		if got.status != 422 || !strings.Contains(got.body, `id="lifetime-problem"`) {
			t.Errorf("lifetime %q: %d", lifetime, got.status)
		}
	}
	// No form makes a member's token.
	b.follow("/apps/acme/credentials", url.Values{"lifetime": {"0"}, "member": {"m-1"}})
	tokens, _, err := s.registry.HoldingTokens(t.Context(), registry.HoldingTokens{Application: "acme", Limit: 10})
	if err != nil || len(tokens) != 2 || tokens[0].Member != "" || !tokens[0].Expires.IsZero() {
		t.Errorf("%+v, %v", tokens, err)
	}
}

// Where callers are identified otherwise, no token is issued that nobody takes; those that there are can be revoked.
func TestTokensThatAreNotInUse(t *testing.T) {
	s := openSite(t, sample, func(o *Options) { o.TakesTokens = false })
	token, err := s.registry.IssueToken(t.Context(), registry.NewToken{Hash: registry.Hash{1}, Application: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	b := s.browser("admin@acme.example")
	page := b.get("/apps/acme/credentials")
	if !strings.Contains(page.one(t, "not-in-use"), "identified otherwise") || strings.Contains(page.body, "lifetime") || !strings.Contains(page.body, token.ID) || !strings.Contains(page.body, "Revoke "+token.ID) {
		t.Errorf("the page: %s", page.body)
	}
	if got := b.post("/apps/acme/credentials", url.Values{"lifetime": {"168h"}}); got.status != 409 {
		t.Errorf("a form of before: %d", got.status)
	}
	if none := s.browser("operator@example.com").get("/apps/beta/credentials").one(t, "no-tokens"); strings.Contains(none, "Bearer") {
		t.Errorf("without a token: %s", none)
	}
}

// What is shown once is shown to the session that asked for it, while it waits.
func TestOnce(t *testing.T) {
	var o once
	mine, other := registry.Hash{1}, registry.Hash{2}
	key := o.keep(mine, "secret", at)
	if got := o.take(other, key, at); got != nil {
		t.Errorf("another session gets %v", got)
	}
	if got := o.take(mine, key, at); got != "secret" {
		t.Errorf("its own gets %v", got)
	}
	if got := o.take(mine, key, at); got != nil {
		t.Errorf("again: %v", got)
	}
	key = o.keep(mine, "secret", at)
	if got := o.take(mine, key, at.Add(onceFor)); got != nil {
		t.Errorf("too late: %v", got)
	}
	first, others := o.keep(mine, 0, at), o.keep(other, "unread", at)
	for i := range 10 * maxOnce {
		o.keep(mine, i+1, at.Add(time.Second))
	}
	if got := o.take(mine, first, at); got != nil || len(o.waiting) != maxOnce+1 {
		t.Errorf("%d wait, the first too: %v", len(o.waiting), got)
	}
	if got := o.take(other, others, at); got != "unread" {
		t.Errorf("what another session waits for is gone: %v", got)
	}
}

func TestRevokeToken(t *testing.T) {
	s := openSite(t, sample)
	own, members, others := s.issued("acme", ""), s.issued("acme", "m-1"), s.issued("beta", "")
	viewer := s.browser("viewer@acme.example").get("/apps/acme/credentials")
	if got := viewer.rows(t, "data-token"); !slices.Equal(got, []string{members.ID, own.ID}) || strings.Contains(viewer.body, "Revoke") || strings.Contains(viewer.body, "Issue a token") {
		t.Errorf("a viewer sees %v\n%s", got, viewer.body)
	}
	if err := s.registry.UseTokens(t.Context(), []registry.TokenUse{{ID: own.ID, At: at.Add(-time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	if page := s.browser("viewer@acme.example").get("/apps/acme/credentials"); strings.Count(page.body, "23 Nov 2026, 17:47") != 1 {
		t.Errorf("when it was last used: %s", page.body)
	}
	b := s.browser("admin@acme.example")
	for _, id := range []string{own.ID, members.ID} {
		asked := b.post("/apps/acme/credentials/revoke", url.Values{"token": {id}})
		if asked.status != 200 || !strings.Contains(asked.body, "Revoke token "+id+"?") || s.audited().Action == registry.ActionRevokeToken && strings.Contains(s.audited().Subject, id) {
			t.Fatalf("before it is sure: %d %s", asked.status, asked.body)
		}
		page, _ := b.follow("/apps/acme/credentials/revoke", url.Values{"token": {id}, "sure": {"yes"}})
		if slices.Contains(page.rows(t, "data-token"), id) || !strings.Contains(page.body, "was revoked") {
			t.Errorf("after it: %s", page.body)
		}
		if e := s.audited(); e.Actor != "admin@acme.example" || e.Subject != "token "+id || e.Action != registry.ActionRevokeToken {
			t.Errorf("the audit says %+v", e)
		}
	}
	if s.revoked.Load() != 2 {
		t.Errorf("%d revocations were taken up at once", s.revoked.Load())
	}
	for _, id := range []string{others.ID, "tok_none", ""} {
		if got := b.post("/apps/acme/credentials/revoke", url.Values{"token": {id}, "sure": {"yes"}}); got.status != 404 {
			t.Errorf("token %q: %d", id, got.status)
		}
	}
	if token, err := s.registry.Token(t.Context(), others.ID); err != nil || !token.Revoked.IsZero() {
		t.Errorf("another application's: %+v, %v", token, err)
	}
}

func TestManyTokens(t *testing.T) {
	s := openSite(t, sample)
	for range maxOwnTokens {
		s.issued("acme", "")
	}
	s.issued("acme", "m-1")
	b := s.browser("admin@acme.example")
	first := b.get("/apps/acme/credentials")
	if got := first.rows(t, "data-token"); len(got) != perPage {
		t.Errorf("%d tokens", len(got))
	}
	links := all(first.document(t), having("rel", "next"))
	if len(links) != 1 {
		t.Fatalf("%d links to older ones", len(links))
	}
	older, _ := attribute(links[0], "href")
	if second := b.get(older); len(second.rows(t, "data-token")) != perPage || second.rows(t, "data-token")[0] == first.rows(t, "data-token")[0] || !strings.Contains(second.body, "Newest") {
		t.Errorf("the second page: %s", second.body)
	}
	if got := b.post("/apps/acme/credentials", url.Values{"lifetime": {"24h"}}); got.status != 409 || !strings.Contains(got.body, "100 tokens that hold") {
		t.Errorf("one more: %d", got.status)
	}
}
