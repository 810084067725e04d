package adminapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/sqlregistry"
	"github.com/perdiem/perdiem/usage"
)

// host is what an API needs around it: a registry, a key, and counters that say what the test told them.
type host struct {
	t        *testing.T
	registry *sqlregistry.Registry
	settings *failing
	api      http.Handler
	key      string
	keyFile  string

	changes     int   // how often a change was taken up
	unchanged   error // why the last one was not
	revocations int   // how often a revocation was
	revoked     error // why the last one was not
	mayApply    error // what applying is answered with
	unhashed    error // what hashing a password is
	counts      []usage.Counts
	members     map[string]usage.MemberCounts // by id, at any endpoint
	near        *usage.NearMembers
	decided     []usage.Decided // that the history has not been told of
	backup      func(context.Context) (func(io.Writer) error, error)
}

func newHost(t *testing.T) *host {
	t.Helper()
	folder := t.TempDir()
	now := func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }
	r, err := sqlregistry.OpenSQLite(t.Context(), filepath.Join(folder, "registry.db"), sqlregistry.Options{Now: now})
	check(t, err)
	t.Cleanup(func() { check(t, r.Close()) })
	h := &host{t: t, registry: r, settings: &failing{Settings: r}, keyFile: filepath.Join(folder, "operator.key")}
	key, err := adminapi.OpenKey(t.Context(), h.settings, h.keyFile)
	check(t, err)
	h.key, err = adminapi.ReadKeyFile(h.keyFile)
	check(t, err)
	snapshot := func() *catalog.Snapshot {
		c, version, err := r.Catalog(context.Background())
		check(t, err)
		s, err := catalog.NewSnapshot(c, catalog.Options{Version: version})
		check(t, err)
		return s
	}
	log := slog.New(slog.DiscardHandler)
	h.near, err = usage.OpenNear(t.Context(), usage.NearOptions{Store: r, Day: h.Day, Log: log, Members: h.nearMembers})
	check(t, err)
	reader, err := usage.New(usage.Options{Catalog: snapshot, Counters: h, Now: now, Near: h.near})
	check(t, err)
	history, err := usage.NewHistory(usage.HistoryOptions{Store: r, Day: h.Day, Decided: h.tellDecided, DecidedOf: h.tellDecidedOf, Days: 400, Now: now, Log: log})
	check(t, err)
	h.api, err = adminapi.New(adminapi.Options{
		Registry: r, Usage: reader, History: history, Alerts: r, TestAlert: h.testAlert, Key: key, Catalog: snapshot, NewToken: identity.NewTokenKey().NewToken, TakesTokens: true, HashPassword: h.hashPassword,
		Changed:  func(context.Context) error { h.changes++; return h.unchanged },
		Revoked:  func(context.Context) error { h.revocations++; return h.revoked },
		MayApply: func([]byte) error { return h.mayApply },
		Backup:   func(ctx context.Context) (func(io.Writer) error, error) { return h.backup(ctx) },
		Status: func() adminapi.Status {
			return adminapi.Status{Version: "test", Ready: true, Day: h.Day().Date.String(), ResetsAt: h.Day().End, Ledger: adminapi.Ledger{Durability: "disk", WhenDown: "refuse", DiskBytes: 4096, Accounts: 2}}
		},
		Protection: func() adminapi.Protection {
			return adminapi.Protection{Enabled: true, Limiting: true, Limit: 12, InFlight: 11, Admitted: 100, Refused: 7, Latency: 0.75, UsualLatency: 0.005, Min: 1, Max: 10000}
		},
		Fault: answer.Fault, Problem: answer.Problem, Now: now, Log: log,
	})
	check(t, err)
	return h
}

// testAlert stands for the real thing, which has a message for each channel.
func (h *host) testAlert(ctx context.Context, application string) (int, error) {
	s, err := h.registry.AlertSettings(ctx, application)
	return len(s.Channels()), err
}

