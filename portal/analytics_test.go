package portal

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/usage"
)

// called is what the sample's application acme has used.
func called() []usage.Counts {
	return []usage.Counts{
		{Endpoint: "posts.find", Used: 8120, LastCall: at.Add(-time.Second)},
		{Endpoint: "posts.create", Used: 400, Refused: 212, RefusedForMember: 12, LastCall: at.Add(-6 * time.Second)},
		{Endpoint: "*", Used: 1, LastCall: at.Add(-time.Hour)},
	}
}

func rowsOf(t *testing.T, r reply) (ids []string, rows map[string]map[string]string) {
	t.Helper()
	tables := all(r.document(t), having("id", "usage"))
	if len(tables) != 1 || tables[0].DataAtom != atom.Table {
		t.Fatalf("%d: %d tables #usage\n%s", r.status, len(tables), r.body)
	}
	rows = map[string]map[string]string{}
	for _, row := range all(tables[0], having("data-endpoint", "")) {
		id, _ := attribute(row, "data-endpoint")
		ids, rows[id] = append(ids, id), fields(row)
	}
	return ids, rows
}

func TestAnalytics(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser("viewer@acme.example")
	empty := b.get("/apps/acme/analytics")
	if ids, _ := rowsOf(t, empty); len(ids) != 0 {
		t.Errorf("before any call: %v", ids)
	}
	if none := all(empty.document(t), having("id", "no-usage")); len(none) != 1 || !strings.Contains(empty.body, "&#39;http://gateway.example/rest/posts&#39;") {
		t.Errorf("before any call the page does not say how to see a limit, and keep that for later: %s", empty.body)
	}

	s.counts.set("acme", called()...)
	page := b.get("/apps/acme/analytics")
	ids, rows := rowsOf(t, page)
	if !slices.Equal(ids, []string{"*", "posts.create", "posts.find"}) {
		t.Errorf("endpoints %v", ids)
	}
	want := map[string]map[string]string{
		"*": {"endpoint": "*", "application-used": "1", "application-limit": "1000", "application-remaining": "999", "share": "0.001", "member-limit": "100", "refused": "0", "last-call": "2026-11-23T17:47:27Z"},
		"posts.create": {
			"endpoint": "posts.create", "application-used": "400", "application-limit": "400", "application-remaining": "0", "share": "1", "member-limit": "50", "refused": "212",
			"last-call": "2026-11-23T18:47:21Z",
		},
		"posts.find": {
			"endpoint": "posts.find", "application-used": "8120", "application-limit": "10000", "application-remaining": "1880", "share": "0.812", "member-limit": "unlimited", "refused": "0",
			"last-call": "2026-11-23T18:47:26Z",
		},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	for _, text := range []string{
		"8,120", "◐ 81 % used", "■ At the limit until 00:00 UTC", "12 for a member", "200 application · 12 member", "8,521", "05:12:33", "at 00:00 UTC", "Monday, 23 November 2026", "development",
	} {
		if !strings.Contains(page.body, text) {
			t.Errorf("the page does not say %q", text)
		}
	}
	none := all(page.document(t), having("id", "no-usage"))
	if len(none) != 0 {
		t.Error("the page says that nothing was called")
	}
}

func TestSorting(t *testing.T) {
	s := openSite(t, sample)
	s.counts.set("acme", called()...)
	b := s.browser("viewer@acme.example")
	for sort, want := range map[string][]string{
		"":           {"*", "posts.create", "posts.find"},
		"nonsense":   {"*", "posts.create", "posts.find"},
		"-endpoint":  {"posts.find", "posts.create", "*"},
		"used":       {"*", "posts.create", "posts.find"},
		"-used":      {"posts.find", "posts.create", "*"},
		"remaining":  {"posts.create", "*", "posts.find"},
		"-share":     {"posts.create", "posts.find", "*"},
		"-limit":     {"posts.find", "*", "posts.create"},
		"-member":    {"posts.find", "*", "posts.create"},
		"-refused":   {"posts.create", "*", "posts.find"},
		"-last":      {"posts.find", "posts.create", "*"},
		"'><script>": {"*", "posts.create", "posts.find"},
	} {
		page := b.get("/apps/acme/analytics?" + url.Values{"sort": {sort}, "member": {"m-1"}}.Encode())
		if ids, _ := rowsOf(t, page); !slices.Equal(ids, want) {
			t.Errorf("%s: %v, want %v", sort, ids, want)
		}
		sorted := 0
		for _, head := range all(page.document(t), having("data-key", "")) {
			href, _ := attribute(head, "href")
			if _, ok := attribute(head.Parent, "aria-sort"); ok {
				sorted++
			}
			if !strings.Contains(href, "member=m-1") {
				t.Errorf("sorting forgets the member: %s", href)
			}
		}
		if sorted != 1 {
			t.Errorf("%s: %d columns are sorted by", sort, sorted)
		}
	}
}

func TestDownloads(t *testing.T) {
	s := openSite(t, sample)
	s.counts.set("acme", called()...)
	b := s.browser("viewer@acme.example")
	got := b.get("/apps/acme/usage.csv?sort=-used")
	lines, err := csv.NewReader(strings.NewReader(got.body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"endpoint", "match", "used", "limit", "remaining", "refused", "refused_for_member", "member_limit", "last_call"},
		{"posts.find", "GET /rest/posts", "8120", "10000", "1880", "0", "0", "unlimited", "2026-11-23T18:47:26Z"},
		{"posts.create", "POST /rest/posts", "400", "400", "0", "212", "12", "50", "2026-11-23T18:47:21Z"},
		{"*", "*", "1", "1000", "999", "0", "0", "100", "2026-11-23T17:47:27Z"},
	}
	if diff := cmp.Diff(want, lines); diff != "" || got.header.Get("Content-Disposition") != `attachment; filename="usage-2026-11-23.csv"` {
		t.Errorf("%v\n%s", got.header, diff)
	}
	var report usage.Report
	got = b.get("/apps/acme/usage.json?sort=-used")
	if err := json.Unmarshal([]byte(got.body), &report); err != nil || len(report.Endpoints) != 3 || report.Endpoints[0].ID != "posts.find" || report.SecondsToReset != 18753 {
		t.Errorf("%v: %s", err, got.body)
	}
}

func TestMember(t *testing.T) {
	s := openSite(t, sample)
	s.counts.set("acme", called()...)
	s.counts.members["m-1"] = map[string]usage.MemberCounts{"posts.create": {Used: 45, Refused: 3}}
	b := s.browser("viewer@acme.example")
	page := b.get("/apps/acme/analytics?member=m-1")
	tables := all(page.document(t), having("id", "member-usage"))
	if len(tables) != 1 {
		t.Fatalf("%d tables\n%s", len(tables), page.body)
	}
	rows := all(tables[0], having("data-endpoint", ""))
	if len(rows) != 1 {
		t.Fatalf("%d endpoints", len(rows))
	}
	want := map[string]string{"member-used": "45", "member-limit": "50", "member-remaining": "5", "member-refused": "3"}
	if diff := cmp.Diff(want, fields(rows[0])); diff != "" || !strings.Contains(page.body, "◐ 90 % used") {
		t.Errorf("-want +got\n%s", diff)
	}
	for member, says := range map[string]string{"m-2": "No calls today of member <b>m-2</b>", "": "1 to 256 bytes", "acme": "no member of itself", strings.Repeat("m", 257): "1 to 256 bytes", "a\x00": "1 to 256 bytes"} {
		page := b.get("/apps/acme/analytics?" + url.Values{"member": {member}}.Encode())
		if page.status != 200 || !strings.Contains(page.body, says) {
			t.Errorf("%q: %d, and not %q", member, page.status, says)
		}
	}
}

// Whatever somebody outside can name (an application, its name, an endpoint, a member, what is searched) is text, and nothing else.
func TestInjection(t *testing.T) {
	const evil = `"'><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}`
	quoted := strings.ReplaceAll(evil, `"`, `\"`)
	text := `
endpoints: [{id: "` + quoted + `", match: GET /x, when: {query: {"` + quoted + `": "*"}}, application: 10}, {id: get, match: "GET /y/{x}"}]
catch_all: {application: 1}
tiers: {"` + quoted + `": {}}
applications: [{id: "` + quoted + `", name: "` + quoted + ` name", tier: "` + quoted + `"}]
`
	s := openSite(t, text, func(o *Options) { o.Gateway = "http://gateway.example" })
	s.counts.set(evil, usage.Counts{Endpoint: evil, Used: 9, Refused: 1, LastCall: at})
	s.counts.members[evil+"m"] = map[string]usage.MemberCounts{evil: {Used: 3}}
	b := s.browser("operator@example.com")
	app := s.portal.applicationPath(evil, "")
	for path, status := range map[string]int{
		"/apps": 200, "/apps?" + url.Values{"q": {evil}}.Encode(): 200, "/apps?" + url.Values{"q": {evil + "none"}}.Encode(): 200,
		app + "analytics?" + url.Values{"member": {evil + "m"}, "sort": {evil}, "endpoint": {evil}}.Encode(): 200,
		app + "analytics?" + url.Values{"member": {evil + "none"}}.Encode():                                  200,
		app + "credentials": 200, app + "alerts": 200, app + "team": 200, app + "settings": 200,
		app + "call": 200, app + "call?" + url.Values{"endpoint": {evil}}.Encode(): 200, app + "call?" + url.Values{"endpoint": {evil + "none"}}.Encode(): 200,
		app + "call?" + url.Values{"endpoint": {"get"}, "p.x": {evil}}.Encode(): 200,
		"/signin?" + url.Values{"next": {"/" + evil}}.Encode():                  303, // an operator is signed in
		"/" + url.PathEscape(evil):                                              404,
	} {
		page := b.get(path)
		if page.status != status {
			t.Errorf("%s: %d, want %d", path, page.status, status)
		}
		for _, n := range all(page.document(t), func(*html.Node) bool { return true }) {
			src, _ := attribute(n, "src")
			if n.DataAtom == atom.Script && !strings.HasPrefix(src, "/static/") || n.DataAtom == atom.Img || n.DataAtom == atom.Style {
				t.Errorf("%s has a <%s %v>", path, n.Data, n.Attr)
			}
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.HasPrefix(strings.ToLower(strings.TrimSpace(a.Val)), "javascript:") {
					t.Errorf("%s has %s=%q", path, a.Key, a.Val)
				}
			}
		}
	}
	for _, sent := range []struct {
		page string
		form url.Values
	}{
		{"credentials", url.Values{"lifetime": {evil}}},
		{"credentials/revoke", url.Values{"token": {s.issued(evil, evil+"m").ID}}},
		{"call", url.Values{"endpoint": {evil}}},
		{"call", url.Values{"endpoint": {"get"}, "p.x": {evil + "/"}}},
		{"alerts", url.Values{"thresholds": {evil}, "mail": {evil}, "url": {evil}}},
		{"team", url.Values{"email": {evil}, "role": {evil}}},
		{"team/withdraw", url.Values{"email": {evil}}},
	} {
		if got := b.post(app+sent.page, sent.form); got.status == 303 || strings.Contains(got.body, "<script>alert") || strings.Contains(got.body, "<img") {
			t.Errorf("%s: %d %s", sent.page, got.status, got.body)
		}
	}
	if got := b.get(app + "credentials"); !strings.Contains(got.body, "Member &#34;&#39;&gt;&lt;script&gt;") {
		t.Errorf("a member's name is not shown as text: %s", got.body)
	}
	wrong := b.post("/signin", url.Values{"email": {evil}, "password": {"x"}})
	if strings.Contains(wrong.body, "<script>alert") {
		t.Errorf("%s", wrong.body)
	}
	event := string(s.portal.usageEvent(nil, &sight{report: s.report(evil)}))
	if strings.Contains(event, "<script>alert") || strings.Contains(strings.TrimSuffix(event, "\n\n"), "\n\n") {
		t.Errorf("an event: %s", event)
	}
}

