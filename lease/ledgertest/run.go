// Package ledgertest holds what every [lease.Ledger] must do, as tests that an implementation runs against itself, and
// ledgers that fail or lie on purpose, for the tests of those who use one.
package ledgertest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// Run tests that the ledgers which open returns do what [lease.Ledger] promises. Each is new and empty; open closes
// it when its test ends.
func Run(t *testing.T, open func(t *testing.T) lease.Ledger) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, lease.Ledger)
	}{
		{"grants", testGrants},
		{"batch", testBatch},
		{"owed", testOwed},
		{"last call", testLastCall},
		{"returns", testReturns},
		{"notes", testNotes},
		{"days apart", testDaysApart},
		{"names apart", testNamesApart},
		{"open day", testOpenDay},
		{"no counters", testNoCounters},
		{"bounds", testBounds},
		{"cancelled", testCancelled},
		{"hash key", testHashKey},
		{"many endpoints", testManyEndpoints},
		{"concurrent borrows", testConcurrentBorrows},
		{"concurrent returns", testConcurrentReturns},
		{"model", testModel},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// today is the day of the tests that need one only.
var today = Day(quota.Date(20_780))

// Day returns the day of a date in UTC.
func Day(date quota.Date) quota.Day {
	start := time.Unix(int64(date)*86400, 0).UTC()
	return quota.Day{Date: date, Start: start, End: start.Add(24 * time.Hour), Zone: "UTC"}
}

func app(application, endpoint string) lease.Counter {
	return lease.Counter{Application: application, Endpoint: endpoint}
}

func member(n byte) lease.Counter { return lease.Counter{Member: lease.MemberKey{15: n}} }

func borrow(t *testing.T, l lease.Ledger, day quota.Day, asks ...lease.Ask) []lease.Grant {
	t.Helper()
	grants := make([]lease.Grant, len(asks))
	if err := l.Borrow(context.Background(), day, asks, grants); err != nil {
		t.Fatalf("Borrow: %v", err)
	}
	return grants
}

func giveBack(t *testing.T, l lease.Ledger, day quota.Day, returns ...lease.Return) {
	t.Helper()
	if err := l.Return(context.Background(), day, returns); err != nil {
		t.Fatalf("Return: %v", err)
	}
}

func read(t *testing.T, l lease.Ledger, date quota.Date, application string) []lease.Record {
	t.Helper()
	records, err := l.Read(context.Background(), date, application)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return records
}

func readMembers(t *testing.T, l lease.Ledger, date quota.Date, members ...lease.MemberKey) []lease.Record {
	t.Helper()
	records, err := l.ReadMembers(context.Background(), date, members)
	if err != nil {
		t.Fatalf("ReadMembers: %v", err)
	}
	return records
}

// expect compares what is with what must be; nil and empty are the same.
func expect[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func testGrants(t *testing.T, l lease.Ledger) {
	c := app("acme", "posts.create")
	for _, step := range []struct {
		why         string
		limit       quota.Limit
		least, most int64
		want        lease.Grant
	}{
		{"all that is asked for", 10, 1, 4, lease.Grant{Calls: 4, Granted: 4}},
		{"what is left, when it is enough", 10, 3, 8, lease.Grant{Calls: 6, Granted: 10}},
		{"nothing, at the limit", 10, 1, 1, lease.Grant{Granted: 10}},
		{"nothing, when less is left than is worth having", 12, 3, 5, lease.Grant{Granted: 10}},
		{"what is left, of a higher limit", 12, 2, 5, lease.Grant{Calls: 2, Granted: 12}},
		{"nothing, under a limit below what was granted", 5, 1, 1, lease.Grant{Granted: 12}},
		{"nothing, when the limit is no access", quota.NoAccess, 1, 1, lease.Grant{Granted: 12}},
		{"any number, when unlimited", quota.Unlimited, 1, 1 << 40, lease.Grant{Calls: 1 << 40, Granted: 12 + 1<<40}},
		{"up to what unlimited is inside", quota.Unlimited, 1, int64(quota.Unlimited), lease.Grant{Calls: int64(quota.Unlimited) - 12 - 1<<40, Granted: int64(quota.Unlimited)}},
		{"nothing beyond it", quota.Unlimited, 1, 1, lease.Grant{Granted: int64(quota.Unlimited)}},
	} {
		got := borrow(t, l, today, lease.Ask{Counter: c, Limit: step.limit, Least: step.least, Most: step.most})
		expect(t, step.why, got[0], step.want)
	}
	expect(t, "record", read(t, l, today.Date, "acme"), []lease.Record{{Endpoint: "posts.create", Granted: int64(quota.Unlimited)}})
}

func testBatch(t *testing.T, l lease.Ledger) {
	// More than fits is refused for one counter and does not touch the others; answers are in the order of asks.
	asks := make([]lease.Ask, lease.MaxBatch)
	for i := range asks {
		key := lease.MemberKey{byte(i * 7), 1: byte(i >> 8), 15: 1}
		asks[i] = lease.Ask{Counter: lease.Counter{Member: key}, Limit: quota.Limit(i % 5), Least: 1, Most: int64(1 + i%3)}
	}
	asks[100].Counter = app("acme", "posts.create")
	for round := range int64(3) {
		for i, g := range borrow(t, l, today, asks...) {
			before := min(round*asks[i].Most, int64(asks[i].Limit))
			calls := min(asks[i].Most, int64(asks[i].Limit)-before)
			expect(t, fmt.Sprintf("round %d, ask %d", round, i), g, lease.Grant{Calls: calls, Granted: before + calls})
		}
	}
	keys := []lease.MemberKey{asks[7].Counter.Member, {1, 2, 3}, asks[3].Counter.Member}
	expect(t, "members, in the order asked for", readMembers(t, l, today.Date, keys...), []lease.Record{{Granted: 2}, {}, {Granted: 3}})
}

func testOwed(t *testing.T, l lease.Ledger) {
	c := app("acme", "posts.create")
	for _, step := range []struct {
		why string
		ask lease.Ask
		is  lease.Grant
	}{
		{"owed is charged first", lease.Ask{Limit: 10, Least: 1, Most: 20, Owed: 4}, lease.Grant{Calls: 6, Granted: 10}},
		{"owed is charged whatever the limit", lease.Ask{Limit: 10, Least: 1, Most: 1, Owed: 5}, lease.Grant{Granted: 15}},
		{"owed alone", lease.Ask{Limit: 100, Least: 1, Owed: 5}, lease.Grant{Granted: 20}},
		{"and it counts", lease.Ask{Limit: 22, Least: 1, Most: 5}, lease.Grant{Calls: 2, Granted: 22}},
	} {
		step.ask.Counter = c
		expect(t, step.why, borrow(t, l, today, step.ask)[0], step.is)
	}
}

func testLastCall(t *testing.T, l lease.Ledger) {
	c := app("acme", "posts.create")
	for _, step := range []struct{ says, want int64 }{{0, 0}, {1000, 1000}, {0, 1000}, {999, 1000}, {1001, 1001}} {
		borrow(t, l, today, lease.Ask{Counter: c, Limit: 100, Least: 1, Most: 1, LastCall: step.says})
		expect(t, fmt.Sprintf("after a borrow at %d", step.says), read(t, l, today.Date, "acme")[0].LastCall, step.want)
	}
	for _, step := range []struct{ says, want int64 }{{0, 1001}, {2000, 2000}, {1500, 2000}} {
		giveBack(t, l, today, lease.Return{Counter: c, LastCall: step.says})
		expect(t, fmt.Sprintf("after a return at %d", step.says), read(t, l, today.Date, "acme")[0].LastCall, step.want)
	}
	borrow(t, l, today, lease.Ask{Counter: c, Limit: 1, Least: 1, Most: 1, LastCall: 3000})
	expect(t, "after a borrow that got nothing", read(t, l, today.Date, "acme")[0].LastCall, 3000)
}

func testReturns(t *testing.T, l lease.Ledger) {
	c, m := app("acme", "posts.create"), member(1)
	borrow(t, l, today, lease.Ask{Counter: c, Limit: 10, Least: 1, Most: 10}, lease.Ask{Counter: m, Limit: 10, Least: 1, Most: 3})
	giveBack(t, l, today, lease.Return{Counter: c, Calls: 4}, lease.Return{Counter: m, Calls: 1})
	expect(t, "application", read(t, l, today.Date, "acme"), []lease.Record{{Endpoint: "posts.create", Granted: 6}})
	expect(t, "member", readMembers(t, l, today.Date, m.Member), []lease.Record{{Granted: 2}})
	expect(t, "what was returned can be borrowed", borrow(t, l, today, lease.Ask{Counter: c, Limit: 10, Least: 1, Most: 10})[0], lease.Grant{Calls: 4, Granted: 10})

	giveBack(t, l, today, lease.Return{Counter: c, Calls: 11}, lease.Return{Counter: app("acme", "other"), Calls: 5}, lease.Return{Counter: member(2), Calls: 5})
	expect(t, "never below zero, nor created", read(t, l, today.Date, "acme"), []lease.Record{{Endpoint: "posts.create"}})
	giveBack(t, l, today, lease.Return{Counter: app("nobody", "posts.create"), Calls: 5})
	expect(t, "no counter is created", read(t, l, today.Date, "nobody"), nil)
	expect(t, "nor a member's", borrow(t, l, today, lease.Ask{Counter: member(2), Limit: 1, Least: 1, Most: 1})[0], lease.Grant{Calls: 1, Granted: 1})
}

func testNotes(t *testing.T, l lease.Ledger) {
	c, m := app("acme", "posts.create"), member(1)
	giveBack(t, l, today, lease.Return{Counter: c, Calls: 7, Refused: 3, RefusedForMember: 2, LastCall: 50}, lease.Return{Counter: m, Refused: 2})
	expect(t, "notes create a counter, calls do not fill it", read(t, l, today.Date, "acme"),
		[]lease.Record{{Endpoint: "posts.create", Refused: 3, RefusedForMember: 2, LastCall: 50}})
	expect(t, "a member's too", readMembers(t, l, today.Date, m.Member), []lease.Record{{Refused: 2}})
	borrow(t, l, today, lease.Ask{Counter: c, Limit: 10, Least: 1, Most: 2})
	giveBack(t, l, today, lease.Return{Counter: c, Calls: 1, Refused: 4, RefusedForMember: 1, LastCall: 60})
	expect(t, "notes add up", read(t, l, today.Date, "acme"),
		[]lease.Record{{Endpoint: "posts.create", Granted: 1, Refused: 7, RefusedForMember: 3, LastCall: 60}})
}

func testDaysApart(t *testing.T, l lease.Ledger) {
	c, m := app("acme", "posts.create"), member(1)
	yesterday, tomorrow := Day(today.Date-1), Day(today.Date+1)
	for i, day := range []quota.Day{yesterday, today, tomorrow} {
		n := int64(i + 1)
		got := borrow(t, l, day, lease.Ask{Counter: c, Limit: 10, Least: 1, Most: n}, lease.Ask{Counter: m, Limit: 10, Least: 1, Most: n})
		expect(t, day.Date.String(), got, []lease.Grant{{Calls: n, Granted: n}, {Calls: n, Granted: n}})
	}
	giveBack(t, l, yesterday, lease.Return{Counter: c, Calls: 1}, lease.Return{Counter: m, Calls: 1})
	for i, day := range []quota.Day{yesterday, today, tomorrow} {
		n := max(0, int64(i+1))
		if i == 0 {
			n = 0
		}
		expect(t, day.Date.String(), read(t, l, day.Date, "acme"), []lease.Record{{Endpoint: "posts.create", Granted: n}})
		expect(t, day.Date.String(), readMembers(t, l, day.Date, m.Member), []lease.Record{{Granted: n}})
	}
	expect(t, "a day without counters", read(t, l, today.Date+2, "acme"), nil)
}

func testNamesApart(t *testing.T, l lease.Ledger) {
	// Pairs that run into each other when they are joined carelessly.
	long := strings.Repeat("x", 255)
	counters := []lease.Counter{
		app("a", "bc"), app("ab", "c"), app("a", "b:c"), app("a:b", "c"), app("a", "*"), app("a", "a"),
		app("a", "bcd"), app("aa", "\xff"), app("b", "ä"), app("\x01", "\x00\x01"), app("\x01\x00", "\x01"),
		app(long+"x", "y"), app(long, "xy"), app("y", long+"x"),
		member(0), member(1),
		{Member: lease.MemberKey{1}},
		{Member: lease.MemberKey{0, 1, 'a', 'b', 'c'}},
	}
	for i, c := range counters {
		n := int64(i + 1)
		expect(t, fmt.Sprintf("%q", c), borrow(t, l, today, lease.Ask{Counter: c, Limit: 100, Least: 1, Most: n})[0], lease.Grant{Calls: n, Granted: n})
	}
	// Only an application's own, in the order of endpoint ids.
	expect(t, "a", read(t, l, today.Date, "a"), []lease.Record{
		{Endpoint: "*", Granted: 5}, {Endpoint: "a", Granted: 6}, {Endpoint: "b:c", Granted: 3}, {Endpoint: "bc", Granted: 1}, {Endpoint: "bcd", Granted: 7},
	})
	expect(t, "ab", read(t, l, today.Date, "ab"), []lease.Record{{Endpoint: "c", Granted: 2}})
	expect(t, "x…x", read(t, l, today.Date, long+"x"), []lease.Record{{Endpoint: "y", Granted: 12}})
	expect(t, "no such application", read(t, l, today.Date, "x"), nil)
}

func testOpenDay(t *testing.T, l lease.Ledger) {
	open := func(day quota.Day) {
		t.Helper()
		if err := l.OpenDay(context.Background(), day); err != nil {
			t.Fatalf("OpenDay: %v", err)
		}
	}
	c := app("acme", "posts.create")
	yesterday, tomorrow := Day(today.Date-1), Day(today.Date+1)
	open(yesterday)
	borrow(t, l, yesterday, lease.Ask{Counter: c, Limit: 10, Least: 1, Most: 1})
	open(today)
	open(today)
	longer := today
	longer.End = longer.End.Add(time.Hour)
	open(longer)
	open(yesterday) // ignored
	for _, day := range []quota.Day{tomorrow, longer, yesterday} {
		borrow(t, l, day, lease.Ask{Counter: c, Limit: 10, Least: 1, Most: 2})
	}
	expect(t, "yesterday", read(t, l, yesterday.Date, "acme"), []lease.Record{{Endpoint: "posts.create", Granted: 3}})
	expect(t, "today", read(t, l, today.Date, "acme"), []lease.Record{{Endpoint: "posts.create", Granted: 2}})
}

func testNoCounters(t *testing.T, l lease.Ledger) {
	borrow(t, l, today)
	giveBack(t, l, today)
	expect(t, "no members", readMembers(t, l, today.Date), nil)
	expect(t, "no records", read(t, l, today.Date, "acme"), nil)
}

// testBounds asks for what no caller should.
func testBounds(t *testing.T, l lease.Ledger) {
	c := app("acme", "posts.create")
	good := lease.Ask{Counter: c, Limit: 10, Least: 1, Most: 1}
	with := func(change func(*lease.Ask)) []lease.Ask {
		a := good
		change(&a)
		return []lease.Ask{{Counter: member(1), Limit: 10, Least: 1, Most: 1}, a}
	}
	many := make([]lease.Ask, lease.MaxBatch+1)
	for i := range many {
		many[i] = good
		many[i].Counter = lease.Counter{Member: lease.MemberKey{byte(i), byte(i >> 8)}}
	}
	for name, asks := range map[string][]lease.Ask{
		"too many":                         many,
		"one counter twice":                {good, good},
		"least 0":                          with(func(a *lease.Ask) { a.Least = 0 }),
		"most below least":                 with(func(a *lease.Ask) { a.Least, a.Most = 3, 2 }),
		"limit below 0":                    with(func(a *lease.Ask) { a.Limit = -1 }),
		"limit above unlimited":            with(func(a *lease.Ask) { a.Limit = quota.Unlimited + 1 }),
		"owed below 0":                     with(func(a *lease.Ask) { a.Owed = -1 }),
		"last call below 0":                with(func(a *lease.Ask) { a.LastCall = -1 }),
		"an application without endpoint":  with(func(a *lease.Ask) { a.Counter.Endpoint = "" }),
		"an endpoint without application":  with(func(a *lease.Ask) { a.Counter.Application = "" }),
		"a member and an application":      with(func(a *lease.Ask) { a.Counter.Member = lease.MemberKey{1} }),
		"an application of too many bytes": with(func(a *lease.Ask) { a.Counter.Application = strings.Repeat("a", 257) }),
	} {
		err := l.Borrow(context.Background(), today, asks, make([]lease.Grant, len(asks)))
		expect(t, name, fault.KindOf(err), fault.Invalid)
	}
	err := l.Borrow(context.Background(), today, []lease.Ask{good}, nil)
	expect(t, "no place for the grant", fault.KindOf(err), fault.Invalid)

	for name, returns := range map[string][]lease.Return{
		"too many":          make([]lease.Return, lease.MaxBatch+1),
		"one counter twice": {{Counter: c, Calls: 1}, {Counter: c, Refused: 1}},
		"calls below 0":     {{Counter: c, Calls: -1}},
		"refused below 0":   {{Counter: c, Refused: -1}},
		"no endpoint":       {{Counter: app("acme", ""), Calls: 1}},
	} {
		err := l.Return(context.Background(), today, returns)
		expect(t, name, fault.KindOf(err), fault.Invalid)
	}
	_, err = l.ReadMembers(context.Background(), today.Date, make([]lease.MemberKey, lease.MaxBatch+1))
	expect(t, "too many members", fault.KindOf(err), fault.Invalid)

	expect(t, "nothing of this happened", read(t, l, today.Date, "acme"), nil)
	expect(t, "nor of this", readMembers(t, l, today.Date, member(1).Member), []lease.Record{{}})
}

func testCancelled(t *testing.T, l lease.Ledger) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := app("acme", "posts.create")
	if err := l.Borrow(ctx, today, []lease.Ask{{Counter: c, Limit: 10, Least: 1, Most: 1}}, make([]lease.Grant, 1)); err == nil {
		t.Error("Borrow went on although it was cancelled before it began")
	}
	if err := l.Return(ctx, today, []lease.Return{{Counter: c, Refused: 1}}); err == nil {
		t.Error("Return went on although it was cancelled before it began")
	}
	expect(t, "nothing happened", read(t, l, today.Date, "acme"), nil)
}

func testHashKey(t *testing.T, l lease.Ledger) {
	expect(t, "the key stays", l.HashKey(), l.HashKey())
	if l.HashKey() == ([16]byte{}) {
		t.Error("the key is not random")
	}
}

func testManyEndpoints(t *testing.T, l lease.Ledger) {
	const n = 2000
	var want []lease.Record
	for first := 0; first < n; first += 500 {
		var asks []lease.Ask
		for i := first; i < first+500; i++ {
			c := app("acme", fmt.Sprintf("e%05d", i))
			asks = append(asks, lease.Ask{Counter: c, Limit: 10, Least: 1, Most: 1})
			want = append(want, lease.Record{Endpoint: c.Endpoint, Granted: 1})
		}
		borrow(t, l, today, asks...)
	}
	expect(t, "endpoints", read(t, l, today.Date, "acme"), want)
}

// testConcurrentBorrows: many borrow from few counters at once; the grants add up to what the counters say, and
// to no more than the limit.
func testConcurrentBorrows(t *testing.T, l lease.Ledger) {
	const borrowers, rounds, limit = 8, 50, 500
	counters := []lease.Counter{app("acme", "posts.create"), app("beta", "posts.create"), member(1), member(2)}
	var mu sync.Mutex
	got := make([]int64, len(counters)) // guarded by mu
	var wg sync.WaitGroup
	for b := range borrowers {
		wg.Go(func() {
			for round := range rounds {
				asks := make([]lease.Ask, len(counters))
				for i := range asks {
					asks[i] = lease.Ask{Counter: counters[(i+b)%len(counters)], Limit: limit, Least: 1, Most: int64(1 + (round+b)%3)}
				}
				grants := make([]lease.Grant, len(asks))
				if err := l.Borrow(context.Background(), today, asks, grants); err != nil {
					t.Errorf("Borrow: %v", err)
					return
				}
				mu.Lock()
				for i, g := range grants {
					got[(i+b)%len(counters)] += g.Calls
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i, c := range counters {
		if got[i] != limit {
			t.Errorf("%v: %d calls were granted of %d, although more were asked for", c, got[i], limit)
		}
	}
	expect(t, "record", read(t, l, today.Date, "acme"), []lease.Record{{Endpoint: "posts.create", Granted: limit}})
	expect(t, "members", readMembers(t, l, today.Date, member(1).Member, member(2).Member), []lease.Record{{Granted: limit}, {Granted: limit}})
}

// testConcurrentReturns: what is borrowed is returned but for one call; nothing gets lost between the two.
func testConcurrentReturns(t *testing.T, l lease.Ledger) {
	const borrowers, rounds = 8, 50
	c := app("acme", "posts.create")
	var wg sync.WaitGroup
	for range borrowers {
		wg.Go(func() {
			for range rounds {
				grants := make([]lease.Grant, 1)
				if err := l.Borrow(context.Background(), today, []lease.Ask{{Counter: c, Limit: quota.Unlimited, Least: 5, Most: 5}}, grants); err != nil {
					t.Errorf("Borrow: %v", err)
					return
				}
				if err := l.Return(context.Background(), today, []lease.Return{{Counter: c, Calls: grants[0].Calls - 1, Refused: 1}}); err != nil {
					t.Errorf("Return: %v", err)
					return
				}
				if _, err := l.Read(context.Background(), today.Date, "acme"); err != nil {
					t.Errorf("Read: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	expect(t, "record", read(t, l, today.Date, "acme"), []lease.Record{{Endpoint: "posts.create", Granted: borrowers * rounds, Refused: borrowers * rounds}})
}
