package registrytest

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

// RunNear runs the suite of stores of members near their limits. Each call of open returns an empty one of its own, which the caller closes.
func RunNear(t *testing.T, open func(t *testing.T, clock *Clock) AlertRegistry) {
	for name, run := range map[string]func(*testing.T, usage.NearStore){"lists are kept": testNearKept, "an earlier day is removed": testNearEarlier} {
		t.Run(name, func(t *testing.T) {
			clock := NewClock()
			r := open(t, clock)
			(&fixture{Registry: r, clock: clock}).apply(t, Catalog())
			run(t, r)
		})
	}
}

func wantNear(t *testing.T, s usage.NearStore, day quota.Date, want ...usage.NearList) {
	t.Helper()
	got, err := s.NearOn(t.Context(), day)
	if err != nil {
		t.Fatalf("NearOn: %v", err)
	}
	slices.SortFunc(got, func(a, b usage.NearList) int {
		return cmp.Or(cmp.Compare(a.Application, b.Application), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("lists of %s (-want +got):\n%s", day, diff)
	}
}

func keepNear(t *testing.T, s usage.NearStore, day quota.Date, lists ...usage.NearList) {
	t.Helper()
	if err := s.KeepNear(t.Context(), day, lists); err != nil {
		t.Fatalf("KeepNear: %v", err)
	}
}

func testNearKept(t *testing.T, s usage.NearStore) {
	wantNear(t, s, historyDay)
	full := usage.NearList{Application: "acme", Endpoint: "posts.create", Limit: 1 << 40}
	for i := range usage.MaxNear {
		full.Members = append(full.Members, usage.NearMember{ID: strings.Repeat("日", i%85+1), Percent: i})
	}
	odd := usage.NearList{Application: "acme", Endpoint: "posts.find", Members: []usage.NearMember{{ID: `"],'; DROP TABLE near_members; --` + "\u2028<b>", Percent: 100}}}
	beta := usage.NearList{Application: "beta", Endpoint: "posts.create", Members: []usage.NearMember{{ID: "m-1", Percent: 75}}}
	keepNear(t, s, historyDay, full, beta)
	keepNear(t, s, historyDay, odd)
	wantNear(t, s, historyDay, full, odd, beta)
	wantNear(t, s, historyDay+1)
	full.Members, full.Limit = full.Members[50:], 10
	keepNear(t, s, historyDay, full)
	keepNear(t, s, historyDay)
	wantNear(t, s, historyDay, full, odd, beta)
}

func testNearEarlier(t *testing.T, s usage.NearStore) {
	list := usage.NearList{Application: "acme", Endpoint: "*", Members: []usage.NearMember{{ID: "m-1", Percent: 80}}}
	keepNear(t, s, historyDay-1, list)
	keepNear(t, s, historyDay, list)
	wantNear(t, s, historyDay-1)
	wantNear(t, s, historyDay, list)
	keepNear(t, s, historyDay+2)
	wantNear(t, s, historyDay)
}
