package ledgertest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/ledgertest"
	"github.com/perdiem/perdiem/quota"
)

// inMemory is a ledger that is the model itself: what it promises to survive is nothing.
type inMemory struct {
	mu    sync.Mutex
	model ledgertest.Model // guarded by mu
}

func newInMemory() *inMemory { return &inMemory{model: ledgertest.Model{}} }

func (m *inMemory) Borrow(ctx context.Context, day quota.Day, asks []lease.Ask, grants []lease.Grant) error {
	if err := errors.Join(ctx.Err(), check(asks, func(a lease.Ask) (lease.Counter, bool) {
		good := a.Least >= 1 && (a.Most >= a.Least || a.Most == 0) && a.Limit >= 0 && a.Limit <= quota.Unlimited && a.Owed >= 0 && a.LastCall >= 0
		return a.Counter, good
	})); err != nil {
		return err
	}
	if len(asks) != len(grants) {
		return fault.New(fault.Invalid, "no place for the grants")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(grants, m.model.Borrow(day.Date, asks))
	return nil
}

func (m *inMemory) Return(ctx context.Context, day quota.Day, returns []lease.Return) error {
	if err := errors.Join(ctx.Err(), check(returns, func(r lease.Return) (lease.Counter, bool) {
		return r.Counter, r.Calls >= 0 && r.Refused >= 0 && r.RefusedForMember >= 0 && r.LastCall >= 0
	})); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.model.Return(day.Date, returns)
	return nil
}

// check refuses what no caller should ask for.
func check[T any](asked []T, counter func(T) (lease.Counter, bool)) error {
	seen := map[lease.Counter]bool{}
	for _, a := range asked {
		c, good := counter(a)
		if !good || seen[c] || c.IsMember() && c.Endpoint != "" || !c.IsMember() && (c.Endpoint == "" || c.Member != lease.MemberKey{}) || len(c.Application) > 256 {
			return fault.New(fault.Invalid, "%+v", a)
		}
		seen[c] = true
	}
	if len(asked) > lease.MaxBatch {
		return fault.New(fault.Invalid, "too many")
	}
	return nil
}

func (m *inMemory) OpenDay(context.Context, quota.Day) error { return nil }

func (m *inMemory) Read(_ context.Context, date quota.Date, application string) ([]lease.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.model.Read(date, application), nil
}

func (m *inMemory) ReadMembers(_ context.Context, date quota.Date, members []lease.MemberKey) ([]lease.Record, error) {
	if len(members) > lease.MaxBatch {
		return nil, fault.New(fault.Invalid, "too many")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	records := make([]lease.Record, len(members))
	for i, key := range members {
		records[i] = m.model[date][lease.Counter{Member: key}]
	}
	return records, nil
}

func (m *inMemory) HashKey() [16]byte { return [16]byte{1} }

// TestRun: the suite passes on a ledger without fault, whatever is wrapped around it without one.
func TestRun(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		ledgertest.Run(t, func(*testing.T) lease.Ledger { return newInMemory() })
	})
	t.Run("wrapped", func(t *testing.T) {
		ledgertest.Run(t, func(*testing.T) lease.Ledger {
			return &ledgertest.Unsynced{Ledger: &ledgertest.Faulty{Ledger: newInMemory(), Plan: ledgertest.None}, Calls: 1}
		})
	})
}

var (
	day     = ledgertest.Day(20_000)
	counter = lease.Counter{Application: "acme", Endpoint: "posts.create"}
)

func borrow(ctx context.Context, l lease.Ledger, most int64) error {
	return l.Borrow(ctx, day, []lease.Ask{{Counter: counter, Limit: 10, Least: 1, Most: most}}, make([]lease.Grant, 1))
}

func granted(t *testing.T, l *inMemory) int64 {
	t.Helper()
	return l.model[day.Date][counter].Granted
}

