package usage_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

// many are counters of many applications.
type many struct {
	day    quota.Day
	counts map[string][]usage.Counts
	read   int // how many applications were
	err    error
}

func (m *many) Day() quota.Day { return m.day }

func (m *many) Application(_ context.Context, application string) ([]usage.Counts, error) {
	m.read++
	return m.counts[application], m.err
}

func (m *many) Member(context.Context, string, string, []string) ([]usage.MemberCounts, error) {
	return nil, errors.New("no member is asked for")
}

func TestSurvey(t *testing.T) {
	c, err := catalog.Parse("catalog.yaml", []byte(`
endpoints:
  - {id: a, match: /a, application: 100}
  - {id: free, match: /free}
  - {id: shut, match: /shut, application: 0}
  - {id: tried, match: /tried, application: 10, shadow: true}
catch_all: {application: 1000}
applications: [{id: acme}, {id: beta, shadow: true}, {id: idle}, {id: vip, overrides: {a: {application: 1000}}}]
`), catalog.PathPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := catalog.NewSnapshot(c, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := noon
	counters := &many{day: day("2026-11-23"), counts: map[string][]usage.Counts{
		"acme": {{Endpoint: "a", Used: 90, Refused: 3}, {Endpoint: "free", Used: 5000}, {Endpoint: "tried", Used: 10, Refused: 7, RefusedForMember: 2}, {Endpoint: "gone", Used: 1}},
		"beta": {{Endpoint: "a", Used: 100, Refused: 9}, {Endpoint: "shut", Refused: 1}},
		"vip":  {{Endpoint: "a", Used: 90}, {Endpoint: "*", Used: 0}},
	}}
	r, err := usage.New(usage.Options{Catalog: func() *catalog.Snapshot { return snapshot }, Counters: counters, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	survey := func() *usage.Survey {
		t.Helper()
		s, err := r.Survey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	want := &usage.Survey{
		At: noon, Day: counters.day, Applications: 4, WouldRefuse: 17,
		Nearest: []usage.NearLimit{
			{"beta", "a", 100, 100, 9}, {"acme", "tried", 10, 10, 7}, {"acme", "a", 100, 90, 3}, {"vip", "a", 1000, 90, 0},
		},
		Shadow: []usage.InShadow{{"beta", "a", 9, 0}, {"acme", "tried", 7, 2}, {"beta", "shut", 1, 0}},
	}
	if diff := cmp.Diff(want, survey()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	// It is made again when it is old, not for everybody who asks, and at once in a new day.
	now = now.Add(4 * time.Second)
	if survey(); counters.read != 4 {
		t.Errorf("%d applications were read for two that asked at once", counters.read)
	}
	now = now.Add(time.Second)
	if survey(); counters.read != 8 {
		t.Errorf("%d applications were read after five seconds", counters.read)
	}
	counters.day = day("2026-11-24")
	if s := survey(); counters.read != 12 || s.Day.Date != counters.day.Date {
		t.Errorf("%d applications were read after the reset, of %v", counters.read, s.Day.Date)
	}
	now = now.Add(time.Minute)
	counters.err = errors.New("down")
	if _, err := r.Survey(t.Context()); !errors.Is(err, counters.err) {
		t.Errorf("counters that cannot be read: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	counters.err = nil
	if _, err := r.Survey(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("who asks has gone: %v", err)
	}
	if survey(); counters.read != 17 {
		t.Errorf("%d applications were read in the end", counters.read)
	}
}

// TestSurveyIsBounded has more applications near their limits than are told.
func TestSurveyIsBounded(t *testing.T) {
	c := &catalog.Catalog{CatchAll: catalog.NewEndpoint(catalog.CatchAllID)}
	c.CatchAll.Limits.Application = 10_000
	c.CatchAll.Shadow = true
	counters := &many{day: day("2026-11-23"), counts: map[string][]usage.Counts{}}
	const all = 10 * usage.MaxSurvey
	for i := range all {
		id := fmt.Sprintf("app-%04d", i)
		c.Applications = append(c.Applications, catalog.Application{ID: id})
		counters.counts[id] = []usage.Counts{{Endpoint: "*", Used: int64(i), Refused: int64(i)}}
	}
	snapshot, err := catalog.NewSnapshot(c, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := usage.New(usage.Options{Catalog: func() *catalog.Snapshot { return snapshot }, Counters: counters, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Nearest) != usage.MaxSurvey || len(s.Shadow) != usage.MaxSurvey || s.WouldRefuse != all*(all-1)/2 {
		t.Fatalf("%d and %d are told, %d would be refused", len(s.Nearest), len(s.Shadow), s.WouldRefuse)
	}
	for i, n := range s.Nearest {
		if want := int64(all - 1 - i); n.Used != want || s.Shadow[i].Refused != want {
			t.Fatalf("number %d has used %d and would be refused %d, want %d", i, n.Used, s.Shadow[i].Refused, want)
		}
	}
}
