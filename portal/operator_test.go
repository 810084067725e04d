package portal

import (
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

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
		{"/operator/apps", url.Values{"do": {"add"}, "id": {"x"}}, "tier", "none", 422, "There is no tier of this name."},
		{"/operator/apps/acme", url.Values{"do": {"set"}, "name": {"x"}}, "tier", "none", 422, "There is no tier of this name."},
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
	if e := s.audited(); e.Actor == operatorEmail {
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
	shown("a removal", b.post("/operator/accounts", url.Values{"do": {"remove"}, "email": {name}}), 200)
}