// hashPassword stands for the real thing, which takes long, and by whose hash a test does not see of what it is.
func (h *host) hashPassword(_ context.Context, password string) (string, error) {
	if err := identity.CheckPassword(password); err != nil {
		return "", err
	}
	return "$ hash of " + password, h.unhashed
}

// actor names the key in the audit.
func (h *host) actor() string {
	return registry.KeyName(fmt.Sprintf("%x", sha256.Sum256([]byte(h.key))))
}

func (h *host) Day() quota.Day {
	start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	return quota.Day{Date: quota.DateOf(start), Start: start, End: start.AddDate(0, 0, 1), Zone: "UTC"}
}

func (h *host) Application(context.Context, string) ([]usage.Counts, error) { return h.counts, nil }

func (h *host) Member(_ context.Context, _, _ string, endpoints []string) ([]usage.MemberCounts, error) {
	return make([]usage.MemberCounts, len(endpoints)), nil
}

func (h *host) nearMembers(_ context.Context, _, _ string, members []string) ([]usage.MemberCounts, error) {
	counts := make([]usage.MemberCounts, len(members))
	for i, id := range members {
		counts[i] = h.members[id]
	}
	return counts, nil
}

func (h *host) tellDecided(func(usage.Decided) bool) (all bool) { return true }

