package portal

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

const callable = `
endpoints:
  - {id: posts.find, match: GET /rest/posts, application: 100, cost: 2}
  - {id: posts.get, match: "GET /rest/posts/{post}", application: 100}
  - {id: posts.latest, match: GET /rest/posts/latest, application: 100}
  - {id: files, match: "HEAD /files/{folder}/{rest...}", application: 100}
  - {id: posts.search, match: GET /rest/posts, when: {query: {q: author}}, application: 100}
  - {id: posts.create, match: POST /rest/posts, application: 100}
  - {id: secret, match: GET /secret, application: 0}
catch_all: {application: 1000, member: 100}
applications: [{id: acme}]
`

func TestTestCall(t *testing.T) {
	s := openSite(t, callable)
	b := s.browser("admin@acme.example")
	if page := b.get("/apps/acme/analytics"); !strings.Contains(page.body, "Make a test call") {
		t.Error("the Analytics tab does not lead to it")
	}
	page := b.get("/apps/acme/call?endpoint=posts.find")
	if !strings.Contains(page.body, "2 calls are counted") || strings.Contains(page.body, `<option value="secret">`) || !strings.Contains(page.body, `<option value="posts.search">`) || !strings.Contains(page.body, `value="posts.find"`) {
		t.Errorf("%s", page.body)
	}
	page, location := b.follow("/apps/acme/call", url.Values{"endpoint": {"posts.find"}})
	if !strings.Contains(page.body, "200 OK") || !strings.Contains(page.body, "Ratelimit") || strings.Contains(page.body, "<script>alert") {
		t.Errorf("%s", page.body)
	}
	if again := b.get(location); strings.Contains(again.body, "200 OK") || len(s.called) != 1 {
		t.Errorf("reloading shows a call that was not made, or makes one: %d", len(s.called))
	}
	call := s.called[0]
	if call.method != "GET" || call.path != "/rest/posts" || call.token.Application != "acme" || call.token.Member != "" || !call.token.Expires.Equal(at.Add(30*time.Second)) {
		t.Errorf("called: %+v", call)
	}
	if e := s.audited(); e.Actor != "admin@acme.example" || e.Action != registry.ActionIssueToken {
		t.Errorf("the audit says %+v", e)
	}
	if got := b.post("/apps/acme/call", url.Values{"endpoint": {"posts.find"}}); got.status != 429 || len(s.called) != 1 || !strings.Contains(got.body, "in five seconds") || got.header.Get("Retry-After") != "5" {
		t.Errorf("a second one at once: %d", got.status)
	}
}

// tokensAway are tokens that cannot be written.
type tokensAway struct{ Tokens }

func (tokensAway) IssueToken(context.Context, registry.NewToken) (registry.Token, error) {
	return registry.Token{}, fault.Wrap(fault.Unavailable, errors.New("disk is full"), "The registry cannot be written.")
}

// A gateway that does not answer is what became of the call, which may have been made; where the registry is away, none was.
func TestTestCallThatFails(t *testing.T) {
	s := openSite(t, callable, func(o *Options) {
		o.Call = func(context.Context, string, string, string) (int, http.Header, error) {
			return 0, nil, errors.New("secret cause")
		}
	})
	got := s.browser("admin@acme.example").post("/apps/acme/call", url.Values{"endpoint": {"posts.find"}})
	if got.status != 503 || !strings.Contains(got.body, errNoAnswer.Error()) || !strings.Contains(got.body, `name="endpoint"`) || strings.Contains(got.body, "secret cause") {
		t.Errorf("the gateway does not answer: %d %s", got.status, got.body)
	}
	s = openSite(t, callable, func(o *Options) { o.Tokens = tokensAway{o.Tokens} })
	got = s.browser("admin@acme.example").post("/apps/acme/call", url.Values{"endpoint": {"posts.find"}})
	if got.status != 503 || strings.Contains(got.body, "did not answer") || strings.Contains(got.body, `name="endpoint"`) || strings.Contains(got.body, "disk is full") || len(s.called) != 0 {
		t.Errorf("the registry is away: %d, %d calls: %s", got.status, len(s.called), got.body)
	}
}