func (s *site) report(application string) *usage.Report {
	s.Helper()
	r, err := s.portal.Usage.Today(s.Context(), application, "")
	if err != nil {
		s.Fatal(err)
	}
	return r
}

func TestApps(t *testing.T) {
	s := openSite(t, sample)
	s.counts.set("acme", called()...)
	names := func(r reply) (ids []string) {
		for _, row := range all(r.document(t), having("data-application", "")) {
			id, _ := attribute(row, "data-application")
			ids = append(ids, id)
		}
		return ids
	}
	own := s.browser("viewer@acme.example").get("/apps")
	if got := names(own); !slices.Equal(got, []string{"acme"}) || !strings.Contains(own.body, "8,521") || !strings.Contains(own.body, "■ At the limit until 00:00 UTC") {
		t.Errorf("%v\n%s", got, own.body)
	}
	operator := s.browser("operator@example.com")
	if got := names(operator.get("/apps")); len(got) != 4 {
		t.Errorf("an operator sees %v", got)
	}
	if got := names(operator.get("/apps?q=SCHED")); !slices.Equal(got, []string{"acme"}) {
		t.Errorf("searching finds %v", got)
	}
	if got := operator.get("/apps?q=nothing"); !strings.Contains(got.body, "No application matches") {
		t.Errorf("searching in vain: %s", got.body)
	}
	if err := s.registry.Withdraw(t.Context(), "viewer@acme.example", "acme", ""); err != nil {
		t.Fatal(err)
	}
	if got := s.browser("viewer@acme.example").get("/apps"); !strings.Contains(got.body, "No applications yet") {
		t.Errorf("without a grant: %s", got.body)
	}
	s.counts.fail(fault.Wrap(fault.Unavailable, errors.New("disk"), "The ledger is down."))
	if got := operator.get("/apps"); got.status != 200 || len(names(got)) != 4 || !strings.Contains(got.body, "cannot be read at the moment") {
		t.Errorf("while the ledger is down: %d", got.status)
	}
	if got := operator.get("/apps/acme/analytics"); got.status != 503 || strings.Contains(got.body, "disk") || !strings.Contains(got.body, "Try again in a minute") {
		t.Errorf("while the ledger is down: %d %s", got.status, got.body)
	}
}