func (h *host) tellDecidedOf(application string, tell func(usage.Decided)) {
	h.decided = slices.DeleteFunc(h.decided, func(d usage.Decided) bool {
		if d.Application != application {
			return false
		}
		tell(d)
		return true
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ask sends a request with the operator's key. JSON is sent as such, and everything else as it is.
func (h *host) ask(method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+h.key)
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, r)
	return w
}

// want fails the test unless the answer has the status; out, unless nil, is filled from its body.
func (h *host) want(status int, w *httptest.ResponseRecorder, out any) {
	h.t.Helper()
	if w.Code != status {
		h.t.Fatalf("status %d instead of %d: %s", w.Code, status, w.Body)
	}
	if out != nil {
		check(h.t, json.Unmarshal(w.Body.Bytes(), out))
	}
}

// wantProblem fails the test unless the answer is a problem of the form that all of perdiem's have.
func (h *host) wantProblem(status int, code string, w *httptest.ResponseRecorder) string {
	h.t.Helper()
	var p struct {
		Type, Title, Detail, Code, Message string
		Status                             int
	}
	h.want(status, w, &p)
	if p.Type == "" || p.Title == "" || p.Detail == "" || p.Message != p.Detail || p.Code != code || p.Status != status {
		h.t.Errorf("not the form of a problem: %s", w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		h.t.Errorf("Content-Type %q", got)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		h.t.Errorf("Cache-Control %q", got)
	}
	return p.Detail
}

const catalogYAML = `
endpoints: [{id: posts.create, match: POST /rest/posts, member: 150}]
catch_all: {application: 1000}
applications: [{id: acme}, {id: .., name: strange}, {id: a/b}]
`

func (h *host) apply() {
	h.t.Helper()
	h.want(http.StatusOK, h.ask("PUT", "/admin/v1/catalog", catalogYAML), nil)
}

func TestKeyIsAskedFor(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct {
		name    string
		target  string
		headers []string
		status  int
	}{
		{"none", "/admin/v1/status", nil, 401},
		{"wrong", "/admin/v1/status", []string{"Bearer " + strings.Repeat("x", 47)}, 401},
		{"empty", "/admin/v1/status", []string{"Bearer "}, 401},
		{"another scheme", "/admin/v1/status", []string{"Basic " + h.key}, 401},
		{"bare", "/admin/v1/status", []string{h.key}, 401},
		{"given twice", "/admin/v1/status", []string{"Bearer " + h.key, "Bearer " + h.key}, 401},
		{"huge", "/admin/v1/status", []string{"Bearer " + strings.Repeat("x", 100<<10)}, 401},
		{"right", "/admin/v1/status", []string{"Bearer " + h.key}, 200},
		{"right, scheme in lower case", "/admin/v1/status", []string{"bearer " + h.key}, 200},
		{"unknown path, none", "/admin/v1/nothing", nil, 401},
		{"unknown path, right", "/admin/v1/nothing", []string{"Bearer " + h.key}, 404},
		{"outside, none", "/", nil, 401},
		{"another spelling, none", "//admin/v1/status", nil, 401},
		{"another spelling, none", "/x/../admin/v1/status", nil, 401},
		{"the description, none", "/openapi.json", nil, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			r := httptest.NewRequest("GET", c.target, nil)
			r.Header["Authorization"] = c.headers
			w := httptest.NewRecorder()
			h.api.ServeHTTP(w, r)
			switch c.status {
			case 401:
				h.wantProblem(401, "UNAUTHORIZED", w)
				if w.Header().Get("WWW-Authenticate") == "" {
					t.Error("no WWW-Authenticate")
				}
			case 404:
				h.wantProblem(404, "NOT_FOUND", w)
			default:
				h.want(c.status, w, nil)
			}
		})
	}
}

func TestBadRequests(t *testing.T) {
	h := newHost(t)
	h.apply()
	for _, c := range []struct {
		name, method, target, body string
	}{
		{"no JSON", "POST", "/admin/v1/tokens", `{`},
		{"another type", "POST", "/admin/v1/tokens", `{"application": 1}`},
		{"an unknown field", "POST", "/admin/v1/tokens", `{"application": "acme", "membr": "m"}`},
		{"no application", "POST", "/admin/v1/tokens", `{}`},
		{"an id of 1 KiB", "POST", "/admin/v1/tokens", `{"application": "` + strings.Repeat("a", 1<<10) + `"}`},
		{"a member with NUL", "POST", "/admin/v1/tokens", `{"application": "acme", "member": "a\u0000"}`},
		{"a member with a newline", "POST", "/admin/v1/tokens", `{"application": "acme", "member": "a\nb"}`},
		{"a member of 1 KiB", "POST", "/admin/v1/tokens", `{"application": "acme", "member": "` + strings.Repeat("m", 1<<10) + `"}`},
		{"a ttl that is none", "POST", "/admin/v1/tokens", `{"application": "acme", "ttl": "soon"}`},
		{"own tokens of all", "GET", "/admin/v1/tokens?application=acme&own=true", ""},
		{"tokens that hold by a hash", "GET", "/admin/v1/tokens?holding=true&hash=" + strings.Repeat("0", 64), ""},
		{"a ttl of nothing", "POST", "/admin/v1/tokens", `{"application": "acme", "ttl": "0s"}`},
		{"a ttl that has passed", "POST", "/admin/v1/tokens", `{"application": "acme", "ttl": "-1h"}`},
		{"no limits", "PUT", "/admin/v1/overrides", `{"application": "acme", "endpoint": "*", "limits": {}}`},
		{"a limit of -1", "PUT", "/admin/v1/overrides", `{"application": "acme", "endpoint": "*", "limits": {"member": -1}}`},
		{"a limit of 1.5", "PUT", "/admin/v1/overrides", `{"application": "acme", "endpoint": "*", "limits": {"member": 1.5}}`},
		{"a limit of 1e3", "PUT", "/admin/v1/overrides", `{"application": "acme", "endpoint": "*", "limits": {"member": 1e3}}`},
		{"a limit of 2^63", "PUT", "/admin/v1/overrides", `{"application": "acme", "endpoint": "*", "limits": {"member": 9223372036854775808}}`},
		{"a limit in words", "PUT", "/admin/v1/overrides", `{"application": "acme", "endpoint": "*", "limits": {"member": "many"}}`},
		{"a page of none", "GET", "/admin/v1/tokens?application=acme&limit=0", ""},
		{"a page of 1001", "GET", "/admin/v1/tokens?application=acme&limit=1001", ""},
		{"a page before the first", "GET", "/admin/v1/tokens?application=acme&after=-1", ""},
		{"no query", "GET", "/admin/v1/usage", ""},
		{"usage of a member with a newline", "GET", "/admin/v1/usage?application=acme&member=a%0ab", ""},
		{"usage of a member that is not UTF-8", "GET", "/admin/v1/usage?application=acme&member=%ff", ""},
		{"usage of a member of 257 bytes in fewer letters", "GET", "/admin/v1/usage?application=acme&member=m" + strings.Repeat("%c3%bc", 128), ""},
		{"an unknown parameter", "GET", "/admin/v1/usage?application=acme&membr=m", ""},
		{"no YAML", "PUT", "/admin/v1/catalog", "{"},
		{"an unreadable flag", "PUT", "/admin/v1/catalog?dryRun=perhaps", catalogYAML},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			h.wantProblem(400, "BAD_REQUEST", h.ask(c.method, c.target, c.body))
		})
	}
	if h.changes != 1 {
		t.Errorf("%d changes instead of the one that was", h.changes)
	}
}

