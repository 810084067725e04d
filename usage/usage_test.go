package usage_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

const sample = `
endpoints:
  - {id: posts.create, match: POST /rest/posts, application: 500, member: 50}
  - {id: posts.find, match: GET /rest/posts, application: unlimited, member: unlimited}
  - {id: posts.never, match: DELETE /rest/posts}
  - {id: posts.lowered, match: PUT /rest/posts, application: 10, member: 1}
catch_all: {application: 1000, member: 100}
tiers: {development: {posts.create: {member: 20}}}
applications: [{id: acme}, {id: beta, tier: development}]
`

var noon = time.Date(2026, 11, 23, 18, 0, 0, 500, time.UTC)

// table is what counters say, fixed.
type table struct {
	day     func() quota.Day
	counts  []usage.Counts
	members map[string]map[string]usage.MemberCounts // by member, by endpoint
	err     error
}

func (c *table) Day() quota.Day { return c.day() }

func (c *table) Application(context.Context, string) ([]usage.Counts, error) { return c.counts, c.err }

func (c *table) Member(_ context.Context, _, member string, endpoints []string) ([]usage.MemberCounts, error) {
	counts := make([]usage.MemberCounts, len(endpoints))
	for i, endpoint := range endpoints {
		counts[i] = c.members[member][endpoint]
	}
	return counts, c.err
}

func day(date string) quota.Day {
	d, err := quota.ParseDate(date)
	if err != nil {
		panic(err)
	}
	start := time.Unix(int64(d)*86400, 0)
	return quota.Day{Date: d, Start: start, End: start.Add(24 * time.Hour), Zone: "UTC"}
}

func numbers() *table {
	call := time.Date(2026, 11, 23, 18, 59, 58, 700, time.FixedZone("CET", 3600))
	return &table{
		day: func() quota.Day { return day("2026-11-23") },
		counts: []usage.Counts{
			{Endpoint: "posts.lowered", Used: 12, Refused: 1, LastCall: call},
			{Endpoint: "posts.create", Used: 12, Refused: 3, RefusedForMember: 2, LastCall: call},
			{Endpoint: "posts.find", Used: 7, LastCall: call},
			{Endpoint: "posts.never", Used: 64}, // borrowed ahead of need
			{Endpoint: "posts.removed", Used: 5, LastCall: call},
			{Endpoint: "*", Refused: 1, LastCall: call},
		},
		members: map[string]map[string]usage.MemberCounts{
			"m-1": {"posts.create": {Used: 3, Refused: 2}, "posts.find": {Used: 1}, "posts.lowered": {Used: 2}},
		},
	}
}

