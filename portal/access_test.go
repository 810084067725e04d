package portal

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// access says which status each of those who may ask gets: nobody, the developer of another application, a viewer, an admin, an operator.
var access = map[string][5]int{
	"GET /":                              {303, 303, 303, 303, 303},
	"GET /static/{id}":                   {200, 200, 200, 200, 200},
	"GET /v1/usage":                      {401, 401, 401, 401, 401}, // it goes by tokens alone
	"GET /signin":                        {200, 303, 303, 303, 303},
	"POST /signin":                       {403, 403, 403, 403, 403}, // with a wrong password
	"GET /signin/oidc":                   {404, 404, 404, 404, 404}, // no issuer is configured
	"GET /signin/callback":               {404, 404, 404, 404, 404},
	"POST /signout":                      {303, 303, 303, 303, 303},
	"GET /apps":                          {303, 200, 200, 200, 200},
	"GET /apps/{id}":                     {303, 404, 303, 303, 303},
	"GET /apps/{id}/analytics":           {303, 404, 200, 200, 200},
	"GET /apps/{id}/credentials":         {303, 404, 200, 200, 200},
	"POST /apps/{id}/credentials":        {303, 404, 403, 303, 303},
	"POST /apps/{id}/credentials/revoke": {303, 404, 403, 404, 404}, // another application's
	"GET /apps/{id}/alerts":              {303, 404, 200, 200, 200},
	"POST /apps/{id}/alerts":             {303, 404, 403, 303, 303},
	"POST /apps/{id}/alerts/secret":      {303, 404, 403, 409, 409}, // there is no webhook
	"POST /apps/{id}/alerts/test":        {303, 404, 403, 303, 303}, // the first has nobody to go to, and is none
	"GET /apps/{id}/team":                {303, 404, 200, 200, 200},
	"POST /apps/{id}/team":               {303, 404, 403, 303, 303},
	"POST /apps/{id}/team/withdraw":      {303, 404, 403, 200, 200}, // it asks
	"GET /apps/{id}/settings":            {303, 404, 200, 200, 200},
	"GET /apps/{id}/call":                {303, 404, 403, 200, 200},
	"POST /apps/{id}/call":               {303, 404, 403, 303, 429}, // in the same five seconds
	"GET /apps/{id}/live":                {401, 404, 200, 200, 200},
	"GET /apps/{id}/usage.csv":           {303, 404, 200, 200, 200},
	"GET /apps/{id}/usage.json":          {303, 404, 200, 200, 200},

	"GET /operator":                 {303, 404, 404, 404, 303},
	"GET /operator/apps":            {303, 404, 404, 404, 200},
	"POST /operator/apps":           {303, 404, 404, 404, 422}, // with a form that says nothing
	"GET /operator/apps/{id}":       {303, 404, 404, 404, 200},
	"POST /operator/apps/{id}":      {303, 404, 404, 404, 422},
	"GET /operator/endpoints":       {303, 404, 404, 404, 200},
	"POST /operator/endpoints":      {303, 404, 404, 404, 422},
	"GET /operator/endpoints/{id}":  {303, 404, 404, 404, 200},
	"POST /operator/endpoints/{id}": {303, 404, 404, 404, 422},
	"GET /operator/tiers":           {303, 404, 404, 404, 200},
	"POST /operator/tiers":          {303, 404, 404, 404, 422},
	"GET /operator/tiers/{id}":      {303, 404, 404, 404, 200},
	"POST /operator/tiers/{id}":     {303, 404, 404, 404, 422},
	"GET /operator/nearest":         {303, 404, 404, 404, 200},
	"GET /operator/audit":           {303, 404, 404, 404, 200},
	"GET /operator/health":          {303, 404, 404, 404, 200},
	"GET /operator/accounts":        {303, 404, 404, 404, 200},
	"POST /operator/accounts":       {303, 404, 404, 404, 422},
}

// named returns the id of something whose page is at a path.
func named(path string) string {
	switch {
	case strings.HasPrefix(path, "/operator/endpoints/"):
		return "posts.create"
	case strings.HasPrefix(path, "/operator/tiers/"):
		return "development"
	default:
		return "acme"
	}
}

