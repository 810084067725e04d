package usage_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

// members are what members have used.
type members map[string]int64

func (m members) counts(_ context.Context, _, _ string, ids []string) ([]usage.MemberCounts, error) {
	counts := make([]usage.MemberCounts, len(ids))
	for i, id := range ids {
		used, ok := m[id]
		if !ok {
			return nil, fault.New(fault.Unavailable, "The ledger cannot be reached.")
		}
		counts[i] = usage.MemberCounts{Used: used, Refused: used / 50}
	}
	return counts, nil
}

// memory is a store of lists that can fail.
type memory struct {
	mu    sync.Mutex
	lists map[quota.Date]map[string]usage.NearList // guarded by mu
	err   error                                    // guarded by mu
	kept  int                                      // guarded by mu: lists kept, all told
}

func (m *memory) KeepNear(_ context.Context, day quota.Date, lists []usage.NearList) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	for d := range m.lists {
		if d < day {
			delete(m.lists, d)
		}
	}
	for _, l := range lists {
		if m.lists[day] == nil {
			m.lists[day] = map[string]usage.NearList{}
		}
		m.lists[day][l.Application+" "+l.Endpoint] = l
		m.kept++
	}
	return nil
}

func (m *memory) NearOn(_ context.Context, day quota.Date) (lists []usage.NearList, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.lists[day] {
		lists = append(lists, l)
	}
	return lists, m.err
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// days returns of how many days there is something, and how many lists were kept, all told.
func (m *memory) days() (days, kept int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.lists), m.kept
}

func newMemory() *memory { return &memory{lists: map[quota.Date]map[string]usage.NearList{}} }

func openNear(t *testing.T, s usage.NearStore, day func() quota.Day, used members) *usage.NearMembers {
	t.Helper()
	n, err := usage.OpenNear(t.Context(), usage.NearOptions{Store: s, Day: day, Log: slog.New(slog.DiscardHandler), Members: used.counts})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// following runs f while n is kept in its store.
func following(t *testing.T, n *usage.NearMembers, f func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { n.Follow(ctx); close(done) }()
	f()
	cancel()
	<-done
}

func note(n *usage.NearMembers, day quota.Date, endpoint, member string, percent int) {
	n.Note(usage.Near{Day: day, Application: "acme", Endpoint: endpoint, Member: member, Percent: percent})
}

// wantNear compares who is near, in order, with what is wanted.
func wantNear(t *testing.T, n *usage.NearMembers, endpoint string, want ...string) {
	t.Helper()
	r := reader(t, numbers(), func(o *usage.Options) { o.Near = n })
	near, err := r.MembersNear(t.Context(), "acme", endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range near {
		got = append(got, fmt.Sprintf("%s %s %d%% %d/%d left %d refused %d", m.Endpoint, m.ID, m.Percent, m.Used, *m.Limit, *m.Remaining, m.Refused))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("near (-want +got):\n%s", diff)
	}
}

// The limits of acme's members are 50 for posts.create and 1 for posts.lowered.
func TestMembersNear(t *testing.T) {
	today := day("2026-11-23")
	n := openNear(t, newMemory(), numbers().day, members{"m-37": 37, "m-38": 38, "m-50": 50, "m-60": 60, "m-1": 1})
	wantNear(t, n, "")
	for _, m := range []string{"m-37", "m-38", "m-50", "m-60"} {
		note(n, today.Date, "posts.create", m, 50) // its figure is looked up
	}
	note(n, today.Date, "posts.create", "m-38", 76)
	note(n, today.Date, "posts.lowered", "m-1", 100)
	note(n, today.Date, "posts.find", "m-50", 100)    // the limit was taken away since
	note(n, today.Date, "posts.removed", "m-50", 100) // and here the endpoint
	note(n, today.Date-1, "posts.create", "m-1", 100)
	create := []string{
		"posts.create m-50 100% 50/50 left 0 refused 1", "posts.create m-38 76% 38/50 left 12 refused 0",
	}
	all := []string{"posts.create m-60 120% 60/50 left 0 refused 1", create[0], "posts.lowered m-1 100% 1/1 left 0 refused 0", create[1]}
	wantNear(t, n, "posts.create", all[0], create[0], create[1])
	wantNear(t, n, "", all...)
	wantNear(t, n, "posts.find")
	wantNear(t, n, "posts.never")

	r := reader(t, numbers(), func(o *usage.Options) { o.Near = n })
	if near, err := r.MembersNear(t.Context(), "beta", ""); near != nil || err != nil {
		t.Errorf("another application's: %v, %v", near, err)
	}
	if _, err := r.MembersNear(t.Context(), "nobody", ""); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an unknown application: %v", err)
	}
	note(n, today.Date, "posts.create", "unreadable", 80)
	if _, err := r.MembersNear(t.Context(), "acme", ""); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("counters that cannot be read: %v", err)
	}
	if near, err := reader(t, numbers()).MembersNear(t.Context(), "acme", ""); near != nil || err != nil {
		t.Errorf("where nobody is kept: %v, %v", near, err)
	}
	if _, err := usage.OpenNear(t.Context(), usage.NearOptions{}); err == nil {
		t.Error("no options are taken")
	}
}