func TestTooLarge(t *testing.T) {
	h := newHost(t)
	h.apply()
	for _, c := range []struct{ method, target, body string }{
		{"POST", "/admin/v1/tokens", `{"application": "` + strings.Repeat("a", 2<<20) + `"}`},
		{"PUT", "/admin/v1/catalog", "#" + strings.Repeat("x", 17<<20)},
		{"PUT", "/admin/v1/tiers", `{"name": "` + strings.Repeat("a", 5<<20) + `"}`},
	} {
		if detail := h.wantProblem(413, "CONTENT_TOO_LARGE", h.ask(c.method, c.target, c.body)); !strings.Contains(detail, "limit=") {
			t.Errorf("the bound is not told: %s", detail)
		}
	}
	h.want(200, h.ask("PUT", "/admin/v1/catalog", catalogYAML+"#"+strings.Repeat("x", 16<<20-len(catalogYAML)-1)), nil)
}

func TestNotFound(t *testing.T) {
	h := newHost(t)
	h.apply()
	for _, c := range []struct{ method, target, body string }{
		{"POST", "/admin/v1/tokens", `{"application": "nobody"}`},
		{"DELETE", "/admin/v1/tokens?id=tok_0", ""},
		{"GET", "/admin/v1/tokens?application=nobody", ""},
		{"GET", "/admin/v1/usage?application=nobody", ""},
		{"GET", "/admin/v1/usage?application=%ff%00", ""},
		{"PUT", "/admin/v1/overrides", `{"application": "nobody", "endpoint": "*", "limits": {"member": 1}}`},
		{"PUT", "/admin/v1/overrides", `{"application": "acme", "endpoint": "none", "limits": {"member": 1}}`},
		{"DELETE", "/admin/v1/overrides?application=acme&endpoint=*", ""},
		{"GET", "/admin/v1/catalogs", ""},
		{"POST", "/admin/v1/", ""},
	} {
		h.wantProblem(404, "NOT_FOUND", h.ask(c.method, c.target, c.body))
	}
}

func TestWrongMethod(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct{ method, target, allow string }{
		{"POST", "/admin/v1/catalog", "GET, HEAD, PUT"},
		{"GET", "/admin/v1/backup", "POST"},
		{"POST", "/admin/v1/status", "GET, HEAD"},
		{"PATCH", "/admin/v1/tokens", "DELETE, GET, HEAD, POST"},
		{"OPTIONS", "/admin/v1/overrides", "DELETE, GET, HEAD, PUT"},
		{"post", "/admin/v1/tokens", "DELETE, GET, HEAD, POST"},
		{"POST", "/openapi.json", "GET, HEAD"},
	} {
		w := h.ask(c.method, c.target, "")
		h.wantProblem(405, "METHOD_NOT_ALLOWED", w)
		if got := w.Header().Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow %q instead of %q", c.method, c.target, got, c.allow)
		}
	}
}

