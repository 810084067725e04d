package portal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

const operatorEmail = "operator@example.com"

// words returns the text of a node, its white space made single blanks.
func words(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// one returns the words of the element with an id; empty: there is none.
func (r reply) one(t *testing.T, id string) string {
	t.Helper()
	found := all(r.document(t), having("id", id))
	if len(found) == 0 {
		return ""
	}
	return words(found[0])
}

// hiddenOf returns what the form of a preview sends on.
func (r reply) hiddenOf(t *testing.T) url.Values {
	t.Helper()
	previews := all(r.document(t), having("id", "preview"))
	if len(previews) != 1 {
		t.Fatalf("no preview: %d %s", r.status, r.body)
	}
	form := url.Values{}
	for _, input := range all(previews[0], having("type", "hidden")) {
		name, _ := attribute(input, "name")
		value, _ := attribute(input, "value")
		form.Add(name, value)
	}
	return form
}

// save sends a form, looks at its preview, and sends that. It returns the preview.
func (b *browser) save(path string, form url.Values) reply {
	b.site.Helper()
	before := b.site.now.Load().Version()
	preview := b.post(path, form)
	if preview.status != 200 {
		b.site.Fatalf("%s %v: %d %s", path, form, preview.status, preview.one(b.site.T, "content"))
	}
	if version, err := b.site.registry.Version(b.site.Context()); err != nil || (before != 0 && version != before) {
		b.site.Errorf("the preview of %v changed the catalog: version %d, then %d (%v)", form, before, version, err)
	}
	saved := b.post(path, preview.hiddenOf(b.site.T))
	location := saved.header.Get("Location")
	if saved.status != 303 || !strings.HasSuffix(location, "?saved") {
		b.site.Fatalf("%s %v: %d to %q: %s", path, form, saved.status, location, saved.one(b.site.T, "content"))
	}
	if shown := b.get(location); shown.status != 200 || shown.one(b.site.T, "saved") == "" {
		b.site.Errorf("%s: %d, and does not say that it is done", location, shown.status)
	}
	return preview
}

// holds returns what holds on the node of an application and an endpoint.
func (s *site) holds(application, endpoint string) (quota.Limits, *catalog.Application) {
	s.Helper()
	now := s.now.Load()
	app, known := now.Application(application)
	e, alsoKnown := now.Endpoint(endpoint)
	if !known || !alsoKnown {
		s.Fatalf("%s or %s is gone", application, endpoint)
	}
	return now.Limits(app, e), app
}

// newest returns the newest entry of the audit.
func (s *site) newest() registry.AuditEntry {
	s.Helper()
	entries, err := s.registry.Audit(s.Context(), 0, 1)
	if err != nil || len(entries) == 0 {
		s.Fatalf("%v %v", entries, err)
	}
	return entries[0]
}

func TestEndpointIsChangedAfterAPreview(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	form := url.Values{"do": {"set"}, "application": {"600"}, "member": {"20"}, "cost": {"1"}, "shadow": {"false"}}
	preview := b.save("/operator/endpoints/posts.create", form)
	if got := preview.one(t, "touched"); got != "Touches 4 limits of 4 applications." {
		t.Errorf("it touches: %s", got)
	}
	touches := preview.one(t, "touches")
	for _, want := range []string{"acme posts.create 400 50 → 20", "beta posts.create 500 → 600 50 → 20"} {
		if !strings.Contains(touches, want) {
			t.Errorf("no %q among %s", want, touches)
		}
	}
	if changes := preview.one(t, "changes"); !strings.Contains(changes, "endpoint posts.create application limit 500 600") {
		t.Errorf("changes: %s", changes)
	}
	if got, _ := s.holds("beta", "posts.create"); got != (quota.Limits{Application: 600, Member: 20}) {
		t.Errorf("%+v holds", got)
	}
	if e := s.newest(); e.Actor != operatorEmail || e.Action != registry.ActionPut {
		t.Errorf("the audit has %+v", e)
	}
	// What was set is told apart from the file's, field by field, and taken back.
	page := b.get("/operator/endpoints/posts.create")
	if got := page.one(t, "amended"); !strings.Contains(got, "application limit 600 500") || !strings.Contains(got, "member limit 20 50") || strings.Contains(got, "cost") {
		t.Errorf("set at run time: %s", got)
	}
	b.save("/operator/endpoints/posts.create", url.Values{"do": {"revert"}, "field": {"member"}})
	if got, _ := s.holds("beta", "posts.create"); got != (quota.Limits{Application: 600, Member: 50}) {
		t.Errorf("%+v holds", got)
	}
	b.save("/operator/endpoints/posts.create", url.Values{"do": {"revert"}, "field": {""}})
	if got, _ := s.holds("beta", "posts.create"); got != (quota.Limits{Application: 500, Member: 50}) {
		t.Errorf("%+v holds", got)
	}
	if e := s.newest(); e.Actor != operatorEmail || e.Action != registry.ActionRevert {
		t.Errorf("the audit has %+v", e)
	}
}

// A preview that is no longer true is not what is done: it is shown anew.
func TestPreviewIsWhatIsDone(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	form := url.Values{"do": {"override"}, "endpoint": {"posts.create"}, "application": {"7"}}
	preview := b.post("/operator/apps/acme", form)
	seven := quota.Limit(9)
	if err := s.registry.SetOverride(t.Context(), "acme", "posts.create", catalog.PartialLimits{Application: &seven}, "somebody else"); err != nil {
		t.Fatal(err)
	}
	again := b.post("/operator/apps/acme", preview.hiddenOf(t))
	if again.status != 200 || !strings.Contains(again.one(t, "preview"), "has changed since you looked") || !strings.Contains(again.one(t, "touches"), "9 → 7") {
		t.Fatalf("%d %s", again.status, again.one(t, "content"))
	}
	if e := s.newest(); e.Actor != "somebody else" {
		t.Errorf("it was done: %+v", e)
	}
	if got := b.post("/operator/apps/acme", again.hiddenOf(t)); got.status != 303 {
		t.Errorf("%d", got.status)
	}
	if got, _ := s.holds("acme", "posts.create"); got.Application != 7 {
		t.Errorf("%+v holds", got)
	}
}

// A preview names the first that it touches, and says how many more there are.
func TestPreviewOfMany(t *testing.T) {
	var text strings.Builder
	text.WriteString("catch_all: {application: 1, member: 1}\napplications:\n")
	for i := range 150 {
		fmt.Fprintf(&text, "  - {id: app-%03d}\n", i)
	}
	b := openSite(t, text.String()).browser(operatorEmail)
	got := b.save("/operator/endpoints/%2A", url.Values{"do": {"set"}, "application": {"2"}, "member": {"1"}, "cost": {"1"}, "shadow": {"false"}})
	if touches := got.one(t, "touches"); got.one(t, "touched") != "Touches 150 limits of 150 applications." || strings.Count(touches, "1 → 2") != shownTouches || !strings.Contains(got.body, "and 125 more") {
		t.Errorf("%s %s", got.one(t, "touched"), touches)
	}
}

// What is kept although the node could not take it up is not said to have failed, nor to hold.
func TestChangeThatIsNotTakenUp(t *testing.T) {
	s := openSite(t, sample, func(o *Options) {
		o.Operators.Changed = func(context.Context) error { return errors.New("secret cause") }
	})
	b := s.browser(operatorEmail)
	got := b.post("/operator/apps/acme", b.post("/operator/apps/acme", url.Values{"do": {"suspend"}}).hiddenOf(t))
	if got.status != 503 || !strings.Contains(got.body, "The change is kept") || strings.Contains(got.body, "secret cause") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// Behind a proxy that strips portal_url's path, everything leads to that path.
func TestOperatorPagesBelowAPath(t *testing.T) {
	s := openSite(t, sample, func(o *Options) { o.URL.Path = "/portal" })
	b := s.browser(operatorEmail)
	preview := b.post("/operator/tiers/development", url.Values{"do": {"set"}, "endpoint": {"*"}, "member": {"3"}})
	form := all(all(preview.document(t), having("id", "preview"))[0], having("action", ""))
	if action, _ := attribute(form[0], "action"); action != "/portal/operator/tiers/development" {
		t.Errorf("the preview is sent to %s", action)
	}
	got := b.post("/operator/tiers/development", preview.hiddenOf(t))
	if to := got.header.Get("Location"); got.status != 303 || to != "/portal/operator/tiers/development?saved" {
		t.Errorf("%d to %s", got.status, to)
	}
	for _, page := range operatorTabs {
		for _, link := range all(b.get("/operator/"+page.page).document(t), having("href", "")) {
			if href, _ := attribute(link, "href"); !strings.HasPrefix(href, "/portal/") && !strings.HasPrefix(href, "#") && !strings.HasPrefix(href, "?") {
				t.Errorf("%s leads to %s", page.page, href)
			}
		}
	}
}

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

func TestItemsAreAddedAndRemoved(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	b.save("/operator/endpoints", url.Values{
		"do": {"add"}, "id": {"likes"}, "match": {"GET /rest/likes"}, "when": {"header X-RestLi-Method: FINDER\r\nquery q: *\r\n"},
		"application": {"9"}, "member": {"unlimited"}, "cost": {"2"}, "shadow": {"true"},
	})
	e, known := s.now.Load().Endpoint("likes")
	if !known || e.Match() != "GET /rest/likes" || e.When.Header["X-Restli-Method"] != "FINDER" || e.When.Query["q"] != "*" || e.Cost != 2 || !e.Shadow || e.Limits != (quota.Limits{Application: 9, Member: quota.Unlimited}) {
		t.Fatalf("%+v", e)
	}
	b.save("/operator/endpoints/likes", url.Values{ // what it matches is its own to change
		"do": {"set"}, "match": {"GET /rest/hearts"}, "when": {"query q: *"}, "application": {"9"}, "member": {"unlimited"}, "cost": {"2"}, "shadow": {"true"},
	})
	if e, _ := s.now.Load().Endpoint("likes"); e.Match() != "GET /rest/hearts" || len(e.When.Header) != 0 {
		t.Errorf("%+v", e)
	}
	b.save("/operator/tiers", url.Values{"do": {"add"}, "name": {"partner"}})
	b.save("/operator/tiers/partner", url.Values{"do": {"set"}, "endpoint": {"likes"}, "application": {"77"}})
	b.save("/operator/apps", url.Values{"do": {"add"}, "id": {"gamma"}, "name": {"Gamma"}, "tier": {"partner"}})
	if got, _ := s.holds("gamma", "likes"); got.Application != 77 {
		t.Errorf("%+v holds", got)
	}
	for _, list := range []struct{ path, id, row string }{
		{"/operator/endpoints", "all-endpoints", "likes"}, {"/operator/tiers", "all-tiers", "partner"}, {"/operator/apps", "all-applications", "Gamma"},
	} {
		got := b.get(list.path).one(t, list.id)
		if !strings.Contains(got, list.row) || strings.Count(got, "Run time") != 1 || !strings.Contains(got, "Catalog file") {
			t.Errorf("%s: %s", list.path, got)
		}
	}
	if got := b.post("/operator/tiers/partner", url.Values{"do": {"remove"}}); got.status != 422 || !strings.Contains(got.one(t, "problem"), "gamma") {
		t.Errorf("a tier in use: %d %s", got.status, got.one(t, "problem"))
	}
	b.save("/operator/apps/gamma", url.Values{"do": {"remove"}})
	b.save("/operator/tiers/partner", url.Values{"do": {"remove"}})
	b.save("/operator/endpoints/likes", url.Values{"do": {"remove"}})
	for _, path := range []string{"/operator/apps/gamma", "/operator/tiers/partner", "/operator/endpoints/likes"} {
		if got := b.get(path); got.status != 404 {
			t.Errorf("%s: %d", path, got.status)
		}
		if got := b.post(path, url.Values{"do": {"remove"}}); got.status != 404 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	if got := b.post("/operator/endpoints/posts.find", url.Values{"do": {"remove"}}); got.status != 409 || !strings.Contains(got.one(t, "problem"), "belongs to the catalog's file") {
		t.Errorf("the file's: %d %s", got.status, got.one(t, "problem"))
	}
}

// What cannot be done is said beside the field, in a form that is filled in as it was.
func TestFormsSayWhatIsWrong(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	set := url.Values{"do": {"set"}, "application": {"1"}, "member": {"2"}, "cost": {"1"}, "shadow": {"false"}}
	add := url.Values{"do": {"add"}, "id": {"x"}, "match": {"GET /x"}, "application": {"1"}, "member": {"2"}, "cost": {"1"}, "shadow": {"false"}}
	for _, c := range []struct {
		path         string
		form         url.Values
		field, value string // empty: the form as a whole
		status       int
		says         string
	}{
		{"/operator/endpoints/posts.create", set, "application", "-1", 422, "Must be a whole number from 0 to 999,999,999,999,999, or unlimited."},
		{"/operator/endpoints/posts.create", set, "member", "1e3", 422, "or unlimited."},
		{"/operator/endpoints/posts.create", set, "cost", "0", 422, "from 1 to 1,000,000."},
		{"/operator/endpoints/posts.create", set, "cost", "", 422, "from 1 to 1,000,000."},
		{"/operator/endpoints", add, "id", "posts.create", 409, "There is an endpoint of this id already."},
		{"/operator/endpoints", add, "id", "a\nb", 422, "without control characters"},
		{"/operator/endpoints", add, "match", "", 422, "Say which requests are this endpoint's."},
		{"/operator/endpoints", add, "when", "cookie a: b", 422, "is no condition"},
		{"/operator/endpoints", add, "when", "query q: a\nquery q: b", 422, "named twice"},
		{"/operator/apps", url.Values{"do": {"add"}}, "id", "acme", 409, "There is an application of this id already."},
		{"/operator/apps", url.Values{"do": {"add"}}, "id", "", 422, "1 to 256 bytes"},
		{"/operator/tiers", url.Values{"do": {"add"}}, "name", "development", 409, "There is a tier of this name already."},
		{"/operator/tiers/development", url.Values{"do": {"set"}}, "endpoint", "", 422, "Name the endpoint."},
		{"/operator/apps/acme", url.Values{"do": {"override"}, "endpoint": {"posts.create"}}, "application", "", 422, "or both."},
		{"/operator/apps/acme", url.Values{"do": {"override"}, "endpoint": {"posts.create"}}, "member", "1000000000000000", 422, "or unlimited."},
		{"/operator/accounts", url.Values{"do": {"add"}}, "email", "no address", 422, "must be an address"},
		{"/operator/accounts", url.Values{"do": {"add"}}, "email", operatorEmail, 409, "already"},
		{"/operator/accounts", url.Values{"do": {"add"}, "email": {"a@example.com"}}, "password", "short", 422, "at least 12 characters"},
	} {
		form := maps.Clone(c.form)
		form.Set(c.field, c.value)
		got := b.post(c.path, form)
		if got.status != c.status {
			t.Errorf("%s %v: %d, want %d", c.path, form, got.status, c.status)
		}
		id := form.Get("do") + "-" + c.field
		if says := got.one(t, id+"-problem"); !strings.Contains(says, c.says) {
			t.Errorf("%s %v: the field %s says %q, not %q", c.path, form, id, says, c.says)
		}
		filled := all(got.document(t), having("id", id))
		if len(filled) != 1 {
			t.Fatalf("%s: no field %s", c.path, id)
		}
		value, _ := attribute(filled[0], "value")
		if filled[0].Data == "textarea" {
			value = filled[0].FirstChild.Data
		}
		if kept := strings.ReplaceAll(c.value, "\r", ""); c.field != "password" && value != kept {
			t.Errorf("%s: the field %s has %q, not what was sent", c.path, id, value)
		}
		if c.field == "password" && strings.Contains(got.body, c.value+`"`) {
			t.Error("the password is in the page")
		}
	}
	// What only the catalog knows to be wrong is said of the form.
	bad := maps.Clone(add)
	bad.Set("match", "GET /rest/posts")
	if got := b.post("/operator/endpoints", bad); got.status != 422 || !strings.Contains(got.one(t, "add"), "posts.find") {
		t.Errorf("a tie: %d %s", got.status, got.one(t, "add"))
	}
	if got := b.post("/operator/apps/acme", url.Values{"do": {"override"}, "endpoint": {"none"}, "member": {"1"}}); got.status != 422 || !strings.Contains(got.one(t, "override"), "none") {
		t.Errorf("an unknown endpoint: %d %s", got.status, got.one(t, "override"))
	}
	same := url.Values{"do": {"set"}, "application": {"500"}, "member": {"50"}, "cost": {"1"}, "shadow": {"false"}}
	if got := b.post("/operator/endpoints/posts.create", same); got.status != 422 || !strings.Contains(got.one(t, "set"), "what holds already") {
		t.Errorf("nothing changed: %d %s", got.status, got.one(t, "set"))
	}
	if e := s.newest(); e.Actor == operatorEmail {
		t.Errorf("the audit has %+v", e)
	}
}

// hostile is text that would be markup wherever it is not escaped.
const hostile = `"><img src=x onerror=alert(1)><script>alert(1)</script>`

// Whatever ids and names are, they are text in the pages, in their links, and in what their forms send on.
func TestOperatorPagesEscapeNames(t *testing.T) {
	id := fmt.Sprintf("%q", hostile+"/../?#%2e")
	text := "endpoints: [{id: " + id + ", match: GET /x, application: 10, member: 5}]\ncatch_all: {application: 1, member: 1}\ntiers: {" + id + ": {" + id + ": {member: 3}}}\n" +
		"applications: [{id: " + id + ", name: " + id + ", tier: " + id + ", overrides: {" + id + ": {application: 8}}, shadow: true}]\n"
	s := openSite(t, text)
	name := s.snapshot.Applications()[0].ID
	s.counts.set(name, usage.Counts{Endpoint: name, Used: 7, Refused: 3, LastCall: at})
	b := s.browser(operatorEmail)
	shown := func(what string, got reply, status int) {
		t.Helper()
		if got.status != status {
			t.Errorf("%s: %d", what, got.status)
		}
		if !strings.Contains(words(got.document(t)), strings.Join(strings.Fields(name), " ")) {
			t.Errorf("%s does not name it", what)
		}
		for _, n := range all(got.document(t), func(n *html.Node) bool { return n.Data == "img" || n.Data == "script" || n.Data == "iframe" }) {
			t.Errorf("%s has %s", what, n.Data)
		}
		for _, n := range all(got.document(t), func(n *html.Node) bool { return true }) {
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || (a.Key == "href" && strings.HasPrefix(a.Val, "javascript:")) {
					t.Errorf("%s has %s=%s", what, a.Key, a.Val)
				}
			}
		}
	}
	for _, list := range []string{"apps", "endpoints", "tiers", "nearest"} {
		got := b.get("/operator/" + list)
		shown(list, got, 200)
		for _, link := range all(got.document(t), having("href", "")) {
			href, _ := attribute(link, "href")
			if !strings.HasPrefix(href, "/operator/"+list+"/") || href == s.portal.itemPath("endpoints", "*") {
				continue
			}
			item := b.get(href)
			shown(href, item, 200)
		}
	}
	for page, form := range map[string]url.Values{
		"apps":      {"do": {"override"}, "endpoint": {name}, "member": {"2"}},
		"endpoints": {"do": {"set"}, "application": {"11"}, "member": {"5"}, "cost": {"1"}, "shadow": {"false"}},
		"tiers":     {"do": {"set"}, "endpoint": {name}, "member": {"1"}},
	} {
		path := s.portal.itemPath(page, name)
		shown("a preview in "+page, b.save(path, form), 200)
		form.Set("do", hostile)
		if got := b.post(path, form); got.status != 422 || len(all(got.document(t), func(n *html.Node) bool { return n.Data == "script" })) > 0 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	shown("the audit", b.get("/operator/audit"), 200)
	shown("a search", b.get("/operator/apps?"+url.Values{"q": {name}}.Encode()), 200)
	shown("a removal", b.get("/operator/accounts?"+url.Values{"remove": {name}}.Encode()), 200)
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

func TestAuditIsRead(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	for i := range 60 {
		if err := s.registry.SetSetting(t.Context(), fmt.Sprintf("key-%02d", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	var seqs []string
	path := "/operator/audit"
	for pages := 0; path != ""; pages++ {
		page := b.get(path)
		if page.status != 200 || pages > 3 {
			t.Fatalf("%s: %d", path, page.status)
		}
		for _, row := range all(page.document(t), having("data-seq", "")) {
			seq, _ := attribute(row, "data-seq")
			seqs = append(seqs, seq)
		}
		path = ""
		for _, link := range all(page.document(t), having("rel", "next")) {
			path, _ = attribute(link, "href")
		}
	}
	entries, err := s.registry.Audit(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range entries {
		want = append(want, fmt.Sprint(e.Seq))
	}
	if !slices.Equal(seqs, want) {
		t.Errorf("read %v, want %v", seqs, want)
	}
	b.save("/operator/endpoints/posts.create", url.Values{"do": {"set"}, "application": {"9"}, "member": {"50"}, "cost": {"1"}, "shadow": {"false"}})
	if got := b.get("/operator/audit").one(t, "audit"); !strings.Contains(got, operatorEmail+" Set endpoint posts.create application 500 9") {
		t.Errorf("the audit: %.300s", got)
	}
	for _, odd := range []string{"x", "-5", "99999999999999999999"} {
		if got := b.get("/operator/audit?before=" + odd); got.status != 200 || got.one(t, "audit") == "" {
			t.Errorf("before %s: %d", odd, got.status)
		}
	}
	if got := b.get("/operator/audit?before=1"); got.one(t, "no-audit") != "These were all. Newest" {
		t.Errorf("%s", got.one(t, "content"))
	}
}

func TestNearestIsShown(t *testing.T) {
	s := openSite(t, strings.Replace(sample, "{id: beta}", "{id: beta, shadow: true}", 1))
	b := s.browser(operatorEmail)
	s.counts.set("acme", usage.Counts{Endpoint: "posts.create", Used: 400, Refused: 8}, usage.Counts{Endpoint: "posts.find", Used: 8000})
	s.counts.set("beta", usage.Counts{Endpoint: "posts.create", Used: 50, Refused: 12, RefusedForMember: 5})
	page := b.get("/operator/nearest")
	if got := page.one(t, "nearest"); !strings.Contains(got, "Acme Scheduler posts.create 400 400 8 ■ At the limit until 00:00 UTC Acme Scheduler posts.find 8,000 10,000 0 ◐ 80 % used beta") {
		t.Errorf("nearest: %s", got)
	}
	if got := page.one(t, "shadow"); !strings.HasSuffix(got, "beta posts.create 12 7 5") {
		t.Errorf("shadow: %s", got)
	}
	var text strings.Builder
	text.WriteString("catch_all: {application: 100, member: 1, shadow: true}\napplications:\n")
	for i := range 60 {
		fmt.Fprintf(&text, "  - {id: app-%03d}\n", i)
	}
	many := openSite(t, text.String())
	for i, a := range many.snapshot.Applications() {
		many.counts.set(a.ID, usage.Counts{Endpoint: "*", Used: int64(i + 1), Refused: int64(i + 1)})
	}
	full := many.browser(operatorEmail).get("/operator/nearest")
	for _, id := range []string{"nearest", "shadow"} {
		if got := full.one(t, id); strings.Count(got, "app-") != shownNearest || !strings.Contains(got, "app-059") || strings.Contains(got, "app-034") {
			t.Errorf("%s: %s", id, got)
		}
	}
	if strings.Count(full.body, "The first 25.") != 2 || !strings.Contains(full.one(t, "content"), "1,830 today") {
		t.Errorf("%s", full.one(t, "content"))
	}
	none := openSite(t, sample).browser(operatorEmail).get("/operator/nearest")
	if none.one(t, "no-nearest") == "" || none.one(t, "no-shadow") == "" {
		t.Errorf("%s", none.one(t, "content"))
	}
}

func TestHealthIsShown(t *testing.T) {
	ill := func(o *Options) {
		o.Operators.Health = func() Health {
			return Health{
				Reason: "the ledger is down", Version: "v9", Ledger: LedgerHealth{Reason: "the disk is full", Durability: "disk", WhenDown: "admit", Unbacked: 1200},
				Protection: &ProtectionHealth{Limiting: true, Limit: 4, InFlight: 4, Refused: 31000}, Restored: &Restored{Backup: at.Add(-time.Hour), At: at, Incomplete: true},
				Listeners: []Listener{{"portal", "127.0.0.1:1"}},
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*Options)
		says   []string
	}{
		"well":       {func(*Options) {}, []string{"● Ready", "v1.2.3", "● Up", "300 MiB", "40,960 MiB", "Watching", "12.0 ms", "gateway 127.0.0.1:8080", "4 applications"}},
		"ill":        {ill, []string{"■ Not ready the ledger is down", "■ Down the disk is full", "1,200", "■ Refusing calls", "31,000", "Not known", "backup of 2026-11-23 17:47:27 UTC", "may be admitted again"}},
		"no gateway": {func(o *Options) { o.Operators.Health = func() Health { return Health{} } }, []string{"Off: there is no gateway here"}},
	} {
		got := openSite(t, sample, c.change).browser(operatorEmail).get("/operator/health")
		content := got.one(t, "content")
		for _, want := range c.says {
			if !strings.Contains(content, want) {
				t.Errorf("%s: no %q in %s", name, want, content)
			}
		}
	}
}

func TestAccountsAreChanged(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	send := func(do, email string, more ...string) reply {
		form := url.Values{"do": {do}, "email": {email}}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return b.post("/operator/accounts", form)
	}
	done := func(got reply) {
		t.Helper()
		if got.status != 303 || got.header.Get("Location") != "/operator/accounts?saved" {
			t.Fatalf("%d %s", got.status, got.one(t, "content"))
		}
		if e := s.newest(); e.Actor != operatorEmail {
			t.Errorf("the audit has %+v", e)
		}
	}
	account := func() registry.Account {
		t.Helper()
		a, err := s.registry.Account(t.Context(), "new@example.com")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	done(send("add", "New@Example.com", "password", "long enough for us"))
	if a := account(); a.Operator || a.Password != "$hash$of-18" {
		t.Errorf("%+v", a)
	}
	done(send("promote", "new@example.com"))
	if !account().Operator {
		t.Error("no operator")
	}
	done(send("demote", "new@example.com"))
	if account().Operator {
		t.Error("still an operator")
	}
	stamp := account().Stamp
	done(send("password", "new@example.com", "password", "another one that is long"))
	if a := account(); a.Password != "$hash$of-24" || a.Stamp == stamp {
		t.Errorf("%+v", a)
	}
	if got := b.get("/operator/accounts?remove=new@example.com").one(t, "removing"); !strings.Contains(got, "Remove new@example.com?") {
		t.Errorf("it is not asked: %s", got)
	}
	if got := b.get("/operator/accounts").one(t, "accounts"); !strings.Contains(got, "new@example.com No Set") {
		t.Errorf("accounts: %s", got)
	}
	done(send("remove", "new@example.com"))
	if got := send("remove", "new@example.com"); got.status != 422 || got.one(t, "problem") == "" {
		t.Errorf("removed twice: %d %s", got.status, got.one(t, "content"))
	}
	for _, do := range []string{"remove", "demote"} { // nobody takes their own right away
		if got := send(do, operatorEmail); got.status != 422 || !strings.Contains(got.one(t, "problem"), "your own account") {
			t.Errorf("%s: %d %s", do, got.status, got.one(t, "content"))
		}
	}
	if strings.Contains(s.logged.String(), "long enough") {
		t.Error("a password is in the log")
	}
}