// Parameters are segments of the path and nothing else, and lead to the endpoint that was chosen.
func TestTestCallParameters(t *testing.T) {
	s := openSite(t, callable)
	b := s.browser("admin@acme.example")
	now := at
	s.portal.Now = func() time.Time { now = now.Add(callEvery); return now }
	for _, c := range []struct{ endpoint, first, rest, path string }{
		{"posts.get", "urn:li:post:1", "", "/rest/posts/urn:li:post:1"},
		{"posts.get", "a b?c=d#e;f", "", "/rest/posts/a%20b%3Fc=d%23e%3Bf"},
		{"posts.get", "é%2F", "", "/rest/posts/%C3%A9%252F"},
		{"posts.get", "a/b", "", ""}, // which paths leaves to be refused
		{"posts.get", "latest", "", ""},
		{"posts.get", "..", "", ""},
		{"posts.get", ".", "", ""},
		{"posts.get", "", "", ""},
		{"posts.get", "a\r\nX-Evil: 1", "", ""},
		{"posts.get", strings.Repeat("a", 257), "", ""},
		{"files", "a", "b c", "/files/a/b%20c"},
		{"files", "a", "..", ""},
		{"posts.create", "", "", ""},
		{"posts.search", "", "", ""},
		{"*", "", "", ""},
		{"secret", "", "", "/secret"}, // whose answer says that there is no access
		{"none", "", "", ""},
	} {
		s.called = nil
		got := b.post("/apps/acme/call", url.Values{"endpoint": {c.endpoint}, "p.post": {c.first}, "p.folder": {c.first}, "p.rest": {c.rest}})
		path := ""
		if len(s.called) == 1 {
			path = s.called[0].path
		}
		if path != c.path || (got.status == 303) != (c.path != "") {
			t.Errorf("%s %q %q: %d, called %q, want %q", c.endpoint, c.first, c.rest, got.status, path, c.path)
		}
	}
	for _, endpoint := range []string{"posts.create", "posts.search", "*"} {
		page := b.get("/apps/acme/call?" + url.Values{"endpoint": {endpoint}}.Encode())
		if !strings.Contains(page.body, "<pre>curl -i") || strings.Contains(page.body, "Make the call") {
			t.Errorf("%s: %s", endpoint, page.body)
		}
	}
}

func TestTestCallWithoutAnswer(t *testing.T) {
	s := openSite(t, callable, func(o *Options) {
		o.Call = func(context.Context, string, string, string) (int, http.Header, error) {
			return 0, nil, errors.New("dial 10.1.2.3")
		}
	})
	got := s.browser("admin@acme.example").post("/apps/acme/call", url.Values{"endpoint": {"posts.find"}})
	if got.status != 503 || strings.Contains(got.body, "10.1.2.3") || !strings.Contains(got.body, "did not answer") {
		t.Errorf("%d %s", got.status, got.body)
	}
	none := openSite(t, callable, func(o *Options) { o.Call = nil }).browser("admin@acme.example")
	if page, call := none.get("/apps/acme/analytics"), none.get("/apps/acme/call"); strings.Contains(page.body, "test call") || call.status != 404 {
		t.Errorf("without a gateway: %d", call.status)
	}
}

func TestLongAnswer(t *testing.T) {
	header := http.Header{"A": {strings.Repeat("a", 100)}, "B": {strings.Repeat("b", maxShown)}, "C": {"c"}}
	if got := newResult("GET", "/", 200, header); !got.Cut || len(got.Header) != 1 {
		t.Errorf("%d headers are shown", len(got.Header))
	}
}

// With -X HEAD curl would wait for a body that does not come.
func TestCurl(t *testing.T) {
	s := openSite(t, sample)
	for method, want := range map[string]string{"": "curl -i -H ", "GET": "curl -i -H ", "HEAD": "curl -I -H ", "POST": "curl -i -X POST -H "} {
		if got := s.portal.curl(&catalog.Endpoint{ID: "x", Method: method, Path: "/x"}); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", method, got)
		}
	}
}