func TestApply(t *testing.T) {
	h := newHost(t)
	var got struct{ Changes []string }
	h.want(200, h.ask("PUT", "/admin/v1/catalog?dryRun=true", catalogYAML), &got)
	if len(got.Changes) == 0 || h.changes != 0 {
		t.Fatalf("a dry run told %q and made %d changes", got.Changes, h.changes)
	}
	if v, err := h.registry.Version(t.Context()); err != nil || v != 0 {
		t.Fatalf("a dry run left version %d, %v", v, err)
	}
	h.want(200, h.ask("PUT", "/admin/v1/catalog", catalogYAML), &got)
	if !slices.Contains(got.Changes, "+ endpoint posts.create") || h.changes != 1 {
		t.Fatalf("applying told %q and made %d changes", got.Changes, h.changes)
	}
	got.Changes = nil
	h.want(200, h.ask("PUT", "/admin/v1/catalog", catalogYAML), &got)
	if got.Changes == nil || len(got.Changes) != 0 {
		t.Fatalf("applying the same again told %q", got.Changes)
	}

	detail := h.wantProblem(400, "BAD_REQUEST", h.ask("PUT", "/admin/v1/catalog?file=my.yaml", "endpoints: 1\napplications: 2"))
	if lines := strings.Split(detail, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[1], "my.yaml:1:12: ") {
		t.Errorf("three problems were told as %q", lines)
	}

	h.mayApply = fault.New(fault.Conflict, "Another file holds.")
	h.wantProblem(409, "CONFLICT", h.ask("PUT", "/admin/v1/catalog", catalogYAML))
	h.want(200, h.ask("PUT", "/admin/v1/catalog?dryRun=true", catalogYAML), nil)
}

func TestTokens(t *testing.T) {
	h := newHost(t)
	h.apply()
	for _, application := range []string{"acme", "..", "a/b"} {
		for _, member := range []string{"", "m", "a/b:c", "..", "ü", strings.Repeat("m", 256)} {
			body, err := json.Marshal(adminapi.TokenRequest{Application: application, Member: member, TTL: "24h"})
			check(t, err)
			var issued adminapi.IssuedToken
			h.want(201, h.ask("POST", "/admin/v1/tokens", string(body)), &issued)
			if issued.Application != application || issued.Member != member && application != member || issued.Expires == nil {
				t.Errorf("asked for a token of %q for %q, got %+v", application, member, issued)
			}
		}
		var list struct{ Tokens []adminapi.Token }
		target := "/admin/v1/tokens?application=" + url.QueryEscape(application)
		h.want(200, h.ask("GET", target, ""), &list)
		if len(list.Tokens) != 6 {
			t.Fatalf("%q has %d tokens", application, len(list.Tokens))
		}
		h.want(204, h.ask("DELETE", "/admin/v1/tokens?id="+list.Tokens[0].ID, ""), nil)
		h.revocations, h.revoked = 0, errors.New("the registry is away")
		h.want(503, h.ask("DELETE", "/admin/v1/tokens?id="+list.Tokens[0].ID, ""), nil)
		h.revoked = nil
		h.want(204, h.ask("DELETE", "/admin/v1/tokens?id="+list.Tokens[0].ID, ""), nil)
		if h.revocations != 2 {
			t.Errorf("%d revocations were taken up instead of 2", h.revocations)
		}
		h.want(200, h.ask("GET", target, ""), &list)
		if list.Tokens[0].Revoked == nil || list.Tokens[1].Revoked != nil {
			t.Errorf("the first of these is to be revoked: %+v", list.Tokens[:2])
		}
		var paged []adminapi.Token
		for page := (adminapi.TokenPage{Next: -1}); page.Next != 0; paged = append(paged, page.Tokens...) {
			next := max(0, page.Next)
			page = adminapi.TokenPage{}
			h.want(200, h.ask("GET", target+"&limit=4&after="+strconv.FormatInt(next, 10), ""), &page)
		}
		if diff := cmp.Diff(list.Tokens, paged); diff != "" {
			t.Errorf("page by page: -whole +paged\n%s", diff)
		}
		holding := slices.Clone(list.Tokens[1:])
		slices.Reverse(holding)
		paged = nil
		for page := (adminapi.TokenPage{Next: -1}); page.Next != 0; paged = append(paged, page.Tokens...) {
			next := max(0, page.Next)
			page = adminapi.TokenPage{}
			h.want(200, h.ask("GET", target+"&holding=true&limit=2&after="+strconv.FormatInt(next, 10), ""), &page)
		}
		if diff := cmp.Diff(holding, paged); diff != "" {
			t.Errorf("those that hold, page by page: -want +paged\n%s", diff)
		}
		h.want(201, h.ask("POST", "/admin/v1/tokens", fmt.Sprintf(`{"application": %q}`, application)), nil)
		h.want(200, h.ask("GET", target+"&holding=true&own=true&limit=1", ""), &list)
		if len(list.Tokens) != 1 || list.Tokens[0].Member != "" || list.Tokens[0].Used != nil {
			t.Fatalf("the newest of the application's own: %+v", list.Tokens)
		}
		used := registry.TokenUse{ID: list.Tokens[0].ID, At: h.Day().Start.Add(time.Hour)}
		check(t, h.registry.UseTokens(t.Context(), []registry.TokenUse{used}))
		h.want(200, h.ask("GET", target+"&holding=true&own=true&limit=1", ""), &list)
		if got := list.Tokens[0]; got.ID != used.ID || got.Used == nil || !got.Used.Equal(used.At) {
			t.Errorf("it was used at %s: %+v", used.At, got)
		}
	}
}