func reader(t *testing.T, c usage.Counters, change ...func(*usage.Options)) *usage.Reader {
	t.Helper()
	parsed, err := catalog.Parse("catalog.yaml", []byte(sample), catalog.PathPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := catalog.NewSnapshot(parsed, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := usage.Options{Catalog: func() *catalog.Snapshot { return snapshot }, Counters: c, Now: func() time.Time { return noon }}
	for _, f := range change {
		f(&o)
	}
	r, err := usage.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReport compares whole reports, as they are sent, with those of testdata.
func TestReport(t *testing.T) {
	for _, test := range []struct{ file, application, member string }{
		{"application.json", "acme", ""},
		{"member.json", "acme", "m-1"},
		{"stranger.json", "beta", "m-2"},
	} {
		t.Run(test.file, func(t *testing.T) {
			report, err := reader(t, numbers()).Today(t.Context(), test.application, test.member)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(report, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile("testdata/" + test.file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var read usage.Report
			if err := json.Unmarshal(got, &read); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(report, &read); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBeforeAnyCall(t *testing.T) {
	c := numbers()
	c.counts = nil
	report, err := reader(t, c).Today(t.Context(), "acme", "m-1")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(report); err != nil || !strings.Contains(string(text), `"endpoints":[]`) {
		t.Errorf("%s %v", text, err)
	}
}

func TestReset(t *testing.T) {
	// The first reading runs into the reset; the second is of one day.
	days := []string{"2026-11-23", "2026-11-24", "2026-11-24", "2026-11-24"}
	c := numbers()
	c.day = func() quota.Day {
		d := day(days[0])
		days = days[1:]
		return d
	}
	report, err := reader(t, c).Today(t.Context(), "acme", "")
	if err != nil || report.Day != "2026-11-24" || report.ResetsAt.Format(time.DateOnly) != "2026-11-25" {
		t.Errorf("%+v %v", report, err)
	}
}

func TestErrors(t *testing.T) {
	if _, err := reader(t, numbers()).Today(t.Context(), "nobody", ""); fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("unknown application: %v", err)
	}
	down := fault.New(fault.Unavailable, "The ledger cannot be reached.")
	if _, err := reader(t, &table{day: numbers().day, err: down}).Today(t.Context(), "acme", "m-1"); !errors.Is(err, down) {
		t.Errorf("counters that cannot be read: %v", err)
	}
	for _, o := range []usage.Options{{}, {Catalog: func() *catalog.Snapshot { return nil }}, {Catalog: func() *catalog.Snapshot { return nil }, Counters: numbers()}} {
		if _, err := usage.New(o); err == nil {
			t.Errorf("options %+v are taken", o)
		}
	}
}

func TestOwn(t *testing.T) {
	long := strings.Repeat("m", 257)
	tests := []struct {
		name            string
		member          string // the token's
		query           string
		header          []string
		applicationOnly bool
		want            string // the member shown
		kind            fault.Kind
	}{
		{name: "the application itself"},
		{name: "the application for a member, by query", query: "member=m-1", want: "m-1"},
		{name: "the application for a member, by header", header: []string{"m-1"}, want: "m-1"},
		{name: "the application for a member, by both", query: "x=y&member=m%2D1", header: []string{"m-1"}, want: "m-1"},
		{name: "the application for two members", query: "member=m-2", header: []string{"m-1"}, kind: fault.Invalid},
		{name: "the application for two members, by query", query: "member=m-1&member=m-2", kind: fault.Invalid},
		{name: "the application for itself as a member", query: "member=acme"},
		{name: "an empty member", query: "member=", kind: fault.Invalid},
		{name: "a long member", query: "member=" + long, kind: fault.Invalid},
		{name: "a member with a control character", query: "member=%0a", kind: fault.Invalid},
		{name: "a member that is not UTF-8", query: "member=%ff", kind: fault.Invalid},
		{name: "a query that cannot be read", query: "member=%zz", kind: fault.Invalid},
		{name: "a query with a semicolon", query: "member=m-1;member=m-2", kind: fault.Invalid},
		{name: "a member", member: "m-1", want: "m-1"},
		{name: "a member by name", member: "m-1", query: "member=m-1", header: []string{"m-1"}, want: "m-1"},
		{name: "a member for another", member: "m-1", query: "member=m-2", kind: fault.Forbidden},
		{name: "a member for another, by header", member: "m-1", header: []string{"m-2"}, kind: fault.Forbidden},
		{name: "a member for another, identified by the header", member: "m-1", header: []string{"m-1"}, query: "member=m-2", kind: fault.Forbidden},
		{name: "a member for two others", member: "m-1", header: []string{"m-3"}, query: "member=m-2", kind: fault.Forbidden},
		{name: "a member for the application", member: "m-1", query: "member=acme", want: "m-1"},
		{name: "a member where only applications may ask", member: "m-1", applicationOnly: true, kind: fault.Forbidden},
		{name: "an application where only applications may ask", query: "member=m-1", applicationOnly: true, want: "m-1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := reader(t, numbers(), func(o *usage.Options) { o.ApplicationOnly = test.applicationOnly })
			report, err := r.Own(t.Context(), usage.Question{
				Application: "acme", Member: test.member, TokenID: "tok_1", Header: http.Header{"X-Member-Id": test.header}, RawQuery: test.query,
			})
			if test.kind != fault.Internal {
				if fault.KindOf(err) != test.kind {
					t.Fatalf("error %v, want one of kind %v", err, test.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := report.Endpoints[0].Member.ID; got != test.want {
				t.Errorf("shows member %q, want %q", got, test.want)
			}
		})
	}
}

func TestTenASecond(t *testing.T) {
	now := noon
	r := reader(t, numbers(), func(o *usage.Options) { o.Now = func() time.Time { return now } })
	ask := func(token, member string) error {
		_, err := r.Own(t.Context(), usage.Question{Application: "acme", Member: member, TokenID: token})
		return err
	}
	ten := func(token, member string) {
		t.Helper()
		for i := range 10 {
			if err := ask(token, member); err != nil {
				t.Fatalf("reading %d: %v", i+1, err)
			}
		}
		if err := ask(token, member); fault.KindOf(err) != fault.Exhausted {
			t.Fatalf("reading 11: %v", err)
		}
	}
	ten("tok_1", "")
	ten("tok_2", "")
	ten("", "m-1") // without a token, by who it is
	ten("", "m-2")
	now = now.Add(999 * time.Millisecond)
	if err := ask("tok_1", ""); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("within the second: %v", err)
	}
	now = now.Add(time.Millisecond)
	ten("tok_1", "")
	now = now.Add(-time.Hour) // a clock that is set back locks nobody out
	ten("tok_1", "")
}

// TestGuardIsBounded asks with more credentials than there are seats: the memory stays, and nobody is refused wrongly.
func TestGuardIsBounded(t *testing.T) {
	r := reader(t, &table{day: numbers().day})
	for i := range 50_000 {
		if _, err := r.Own(t.Context(), usage.Question{Application: "acme", Member: "m-" + string(rune('a'+i%26)) + time.Duration(i).String()}); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkToday(b *testing.B) {
	c := numbers()
	parsed, err := catalog.Parse("catalog.yaml", []byte(sample), catalog.PathPolicy{})
	if err != nil {
		b.Fatal(err)
	}
	snapshot, err := catalog.NewSnapshot(parsed, catalog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	r, err := usage.New(usage.Options{Catalog: func() *catalog.Snapshot { return snapshot }, Counters: c, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := r.Today(b.Context(), "acme", "m-1"); err != nil {
			b.Fatal(err)
		}
	}
}