// sent is what the forms send.
func (s *site) sent() map[string]url.Values {
	s.Helper()
	return map[string]url.Values{
		"/signin":                       {"email": {"viewer@acme.example"}, "password": {"wrong"}},
		"/apps/acme/credentials":        {"lifetime": {"24h"}},
		"/apps/acme/credentials/revoke": {"token": {s.issued("beta", "").ID}, "sure": {"yes"}},
		"/apps/acme/alerts":             {"thresholds": {"80"}},
		"/apps/acme/call":               {"endpoint": {"posts.find"}},
		"/apps/acme/team":               {"email": {"viewer@acme.example"}, "role": {"viewer"}},
		"/apps/acme/team/withdraw":      {"email": {"admin@acme.example"}},
	}
}

// Each route is answered to each who may ask as the table says, and is in the table; and every answer has the headers that protect it.
func TestAccess(t *testing.T) {
	s := openSite(t, sample)
	who := []string{"", "other@beta.example", "viewer@acme.example", "admin@acme.example", "operator@example.com"}
	served, sent := map[string]bool{}, s.sent()
	for _, route := range routes() {
		name := route.method + " " + route.path
		served[name] = true
		want, ok := access[name]
		if !ok {
			t.Errorf("%s is served, and no test says to whom", name)
			continue
		}
		path := strings.ReplaceAll(route.path, "{id}", named(route.path))
		if strings.HasPrefix(path, "/static/") {
			path = s.portal.files.path("style.css")
		}
		for i, email := range who {
			t.Run(fmt.Sprintf("%s by %s", name, email), func(t *testing.T) {
				b := s.browser(email)
				method := route.method
				if strings.HasSuffix(path, "/live") {
					method = "HEAD" // an answer without an end
				}
				var got reply
				if method == "POST" {
					got = b.post(path, sent[path])
				} else {
					got = b.do(b.request(method, path, nil))
				}
				if got.status != want[i] {
					t.Errorf("status %d, want %d", got.status, want[i])
				}
				h := got.header
				if h.Get("Content-Security-Policy") != policy || strings.Contains(policy, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" {
					t.Errorf("headers %v", h)
				}
				if cached := strings.HasPrefix(path, "/static/"); cached != strings.Contains(h.Get("Cache-Control"), "immutable") || cached == (h.Get("Cache-Control") == "no-store") {
					t.Errorf("Cache-Control %q", h.Get("Cache-Control"))
				}
				if got.status == 303 && email == "" && route.needs != anybody && !strings.HasPrefix(h.Get("Location"), "/signin") {
					t.Errorf("sent to %s", h.Get("Location"))
				}
			})
		}
	}
	for name := range access {
		if !served[name] {
			t.Errorf("the table has %s, which is not served", name)
		}
	}
}

// Whoever may not see an application learns nothing of whether it exists.
func TestAnothersApplicationLooksLikeNone(t *testing.T) {
	b := openSite(t, sample).browser("other@beta.example")
	others, none := b.get("/apps/acme/analytics"), b.get("/apps/none/analytics")
	if others.status != 404 || others.status != none.status || others.body != none.body {
		t.Errorf("%d %s\n%d %s", others.status, others.body, none.status, none.body)
	}
}