func TestOverrides(t *testing.T) {
	h := newHost(t)
	h.apply()
	h.want(204, h.ask("PUT", "/admin/v1/overrides", `{"application": "acme", "endpoint": "posts.create", "limits": {"member": 7}}`), nil)
	h.want(204, h.ask("PUT", "/admin/v1/overrides", `{"application": "acme", "endpoint": "posts.create", "limits": {"application": "unlimited"}}`), nil)
	if h.changes != 3 {
		t.Errorf("%d changes were taken up instead of 3", h.changes)
	}
	c, _, err := h.registry.Catalog(t.Context())
	check(t, err)
	i := slices.IndexFunc(c.Applications, func(a catalog.Application) bool { return a.ID == "acme" })
	set := c.Applications[i].Overrides["posts.create"]
	if set.Member == nil || *set.Member != 7 || set.Application == nil || *set.Application != quota.Unlimited {
		t.Errorf("the override is %+v", set)
	}
	h.want(204, h.ask("DELETE", "/admin/v1/overrides?application=acme&endpoint=posts.create", ""), nil)
	if h.changes != 4 {
		t.Errorf("%d changes were taken up instead of 4", h.changes)
	}
}

func TestUsage(t *testing.T) {
	h := newHost(t)
	h.apply()
	h.counts = []usage.Counts{{Endpoint: "posts.create", Used: 3, LastCall: h.Day().Start}}
	var r usage.Report
	h.want(200, h.ask("GET", "/admin/v1/usage?application=acme&member=m%26n", ""), &r)
	if len(r.Endpoints) != 1 || r.Endpoints[0].Application.Used != 3 || r.Endpoints[0].Member.ID != "m&n" {
		t.Errorf("got %+v", r)
	}
	r = usage.Report{}
	h.want(200, h.ask("GET", "/admin/v1/usage?application=acme&member=acme", ""), &r)
	if len(r.Endpoints) != 1 || r.Endpoints[0].Member.ID != "" {
		t.Errorf("the application as a member of itself: %+v", r)
	}
}