func TestManyApplications(t *testing.T) {
	var text strings.Builder
	text.WriteString("catch_all: {application: 1}\napplications:\n")
	for i := range 120 {
		text.WriteString("  - {id: app-" + group(int64(1000+i)) + "}\n")
	}
	s := openSite(t, strings.ReplaceAll(text.String(), ",", ""))
	b := s.browser("operator@example.com")
	for page, want := range map[string]int{"": 50, "2": 50, "3": 20, "4": 20, "-1": 50, "x": 50} {
		got := b.get("/apps?page=" + page)
		if rows := all(got.document(t), having("data-application", "")); len(rows) != want || !strings.Contains(got.body, `type="search"`) {
			t.Errorf("page %s has %d", page, len(rows))
		}
	}
}

func TestOwnUsage(t *testing.T) {
	s := openSite(t, sample)
	s.counts.set("acme", called()...)
	s.counts.members["m-1"] = map[string]usage.MemberCounts{"posts.create": {Used: 45, Refused: 3}}
	b := s.browser("")
	ask := func(path string) reply {
		r := b.request("GET", path, nil)
		r.Header.Set("Authorization", "Bearer acme")
		return b.do(r)
	}
	got := ask("/v1/usage?member=m-1")
	if got.status != 200 || got.header.Get("Content-Type") != "application/json" || got.header.Get("Cache-Control") != "no-store" ||
		!strings.Contains(got.body, `"member":{"id":"m-1","limit":50,"used":45,"remaining":5,"refused":3}`) {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
	if got := b.get("/v1/usage"); got.status != 401 || got.header.Get("WWW-Authenticate") == "" || got.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("without a token: %d %v", got.status, got.header)
	}
	for i := range 11 { // ten a second in all; the clock stands still
		if got = ask("/v1/usage"); got.status != 200 && i < 9 {
			t.Fatalf("reading %d: %d %s", i+2, got.status, got.body)
		}
	}
	if got.status != 429 || !strings.Contains(got.body, "#temporary-reduced-capacity") {
		t.Errorf("too often: %d %s", got.status, got.body)
	}
	s2 := openSite(t, sample)
	r := s2.browser("admin@acme.example").request("GET", "/v1/usage", nil)
	if got := s2.browser("").do(r); got.status != 401 {
		t.Errorf("a session is no token: %d", got.status)
	}
}

