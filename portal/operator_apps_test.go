package portal

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

func TestApplicationIsChanged(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	const path = "/operator/apps/acme"
	app := func() *catalog.Application { _, a := s.holds("acme", "posts.create"); return a }

	if preview := b.save(path, url.Values{"do": {"suspend"}}); !strings.Contains(preview.one(t, "preview"), "answered 403 until it is resumed") || !app().Suspended {
		t.Errorf("suspended: %v, after %s", app().Suspended, preview.one(t, "preview"))
	}
	if page := b.get(path).one(t, "content"); !strings.Contains(page, "■ Suspended") || !strings.Contains(page, "Resume") {
		t.Errorf("the page: %s", page)
	}
	if b.save(path, url.Values{"do": {"resume"}}); app().Suspended {
		t.Error("it is still suspended")
	}
	if b.save(path, url.Values{"do": {"shadow"}}); !app().Shadow {
		t.Error("no shadow mode")
	}
	if b.save(path, url.Values{"do": {"unshadow"}}); app().Shadow {
		t.Error("still shadow mode")
	}
	preview := b.save(path, url.Values{"do": {"set"}, "name": {"Acme Scheduler"}, "tier": {""}})
	if got := preview.one(t, "touches"); !strings.Contains(got, "acme posts.create 400 → 500") {
		t.Errorf("out of the tier: %s", got)
	}
	if app().Tier != "" || app().Name != "Acme Scheduler" {
		t.Errorf("%+v", app())
	}
	if got := b.get(path).one(t, "amended"); strings.Contains(got, "name") { // it was sent as it was
		t.Errorf("set at run time: %s", got)
	}
	b.save(path, url.Values{"do": {"override"}, "endpoint": {"*"}, "application": {"unlimited"}, "member": {"0"}})
	if got, _ := s.holds("acme", "*"); got != (quota.Limits{Application: quota.Unlimited, Member: 0}) {
		t.Errorf("%+v holds", got)
	}
	if got := b.get(path).one(t, "overrides"); !strings.Contains(got, "* unlimited 0 Run time Clear") {
		t.Errorf("overrides: %s", got)
	}
	b.save(path, url.Values{"do": {"clear"}, "endpoint": {"*"}})
	if got := b.get(path); got.one(t, "overrides") != "" || got.one(t, "no-overrides") == "" {
		t.Error("the override is still there")
	}
}

// What is in the file cannot be cleared, and stays under what is set over it.
func TestOverridesOfTheFile(t *testing.T) {
	s := openSite(t, strings.Replace(sample, "{id: beta}", "{id: beta, overrides: {posts.create: {application: 5, member: 4}}}", 1))
	b := s.browser(operatorEmail)
	if got := b.get("/operator/apps/beta").one(t, "overrides"); !strings.Contains(got, "posts.create 5 4 Catalog file") || strings.HasSuffix(got, "Clear posts.create") {
		t.Errorf("overrides: %s", got)
	}
	if got := b.post("/operator/apps/beta", url.Values{"do": {"clear"}, "endpoint": {"posts.create"}}); got.status != 409 || got.one(t, "problem") == "" {
		t.Errorf("%d %s", got.status, got.one(t, "content"))
	}
	b.save("/operator/apps/beta", url.Values{"do": {"override"}, "endpoint": {"posts.create"}, "member": {"3"}})
	if got := b.get("/operator/apps/beta").one(t, "overrides"); !strings.Contains(got, "posts.create 5 3 Run time, over the file's Clear") {
		t.Errorf("overrides: %s", got)
	}
}

