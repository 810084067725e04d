package gateway_test

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/sqlregistry"
	"github.com/perdiem/perdiem/usage"
)

func TestUsage(t *testing.T) {
	s := start(t)
	if got := s.do("GET", "/perdiem/usage", ""); got.StatusCode != 200 || !strings.Contains(got.body, `"endpoints":[]`) {
		t.Fatalf("before any call: %d %s", got.StatusCode, got.body)
	}
	for range 3 {
		s.do("POST", "/rest/posts", "m-1")
	}
	s.do("GET", "/unmetered?", "")
	got := s.do("GET", "/perdiem/usage?member=m-1", "")
	if got.StatusCode != 200 || got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("RateLimit") != "" {
		t.Fatalf("%d %v %s", got.StatusCode, got.Header, got.body)
	}
	var report struct {
		Application, Day string
		SecondsToReset   int64
		Endpoints        []struct {
			ID, Match           string
			Application, Member map[string]any
		}
	}
	must(t, json.Unmarshal([]byte(got.body), &report))
	if report.Application != "acme" || report.Day != s.book.Day().Date.String() || report.SecondsToReset < 1 || report.SecondsToReset > 86400 {
		t.Errorf("%s", got.body)
	}
	if len(report.Endpoints) != 2 || report.Endpoints[0].ID != "*" || report.Endpoints[0].Match != "*" || report.Endpoints[1].ID != "posts.create" || report.Endpoints[1].Match != "POST /rest/posts" {
		t.Fatalf("%s", got.body)
	}
	create := report.Endpoints[1]
	if diff := cmp.Diff(map[string]any{"limit": 5.0, "used": 2.0, "remaining": 3.0, "refused": 1.0, "refusedForMember": 1.0}, create.Application); diff != "" {
		t.Errorf("application (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"id": "m-1", "limit": 2.0, "used": 2.0, "remaining": 0.0, "refused": 1.0}, create.Member); diff != "" {
		t.Errorf("member (-want +got):\n%s", diff)
	}
	if n := s.upstream.count(); n != 3 {
		t.Errorf("%d requests reached the upstream", n)
	}
	if o := s.observation(6); o.Outcome != gateway.UsageRead || o.Status != 200 {
		t.Errorf("observed %+v", o)
	}
}

// TestUsageIsReserved asks for usage in ways other than GET /perdiem/usage: none of them is charged or reaches the upstream.
func TestUsageIsReserved(t *testing.T) {
	s := start(t)
	for _, target := range []string{"/perdiem/usage/", "//perdiem/./usage", "/%70erdiem/usage", "/perdiem/usage;x"} {
		if got := s.raw("GET " + target + " HTTP/1.1"); got.StatusCode != 200 {
			t.Errorf("%s: %d %s", target, got.StatusCode, got.body)
		}
	}
	for method, status := range map[string]int{"HEAD": 200, "POST": 405, "DELETE": 405, "OPTIONS": 405, "TRACE": 405} {
		w := s.dial()
		w.send(method + " /perdiem/usage HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nContent-Length: 0\r\n\r\n")
		res := w.head()
		if res.StatusCode != status || status == 405 && res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %s %v", method, res.Status, res.Header)
		}
	}
	if n := s.upstream.count(); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
	if got := s.do("GET", "/perdiem/usage/more", ""); got.body != "upstream here\n" {
		t.Errorf("another path is the upstream's: %d %s", got.StatusCode, got.body)
	}
}

func TestUsageRejections(t *testing.T) {
	s := start(t, func(c *setup) { c.usage = usage.Options{ApplicationOnly: false} })
	tests := []struct {
		name   string
		target string
		header []string
		status int
	}{
		{"no credential", "/perdiem/usage", nil, 401},
		{"unknown application", "/perdiem/usage", []string{"X-App-Id: nobody"}, 401},
		{"suspended", "/perdiem/usage", []string{"X-App-Id: beta"}, 403},
		{"another's by a member", "/perdiem/usage?member=m-2", []string{"X-App-Id: acme", "X-Member-Id: m-1"}, 403}, // the trusted headers are the caller here
		{"its own by a member", "/perdiem/usage?member=m-1", []string{"X-App-Id: acme", "X-Member-Id: m-1"}, 200},
		{"bad query", "/perdiem/usage?member=%zz", []string{"X-App-Id: acme"}, 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := s.dial()
			w.send("GET " + test.target + " HTTP/1.1\r\nHost: a\r\n")
			for _, h := range test.header {
				w.send(h + "\r\n")
			}
			w.send("\r\n")
			if got := w.reply(); got.StatusCode != test.status {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
		})
	}
}

func TestUsageTenASecond(t *testing.T) {
	at := time.Now()
	s := start(t, func(c *setup) { c.now = func() time.Time { return at } })
	for i := range 12 {
		got := s.do("GET", "/perdiem/usage", "")
		if want := map[bool]int{true: 200, false: 429}[i < 10]; got.StatusCode != want {
			t.Fatalf("reading %d: %d %s", i+1, got.StatusCode, got.body)
		}
		if i >= 10 && (!strings.Contains(got.body, "#temporary-reduced-capacity") || got.Header.Get("Retry-After") == "") {
			t.Errorf("%v %s", got.Header, got.body)
		}
	}
	if got := s.do("GET", "/perdiem/usage", "m-1"); got.StatusCode != 200 {
		t.Errorf("another caller: %d", got.StatusCode)
	}
}