func TestMethods(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser("admin@acme.example")
	for path, allow := range map[string]string{"/apps": "GET, HEAD", "/signin": "GET, HEAD, POST", "/signout": "POST", "/v1/usage": "GET, HEAD"} {
		r := b.request("DELETE", path, nil)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		if got := b.do(r); got.status != 405 || got.header.Get("Allow") != allow {
			t.Errorf("%s: %d, Allow %q, want %q", path, got.status, got.header.Get("Allow"), allow)
		}
	}
	for _, path := range []string{"/nothing", "/apps/", "/apps//analytics", "/apps/acme/analytics/", "/apps/acme/analytics/x", "/static/none.css", "/apps/%zz/analytics"} {
		if path == "/apps/%zz/analytics" {
			continue // net/http itself refuses it
		}
		if got := b.get(path); got.status != 404 || !strings.Contains(got.body, "<h1>Not found</h1>") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

// A form that another site sends does nothing, whichever it is, and although an operator is signed in.
func TestCrossSiteForms(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	forms := s.sent() // which issues a token
	before := s.audited()
	for _, route := range routes() {
		if route.method != "POST" {
			continue
		}
		path := strings.ReplaceAll(route.path, "{id}", named(route.path))
		for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
			r := b.request("POST", path, strings.NewReader(forms[path].Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set(header[0], header[1])
			if got := b.do(r); got.status != 403 || !strings.Contains(got.body, "another web site") || got.header.Get("Set-Cookie") != "" {
				t.Errorf("%s by %v: %d %s", path, header, got.status, got.body)
			}
		}
	}
	if got := b.get("/apps"); got.status != 200 {
		t.Errorf("the session was ended from elsewhere: %d", got.status)
	}
	if after := s.audited(); after.Seq != before.Seq || len(s.called) != 0 || s.tested.Load() != 0 {
		t.Errorf("something was done from elsewhere: %+v, %d calls", after, len(s.called))
	}
}

// An application may be called anything: its pages are found under one escaped segment.
func TestOddIDs(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser("operator@example.com")
	for _, app := range s.snapshot.Applications() {
		page := b.get(s.portal.applicationPath(app.ID, "analytics"))
		if page.status != 200 || !strings.Contains(page.body, "<h1>"+displayName(app)+"</h1>") {
			t.Errorf("%q: %d", app.ID, page.status)
		}
	}
	list := b.get("/apps").document(t)
	for _, link := range all(list, having("href", "")) {
		href, _ := attribute(link, "href")
		if !strings.HasSuffix(href, "/analytics") {
			continue
		}
		// As a browser reads it: dots are steps.
		at, err := url.Parse(s.server.URL + "/apps")
		if err != nil {
			t.Fatal(err)
		}
		to, err := at.Parse(href)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.get(to.EscapedPath()); got.status != 200 {
			t.Errorf("the link %s leads to %d", href, got.status)
		}
	}
}

// matched is match of whole paths.
func matched(pattern, path string) (id string, ok bool) {
	return match(strings.Split(pattern, "/"), strings.Split(path, "/"))
}

func TestSegments(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{".", "..", "~.", "~..", "~~..", "~", "~a", "...", "a/b", "%2e", "%2F", " ", "+", "?", "#", ";", "é", "\"'<>", "a.b"} {
		s := segment(id)
		if other, twice := seen[s]; twice {
			t.Errorf("%q and %q are both %s", id, other, s)
		}
		seen[s] = id
		if slices.Contains([]string{".", ".."}, s) || strings.ContainsAny(s, "/?#") {
			t.Errorf("%q is %s, which is no segment", id, s)
		}
		if got, ok := matched("/apps/{id}/analytics", "/apps/"+s+"/analytics"); !ok || got != id {
			t.Errorf("%q comes back as %q, %v", id, got, ok)
		}
		// As mail tells it, and a browser asks for it.
		const base = "https://portal.example/p/"
		whole := AnalyticsURL(&url.URL{Scheme: "https", Host: "portal.example", Path: "/p/"}, id)
		asked, err := (&url.URL{}).Parse(whole)
		if err != nil {
			t.Fatal(err)
		}
		asked = asked.ResolveReference(&url.URL{})
		if got, ok := matched("/apps/{id}/analytics", "/"+strings.TrimPrefix(asked.String(), base)); !ok || got != id {
			t.Errorf("%q is told as %s, which is that of %q, %v", id, whole, got, ok)
		}
	}
}

func FuzzSegment(f *testing.F) {
	f.Add("~..", "..")
	f.Add("a/b", "a%2Fb")
	f.Fuzz(func(t *testing.T, a, b string) {
		if a == "" || b == "" {
			return
		}
		if got, ok := matched("/{id}", "/"+segment(a)); !ok || got != a {
			t.Errorf("%q comes back as %q, %v", a, got, ok)
		}
		if a != b && segment(a) == segment(b) {
			t.Errorf("%q and %q are both %s", a, b, segment(a))
		}
	})
}
