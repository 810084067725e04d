package portal

import (
	"strings"
	"testing"
)

// The tab says what the application is and whom to ask. It tells no limit: those are seen on Analytics, of endpoints that were called today and of no others.
func TestSettings(t *testing.T) {
	s := openSite(t, strings.Replace(sample, "{id: beta}", "{id: beta, overrides: {posts.create: {application: 987654, member: 43210}}}", 1))
	page := s.browser("viewer@acme.example").get("/apps/acme/settings")
	for _, text := range []string{"Acme Scheduler", "<code>acme</code>", "<dd>development</dd>", `href="mailto:api@example.com">api@example.com<`} {
		if !strings.Contains(page.body, text) {
			t.Errorf("the page does not have %q: %s", text, page.body)
		}
	}
	if strings.Contains(page.body, "posts.create") || page.one(t, "own-limits") != "" {
		t.Errorf("limits are told: %s", page.body)
	}
	own := s.browser("other@beta.example").get("/apps/beta/settings")
	if own.one(t, "own-limits") == "" || strings.Contains(own.body, "posts.create") || strings.Contains(own.body, "987") || strings.Contains(own.body, "432") {
		t.Errorf("with overrides: %s", own.body)
	}
	alone := openSite(t, sample, func(o *Options) { o.Contact = nil }).browser("other@beta.example").get("/apps/beta/settings")
	if !strings.Contains(alone.body, "ask whoever runs this API") {
		t.Errorf("without a contact: %s", alone.body)
	}
}