// TestTokens goes the whole way, from an issued token to the 429: the token never reaches the upstream, and another's does.
func TestTokens(t *testing.T) {
	store, err := sqlregistry.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "registry.db"), sqlregistry.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	c, err := catalog.Parse("catalog.yaml", []byte(sample), catalog.PathPolicy{})
	must(t, err)
	_, err = store.Apply(t.Context(), c, registry.ApplyOptions{Source: "catalog.yaml", Actor: "test"})
	must(t, err)
	key := identity.NewTokenKey()
	issue := func(member string) string {
		secret, hash := key.NewToken()
		_, err := store.IssueToken(t.Context(), registry.NewToken{Hash: hash, Application: "acme", Member: member, Expires: time.Now().Add(time.Hour)})
		must(t, err)
		return secret
	}
	tokens, err := identity.NewTokens(identity.TokenOptions{Registry: store, Key: key, Header: "X-Api-Key"})
	must(t, err)
	s := start(t, func(c *setup) { c.sources = []identity.Source{tokens} })

	mine, others, own := issue("m-1"), issue("m-2"), issue("")
	ask := func(token, line string) reply {
		w := s.dial()
		w.send(line + " HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nAuthorization: Bearer " + token + "\r\n\r\n")
		return w.reply()
	}
	for i, want := range []int{200, 200, 429} {
		if got := ask(mine, "POST /rest/posts"); got.StatusCode != want {
			t.Fatalf("call %d: %d %s", i+1, got.StatusCode, got.body)
		}
	}
	if got := ask(others, "POST /rest/posts"); got.StatusCode != 200 {
		t.Errorf("another member: %d %s", got.StatusCode, got.body)
	}
	r := s.upstream.last(t)
	if r.Header.Get("Authorization") != "" || r.Header.Get("X-Perdiem-Member") != "m-2" {
		t.Errorf("the upstream got %v", r.Header)
	}
	if got := ask(own+"x", "POST /rest/posts"); got.StatusCode != 401 || got.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("a forged token: %d %s", got.StatusCode, got.body)
	}
	if got := ask(strings.Repeat("t", 50<<10), "GET /"); got.StatusCode != 401 {
		t.Errorf("a token of 50 KiB: %d %s", got.StatusCode, got.body)
	}

	// Usage: a member sees its own, the application everyone's.
	for _, test := range []struct {
		token, target string
		header        string
		status        int
		member        any // of posts.create
	}{
		{mine, "/perdiem/usage", "", 200, "m-1"},
		{mine, "/perdiem/usage?member=m-1", "", 200, "m-1"},
		{mine, "/perdiem/usage?member=m-2", "", 403, nil},
		{mine, "/perdiem/usage", "X-Member-Id: m-2", 403, nil},
		{own, "/perdiem/usage", "", 200, nil},
		{own, "/perdiem/usage?member=m-2", "", 200, "m-2"},
		{own, "/perdiem/usage", "X-Member-Id: m-2", 200, "m-2"},
		{own, "/perdiem/usage?member=m-1", "X-Member-Id: m-2", 400, nil},
	} {
		w := s.dial()
		w.send("GET " + test.target + " HTTP/1.1\r\nHost: a\r\nX-Api-Key: " + test.token + "\r\n")
		if test.header != "" {
			w.send(test.header + "\r\n")
		}
		w.send("\r\n")
		got := w.reply()
		if got.StatusCode != test.status {
			t.Errorf("%s %s: %d %s", test.target, test.header, got.StatusCode, got.body)
			continue
		}
		if test.status != 200 {
			continue
		}
		var report struct {
			Endpoints []struct{ Member map[string]any }
		}
		must(t, json.Unmarshal([]byte(got.body), &report))
		member := report.Endpoints[0].Member
		if member["id"] != test.member {
			t.Errorf("%s %s: member %v", test.target, test.header, member)
		}
		if names := slices.Sorted(maps.Keys(member)); test.member == nil && !slices.Equal(names, []string{"limit"}) {
			t.Errorf("nobody's usage has %v", names)
		}
	}
}

// TestVectors replays the cases that the pure rule is tested with through the door.
func TestVectors(t *testing.T) {
	for _, v := range testkit.Vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			s := start(t)
			limits := v.Limits
			for i, call := range v.Calls {
				if call.Limits != nil {
					limits = *call.Limits
				}
				snapshot, err := catalog.NewSnapshot(&catalog.Catalog{
					Endpoints: []catalog.Endpoint{{
						ID: "e", Path: "/e", Cost: call.Cost, Limits: quota.Limits{Application: limits.Application, Member: limits.Member},
					}},
					CatchAll:     catalog.Endpoint{ID: catalog.CatchAllID, Cost: 1},
					Applications: []catalog.Application{{ID: "acme"}},
				}, catalog.Options{})
				must(t, err)
				s.snapshot.Store(snapshot)
				got := s.do("GET", "/e", call.Member)
				var refused struct {
					Policies []string `json:"violated-policies"`
				}
				switch {
				case call.Refused == quota.None && got.StatusCode != 200:
					t.Fatalf("call %d: %d %s", i+1, got.StatusCode, got.body)
				case call.Refused != quota.None:
					if got.StatusCode != 429 {
						t.Fatalf("call %d: %d", i+1, got.StatusCode)
					}
					must(t, json.Unmarshal([]byte(got.body), &refused))
					if !slices.Equal(refused.Policies, []string{call.Refused.String()}) {
						t.Errorf("call %d: %s", i+1, got.body)
					}
				}
				if used := s.used("e").Used; used != call.Application {
					t.Errorf("call %d: the application has used %d, want %d", i+1, used, call.Application)
				}
				if call.Member == "" {
					continue
				}
				members, err := s.book.MemberUsage(t.Context(), "acme", call.Member, []string{"e"})
				must(t, err)
				if members[0].Used != call.MemberUsed {
					t.Errorf("call %d: the member has used %d, want %d", i+1, members[0].Used, call.MemberUsed)
				}
			}
		})
	}
}