func TestMeter(t *testing.T) {
	n := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		limit *int64
		used  int64
		width int
		class string
		says  string
	}{
		{nil, 5, 0, calm, "No limit"},
		{n(0), 0, 100, wall, "■ No access"},
		{n(100), 0, 0, calm, "0 % used"},
		{n(100), 74, 74, calm, "74 % used"},
		{n(100), 75, 75, near, "◐ 75 % used"},
		{n(1000), 999, 99, near, "◐ 99 % used"},
		{n(999_999_999_999_999), 999_999_999_999_998, 99, near, "◐ 99 % used"},
		{n(15_000_000), 3860, 1, calm, "Less than 1 % used"},
		{n(100), 100, 100, wall, "■ At the limit until 00:00 UTC"},
		{n(50), 100, 100, wall, "■ At the limit until 00:00 UTC"},
	} {
		m := newMeter("e", c.limit, c.used, at.Truncate(24*time.Hour))
		if m.Width != c.width || m.Class != c.class || m.Says != c.says {
			t.Errorf("%v of %v: %+v", c.used, c.limit, m)
		}
	}
}

func TestGroup(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 12480: "12,480", 999_999_999_999_999: "999,999,999,999,999", -1234: "-1,234"} {
		if got := group(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}

func TestCharts(t *testing.T) {
	s := openSite(t, sample)
	s.counts.set("acme", called()...)
	day := s.counts.Day()
	for i, endpoint := range []string{"", "posts.find"} {
		err := s.registry.AddHistory(t.Context(), usage.HistoryBatch{Writer: "w" + endpoint, Number: 1, Rows: []usage.HistoryRow{
			{Application: "acme", Endpoint: endpoint, Bucket: usage.Bucket{Day: day.Date, Start: day.Start.Add(7 * time.Hour), Calls: usage.Calls{Admitted: 1200 - int64(i)}}},
			{Application: "acme", Endpoint: endpoint, Bucket: usage.Bucket{Day: day.Date, Start: day.Start.Add(17 * time.Hour), Calls: usage.Calls{Admitted: 800, Refused: 212}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	b := s.browser("viewer@acme.example")
	page := b.get("/apps/acme/analytics")
	for _, text := range []string{"07:00: 1,200 calls, 0 refused", "17:00: 800 calls, 212 refused", `<td>07:00</td><td class="n">1,200</td>`, "Monday, 23 November 2026: 2,000 calls, 212 refused", "url(#hatch-hours-wide)"} {
		if !strings.Contains(page.body, text) {
			t.Errorf("the page does not have %q", text)
		}
	}
	if page := b.get("/apps/acme/analytics?endpoint=posts.find"); !strings.Contains(page.body, "07:00: 1,199 calls") {
		t.Error("the chart is not of the endpoint")
	}
	for _, svg := range all(page.document(t), func(n *html.Node) bool { return having("role", "img")(n) }) {
		if says, _ := attribute(svg, "aria-label"); !strings.HasPrefix(says, "Calls to all endpoints by ") {
			t.Errorf("a chart says %q", says)
		}
	}
}

func TestGridStep(t *testing.T) {
	for most, want := range map[int64]int64{0: 1, 3: 1, 4: 2, 6: 2, 7: 5, 15: 5, 16: 10, 1500: 500, 1501: 1000, 999_999_999_999_999: 500_000_000_000_000} {
		if got := gridStep(most); got != want {
			t.Errorf("up to %d calls: a line each %d, want %d", most, got, want)
		}
	}
}