func TestFaulty(t *testing.T) {
	for _, test := range []struct {
		name    string
		fault   ledgertest.Fault
		err     error
		granted int64
		takes   time.Duration
	}{
		{"nothing", ledgertest.Fault{}, nil, 3, 0},
		{"before", ledgertest.Fault{Before: ledgertest.ErrFault}, ledgertest.ErrFault, 0, 0},
		{"after", ledgertest.Fault{After: ledgertest.ErrFault}, ledgertest.ErrFault, 3, 0},
		{"delay", ledgertest.Fault{Delay: time.Second}, nil, 3, time.Second},
		{"late", ledgertest.Fault{Late: time.Second}, nil, 3, time.Second},
		{"delayed beyond the deadline", ledgertest.Fault{Delay: time.Hour}, context.DeadlineExceeded, 0, time.Minute},
		{"late beyond the deadline", ledgertest.Fault{Late: time.Hour}, context.DeadlineExceeded, 3, time.Minute},
		{"twice", ledgertest.Fault{Twice: true}, nil, 6, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				m := newInMemory()
				l := &ledgertest.Faulty{Ledger: m, Plan: ledgertest.Every(2, ledgertest.Borrow, test.fault)}
				if _, err := l.Read(ctx, day.Date, "acme"); err != nil { // call 0
					t.Errorf("Read: %v", err)
				}
				begun := time.Now()
				err := borrow(ctx, l, 3) // call 1
				if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
					t.Errorf("Borrow: %v, want %v", err, test.err)
				}
				if got := time.Since(begun); got != test.takes {
					t.Errorf("it took %s, want %s", got, test.takes)
				}
				if got := granted(t, m); got != test.granted {
					t.Errorf("%d were granted, want %d", got, test.granted)
				}
			})
		})
	}
}

func TestFirst(t *testing.T) {
	plan := ledgertest.First(
		ledgertest.Every(2, ledgertest.Return, ledgertest.Fault{Twice: true}),
		ledgertest.Every(3, ledgertest.Return, ledgertest.Fault{Delay: 1}),
	)
	var got []ledgertest.Fault
	for n := range int64(6) {
		got = append(got, plan(n, ledgertest.Return))
	}
	want := []ledgertest.Fault{{}, {Twice: true}, {Delay: 1}, {Twice: true}, {}, {Twice: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if f := plan(1, ledgertest.Borrow); f != (ledgertest.Fault{}) {
		t.Errorf("another op: %+v", f)
	}
}

func TestPlanted(t *testing.T) {
	ctx := t.Context()
	m := newInMemory()
	twice := ledgertest.ReturnsTwice(m)
	if err := borrow(ctx, twice, 9); err != nil {
		t.Fatal(err)
	}
	if err := twice.Return(ctx, day, []lease.Return{{Counter: counter, Calls: 2}}); err != nil {
		t.Fatal(err)
	}
	if got := granted(t, m); got != 5 {
		t.Errorf("a return of 2 of 9, applied twice, leaves %d", got)
	}

	m = newInMemory()
	charges := ledgertest.ChargesRefusals{Ledger: m}
	for range 2 {
		if err := borrow(ctx, charges, 10); err != nil {
			t.Fatal(err)
		}
	}
	if got := granted(t, m); got != 11 {
		t.Errorf("10 of 10 granted and 1 refused, charged, make %d", got)
	}

	m = newInMemory()
	unsynced := &ledgertest.Unsynced{Ledger: m, Calls: 2}
	for most := range int64(3) {
		if err := borrow(ctx, unsynced, most+1); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a second crash has nothing left to forget
		if err := unsynced.Crash(ctx); err != nil {
			t.Fatal(err)
		}
		if got := granted(t, m); got != 1 {
			t.Errorf("of 1, 2 and 3 granted, a crash that forgets two leaves %d", got)
		}
	}
}

// TestModelFindsPlanted: the model tells each planted defect from a good ledger.
func TestModelFindsPlanted(t *testing.T) {
	for name, open := range map[string]func(lease.Ledger) lease.Ledger{
		"none":             func(l lease.Ledger) lease.Ledger { return l },
		"returns twice":    ledgertest.ReturnsTwice,
		"charges refusals": func(l lease.Ledger) lease.Ledger { return ledgertest.ChargesRefusals{Ledger: l} },
		"unsynced":         func(l lease.Ledger) lease.Ledger { return &ledgertest.Unsynced{Ledger: l, Calls: 1} },
	} {
		t.Run(name, func(t *testing.T) {
			l, model := open(newInMemory()), ledgertest.Model{}
			found := false
			for i := range 100 {
				asks, returns := ledgertest.Asks().Example(i), ledgertest.Returns().Example(i)
				if err := l.Borrow(t.Context(), day, asks, make([]lease.Grant, len(asks))); err != nil {
					t.Fatal(err)
				}
				model.Borrow(day.Date, asks)
				if err := l.Return(t.Context(), day, returns); err != nil {
					t.Fatal(err)
				}
				model.Return(day.Date, returns)
				if u, ok := l.(*ledgertest.Unsynced); ok {
					if err := u.Crash(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				found = found || model.Check(l) != ""
			}
			if found != (name != "none") {
				t.Errorf("found: %v", found)
			}
		})
	}
}