func TestOperatorLists(t *testing.T) {
	var text strings.Builder
	text.WriteString("catch_all: {application: 1, member: 1}\napplications:\n")
	for i := range 120 {
		fmt.Fprintf(&text, "  - {id: app-%03d, name: \"Number %d\"}\n", i, i)
	}
	b := openSite(t, text.String()).browser(operatorEmail)
	rows := func(path string) (ids []string) {
		for _, row := range all(b.get(path).document(t), having("data-application", "")) {
			id, _ := attribute(row, "data-application")
			ids = append(ids, id)
		}
		return ids
	}
	for _, c := range []struct {
		query       string
		n           int
		first, last string
	}{
		{"", 50, "app-000", "app-049"},
		{"?page=3", 20, "app-100", "app-119"},
		{"?page=99", 20, "app-100", "app-119"},
		{"?page=-1", 50, "app-000", "app-049"},
		{"?q=NUMBER+11", 11, "app-011", "app-119"},
		{"?q=app&page=2", 50, "app-050", "app-099"},
		{"?q=app-007", 1, "app-007", "app-007"},
	} {
		got := rows("/operator/apps" + c.query)
		if len(got) != c.n || got[0] != c.first || got[len(got)-1] != c.last {
			t.Errorf("%s: %v", c.query, got)
		}
	}
	if none := b.get("/operator/apps?q=nobody"); none.one(t, "all-applications") != "" || none.one(t, "no-applications") == "" {
		t.Errorf("%s", none.one(t, "content"))
	}
}

// An override that waits for its endpoint is cleared like any other.
func TestWaitingOverrideIsCleared(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	b.save("/operator/apps/acme", url.Values{"do": {"override"}, "endpoint": {"posts.search"}, "member": {"3"}})
	without := strings.Replace(sample, "  - {id: posts.search, match: GET /rest/posts, when: {query: {q: author}}, application: 15000000, member: 1000}\n", "", 1)
	parsed, err := catalog.Parse("catalog.yaml", []byte(without), catalog.PathPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.registry.Apply(t.Context(), parsed, registry.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	page := b.get("/operator/apps/acme")
	if got := page.one(t, "overrides"); !strings.Contains(got, "posts.search Waits: there is no such endpoint now – 3 Run time Clear") {
		t.Errorf("overrides: %s", got)
	}
	b.save("/operator/apps/acme", url.Values{"do": {"clear"}, "endpoint": {"posts.search"}})
	if got := b.get("/operator/apps/acme"); got.one(t, "no-overrides") == "" {
		t.Errorf("overrides: %s", got.one(t, "overrides"))
	}
}

// However many tiers and endpoints there are, a page offers the first of them, and takes the others as they are typed.
func TestOffersAreBounded(t *testing.T) {
	var text strings.Builder
	text.WriteString("catch_all: {application: 1, member: 1}\nendpoints:\n")
	for i := range 5 * maxHints {
		fmt.Fprintf(&text, "  - {id: e-%04d, match: GET /e/%d}\n", i, i)
	}
	text.WriteString("tiers:\n")
	for i := range 5 * maxHints {
		fmt.Fprintf(&text, "  t-%04d: {}\n", i)
	}
	text.WriteString("applications: [{id: acme}]\n")
	s := openSite(t, text.String())
	b := s.browser(operatorEmail)
	for _, path := range []string{"/operator/apps", "/operator/apps/acme", "/operator/tiers/t-0000", "/apps/acme/call"} {
		got := b.get(path)
		lists := 0
		for _, list := range all(got.document(t), func(n *html.Node) bool { return n.Data == "datalist" || n.Data == "select" }) {
			lists++
			if n := len(all(list, func(n *html.Node) bool { return n.Data == "option" })); n != maxHints {
				t.Errorf("%s offers %d", path, n)
			}
		}
		if got.status != 200 || lists == 0 {
			t.Errorf("%s: %d, %d lists", path, got.status, lists)
		}
	}
	b.save("/operator/apps/acme", url.Values{"do": {"set"}, "tier": {"t-0999"}})
	if got := s.now.Load().Applications()[0].Tier; got != "t-0999" {
		t.Errorf("tier %q", got)
	}
	if got := b.get("/apps/acme/call?endpoint=e-0999"); !strings.Contains(got.body, "Make the call") {
		t.Errorf("the last endpoint: %s", got.one(t, "content"))
	}
	if got := b.get("/apps/acme/call?endpoint=e-9999"); !strings.Contains(got.body, "There is no endpoint of this id") {
		t.Errorf("an unknown endpoint: %s", got.one(t, "content"))
	}
}