// Of very many, the nearest are kept, in whichever order they come.
func TestTheNearestAreKept(t *testing.T) {
	today := day("2026-11-23").Date
	used := members{}
	n := openNear(t, newMemory(), numbers().day, used)
	var want []string
	for i := range 1000 {
		id := fmt.Sprintf("m-%03d", i*7919%1000) // 0 to 999, in disorder
		percent := 75 + i*7919%1000*25/999
		used[id] = 40
		if percent == 100 {
			used[id] = 50
		}
		for p := 75; p <= percent; p += 5 {
			note(n, today, "posts.create", id, p)
		}
		note(n, today, "posts.create", id, percent)
	}
	near, err := reader(t, numbers(), func(o *usage.Options) { o.Near = n }).MembersNear(t.Context(), "acme", "posts.create")
	if err != nil || len(near) != usage.MaxNear {
		t.Fatalf("%d are near, %v", len(near), err)
	}
	for i, m := range near {
		if i == 0 && m.ID != "m-999" {
			t.Errorf("the first is %s", m.ID)
		}
		if m.ID < "m-840" { // 75 + 840*25/999 is 96
			want = append(want, m.ID)
		}
	}
	if len(want) > 0 {
		t.Errorf("kept although others were nearer: %v", want)
	}
}

// After the limit was raised, the list that was full of those at the old one is no obstacle to those near the new one.
func TestNearAfterTheLimitIsRaised(t *testing.T) {
	today := day("2026-11-23").Date
	used := members{"new": 45}
	n := openNear(t, newMemory(), numbers().day, used)
	note := func(member string, limit quota.Limit, percent int) {
		n.Note(usage.Near{Day: today, Application: "acme", Endpoint: "posts.create", Member: member, Limit: limit, Percent: percent})
	}
	fill := func() {
		for i := range usage.MaxNear {
			id := fmt.Sprintf("old-%02d", i)
			used[id] = 20
			note(id, 20, 100)
		}
	}
	fill()
	note("new", 50, 90)
	wantNear(t, n, "posts.create", "posts.create new 90% 45/50 left 5 refused 0")

	// What is kept over a restart does not say of which limit it is: those who come lower make room.
	n = openNear(t, newMemory(), numbers().day, used)
	for i := range usage.MaxNear {
		note(fmt.Sprintf("old-%02d", i), 0, 100)
	}
	note("old-00", 50, 60)
	note("new", 50, 90)
	wantNear(t, n, "posts.create", "posts.create new 90% 45/50 left 5 refused 0")
}

// Nobody is told of with the percentage of a limit that holds no more, whether the node was started again since or not.
func TestNearTellsOfLimitsThatHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := newCalling(t, "UTC", "00:00"), newMemory()
		limits := map[string]quota.Limit{"posts.create": 100, "posts.find": 10}
		open := func() *usage.NearMembers {
			n, err := usage.OpenNear(t.Context(), usage.NearOptions{
				Store: store, Day: c.today, Log: slog.New(slog.DiscardHandler), Members: members{}.counts,
				Limit: func(_, endpoint string) (quota.Limit, bool) { return limits[endpoint], true },
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		n := open()
		create := usage.Near{Day: c.today().Date, Application: "acme", Endpoint: "posts.create", Member: "m-1", Limit: 100, Percent: 90}
		find := usage.Near{Day: c.today().Date, Application: "acme", Endpoint: "posts.find", Member: "m-1", Limit: 10, Percent: 80}
		n.Note(create)
		n.Note(find)
		if err := n.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := func(what string, want ...usage.Near) {
			t.Helper()
			for _, n := range []*usage.NearMembers{n, open()} {
				var told []usage.Near
				n.Tell(func(m usage.Near) { told = append(told, m) })
				slices.SortFunc(told, func(a, b usage.Near) int { return strings.Compare(a.Endpoint, b.Endpoint) })
				if diff := cmp.Diff(want, told); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
		}
		want("at first", create, find)
		limits["posts.create"] = 1000
		want("after a limit was raised", find)
	})
}

// Another application that comes to bear the id of one that was removed has nobody near.
func TestNearInARemovedApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCalling(t, "UTC", "00:00")
		var removed atomic.Bool
		n, err := usage.OpenNear(t.Context(), usage.NearOptions{
			Store: newMemory(), Day: c.today, Log: slog.New(slog.DiscardHandler), Members: members{"m-1": 40}.counts,
			Limit: func(string, string) (quota.Limit, bool) { return 50, !removed.Load() },
		})
		if err != nil {
			t.Fatal(err)
		}
		following(t, n, func() {
			note(n, c.today().Date, "posts.create", "m-1", 80)
			time.Sleep(keepsWithin)
			wantNear(t, n, "", "posts.create m-1 80% 40/50 left 10 refused 0")
			removed.Store(true)
			time.Sleep(keepsWithin)
			removed.Store(false)
			wantNear(t, n, "")
			note(n, c.today().Date, "posts.create", "m-1", 80)
			wantNear(t, n, "", "posts.create m-1 80% 40/50 left 10 refused 0")
		})
	})
}

func TestNearIsKeptUntilTheDayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCalling(t, "UTC", "00:00")
		store := newMemory()
		used := members{"m-1": 40, "m-2": 45, "m-3": 50}
		first := c.today()
		store.lists[first.Date-1] = map[string]usage.NearList{"acme *": {Application: "acme", Endpoint: "*"}}
		crashed := openNear(t, store, c.today, used)
		following(t, crashed, func() {
			note(crashed, first.Date, "posts.create", "m-1", 80)
			time.Sleep(keepsWithin)
			note(crashed, first.Date, "posts.create", "m-2", 90) // not kept before the crash
		})
		if days, _ := store.days(); days != 1 {
			t.Error("an earlier day's names are kept")
		}
		stopped := openNear(t, store, c.today, used)
		wantNear(t, stopped, "", "posts.create m-1 80% 40/50 left 10 refused 0")
		following(t, stopped, func() {
			time.Sleep(keepsWithin)
			if _, kept := store.days(); kept != 1 {
				t.Errorf("%d lists were kept, want 1: one that does not change is not kept again", kept)
			}
			note(stopped, first.Date, "posts.create", "m-3", 100)
		})
		if err := stopped.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		n := openNear(t, store, c.today, used)
		wantNear(t, n, "", "posts.create m-3 100% 50/50 left 0 refused 1", "posts.create m-1 80% 40/50 left 10 refused 0")
		told := map[usage.Near]bool{}
		n.Tell(func(m usage.Near) { told[m] = true })
		if diff := cmp.Diff(map[usage.Near]bool{
			{Day: first.Date, Application: "acme", Endpoint: "posts.create", Member: "m-1", Percent: 80}:  true,
			{Day: first.Date, Application: "acme", Endpoint: "posts.create", Member: "m-3", Percent: 100}: true,
		}, told); diff != "" {
			t.Errorf("told of (-want +got):\n%s", diff)
		}
		following(t, n, func() {
			time.Sleep(time.Until(first.End))
			wantNear(t, n, "")
			time.Sleep(keepsWithin)
			if days, _ := store.days(); days > 0 {
				t.Errorf("after the day, names of %d days are kept", days)
			}
			note(n, first.Date+1, "posts.create", "m-2", 90)
			wantNear(t, n, "", "posts.create m-2 90% 45/50 left 5 refused 0")
		})
	})
}

const keepsWithin = 6 * time.Second

func TestNearWhileTheStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCalling(t, "UTC", "00:00")
		store := newMemory()
		used := members{"m-1": 40}
		n := openNear(t, store, c.today, used)
		boom := errors.New("boom")
		store.fail(boom)
		following(t, n, func() {
			note(n, c.today().Date, "posts.create", "m-1", 80)
			time.Sleep(keepsWithin)
			wantNear(t, n, "", "posts.create m-1 80% 40/50 left 10 refused 0")
			store.fail(nil)
			time.Sleep(keepsWithin)
		})
		wantNear(t, openNear(t, store, c.today, used), "", "posts.create m-1 80% 40/50 left 10 refused 0")
		store.fail(boom)
		note(n, c.today().Date, "posts.create", "m-1", 90)
		if err := n.Close(t.Context()); !errors.Is(err, boom) {
			t.Errorf("Close: %v", err)
		}
		if _, err := usage.OpenNear(t.Context(), usage.NearOptions{Store: store, Day: c.today, Log: slog.New(slog.DiscardHandler), Members: used.counts}); !errors.Is(err, boom) {
			t.Errorf("OpenNear: %v", err)
		}
	})
}

// Memory is bounded, however many endpoints have members near their limits.
func TestNearIsBounded(t *testing.T) {
	today := day("2026-11-23").Date
	n := openNear(t, newMemory(), numbers().day, members{"m": 50})
	for i := range 10_000 {
		note(n, today, fmt.Sprint("endpoint.", i), "m", 100)
	}
	note(n, today, "posts.create", "m", 100)
	wantNear(t, n, "posts.create")
}

func BenchmarkNote(b *testing.B) {
	n, err := usage.OpenNear(b.Context(), usage.NearOptions{Store: newMemory(), Day: numbers().day, Log: slog.New(slog.DiscardHandler), Members: members{}.counts})
	if err != nil {
		b.Fatal(err)
	}
	today := day("2026-11-23").Date
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = fmt.Sprint("urn:li:person:", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		note(n, today, "posts.create", ids[i%len(ids)], 50+i/len(ids)%51)
	}
}