func TestStatus(t *testing.T) {
	h := newHost(t)
	var s adminapi.Status
	h.want(200, h.ask("GET", "/admin/v1/status", ""), &s)
	if s.Version != "test" || !s.Ready || s.Ledger != (adminapi.Ledger{Durability: "disk", WhenDown: "refuse", DiskBytes: 4096, Accounts: 2}) {
		t.Errorf("got %+v", s)
	}
}

func TestRegistryDown(t *testing.T) {
	h := newHost(t)
	h.apply()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", "/admin/v1/tokens?application=acme", nil)
	r.Header.Set("Authorization", "Bearer "+h.key)
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, r)
	h.wantProblem(503, "SERVICE_UNAVAILABLE", w)
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// TestDescription checks that the description is OpenAPI 3.1, and that each operation tells its errors in the one form.
func TestDescription(t *testing.T) {
	h := newHost(t)
	var d struct {
		OpenAPI  string `json:"openapi"`
		Security []map[string][]string
		Paths    map[string]map[string]struct {
			OperationID string
			Responses   map[string]struct{ Content map[string]any }
		}
	}
	h.want(200, h.ask("GET", "/openapi.json", ""), &d)
	if d.OpenAPI != "3.1.0" || len(d.Security) != 1 {
		t.Errorf("OpenAPI %q, security %v", d.OpenAPI, d.Security)
	}
	operations := 0
	for path, methods := range d.Paths {
		for method, op := range methods {
			operations++
			if op.OperationID == "" {
				t.Errorf("%s %s has no id", method, path)
			}
			for _, status := range []string{"400", "401", "500", "503"} {
				if _, ok := op.Responses[status].Content["application/problem+json"]; !ok {
					t.Errorf("%s %s does not tell of a %s", method, path, status)
				}
			}
			if _, any := op.Responses["default"]; any {
				t.Errorf("%s %s may answer anything", method, path)
			}
		}
	}
	if operations != 45 {
		t.Errorf("%d operations are described", operations)
	}
}

func TestOptionsAreRequired(t *testing.T) {
	if _, err := adminapi.New(adminapi.Options{}); err == nil {
		t.Error("no error")
	}
}

func FuzzLimit(f *testing.F) {
	for _, seed := range []string{"0", "1", "-1", "1.5", "1e3", `"unlimited"`, `"5"`, "null", "999999999999999", "1000000000000000"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var l adminapi.Limit
		if err := json.Unmarshal(data, &l); err != nil {
			return
		}
		if l < 0 || quota.Limit(l) > quota.MaxLimit && quota.Limit(l) != quota.Unlimited {
			t.Fatalf("%s is read as %d", data, l)
		}
		written, err := json.Marshal(l)
		check(t, err)
		if string(bytes.TrimSpace(data)) != "null" && !bytes.Equal(bytes.TrimSpace(data), written) {
			var again adminapi.Limit
			if err := json.Unmarshal(written, &again); err != nil || again != l {
				t.Fatalf("%s is written as %s", data, written)
			}
		}
	})
}

func TestProtection(t *testing.T) {
	h := newHost(t)
	var got map[string]any
	h.want(200, h.ask("GET", "/admin/v1/protection", ""), &got)
	for name, value := range map[string]any{
		"enabled": true, "limiting": true, "limit": 12.0, "inFlight": 11.0, "admitted": 100.0, "refused": 7.0,
		"latency": 0.75, "usualLatency": 0.005, "minConcurrency": 1.0, "maxConcurrency": 10000.0,
	} {
		if got[name] != value {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
	}
	var description struct {
		Paths map[string]map[string]struct{ OperationID string } `json:"paths"`
	}
	h.want(200, h.ask("GET", "/openapi.json", ""), &description)
	if got := description.Paths["/admin/v1/protection"]["get"].OperationID; got != "get-protection" {
		t.Errorf("described as %q", got)
	}
}
