package embedledger_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/lease/ledgertest"
	"github.com/perdiem/perdiem/quota"
)

var durabilities = map[string]embedledger.Durability{"disk": embedledger.Disk, "process": embedledger.Process}

// open opens a ledger that is closed when the test ends.
func open(t testing.TB, o embedledger.Options) *embedledger.Ledger {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	l, err := embedledger.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestConformance(t *testing.T) {
	for name, durability := range durabilities {
		t.Run(name, func(t *testing.T) {
			ledgertest.Run(t, func(t *testing.T) lease.Ledger {
				return open(t, embedledger.Options{Durability: durability})
			})
		})
	}
}

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct {
		options embedledger.Options
		says    string
	}{
		"no folder":               {embedledger.Options{}, "needs a folder"},
		"unknown durability":      {embedledger.Options{Dir: dir, Durability: 2}, "must be disk or process"},
		"negative retention":      {embedledger.Options{Dir: dir, RetentionDays: -1}, "must be 1 to 36500"},
		"retention too long":      {embedledger.Options{Dir: dir, RetentionDays: 40_000}, "must be 1 to 36500"},
		"a file where the folder": {embedledger.Options{Dir: "ledger_test.go"}, "cannot be made"},
	} {
		if l, err := embedledger.Open(test.options); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, %v; want %q", name, l, err, test.says)
		}
	}
}

// TestReopen: a ledger that is closed and opened again knows what it knew.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	l, err := embedledger.Open(embedledger.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if day, ok := l.LastDay(); ok {
		t.Errorf("a new ledger has opened %v", day)
	}
	rule, err := quota.NewDayRule("America/New_York", "02:30")
	if err != nil {
		t.Fatal(err)
	}
	day := rule.At(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)) // 25 hours
	longer := day
	longer.End = longer.End.Add(time.Hour)
	for _, open := range []quota.Day{day, longer, ledgertest.Day(day.Date - 1)} { // the last is ignored
		if err := l.OpenDay(context.Background(), open); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Borrow(context.Background(), longer, []lease.Ask{{Counter: shared, Limit: 10, Least: 1, Most: 4, LastCall: 7}}, make([]lease.Grant, 1)); err != nil {
		t.Fatal(err)
	}
	id, secret := l.ID(), l.HashKey()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	if err := l.Borrow(context.Background(), longer, nil, nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Borrow after Close: %v", err)
	}

	l = open(t, embedledger.Options{Dir: dir})
	if l.ID() != id || l.HashKey() != secret || len(id) != 32 {
		t.Errorf("id %q and secret %x became %q and %x", id, secret, l.ID(), l.HashKey())
	}
	if got, ok := l.LastDay(); !ok || got != longer {
		t.Errorf("the last day is %v, %v; want %v", got, ok, longer)
	}
	records, err := l.Read(context.Background(), day.Date, shared.Application)
	if want := []lease.Record{{Endpoint: shared.Endpoint, Granted: 4, LastCall: 7}}; err != nil || !cmp.Equal(records, want) {
		t.Errorf("records %+v, %v; want %+v", records, err, want)
	}
	if other := open(t, embedledger.Options{}); other.ID() == id || other.HashKey() == secret {
		t.Error("two ledgers have one identity")
	}
}

func TestSecondOpen(t *testing.T) {
	dir := t.TempDir()
	open(t, embedledger.Options{Dir: dir})
	refuseSecond(t, dir)
}

// TestRetention: days are kept for as long as they should, and then gone for good.
func TestRetention(t *testing.T) {
	dir := t.TempDir()
	l := open(t, embedledger.Options{Dir: dir, RetentionDays: 3})
	ctx := context.Background()
	borrow := func(date quota.Date) error {
		return l.Borrow(ctx, ledgertest.Day(date), []lease.Ask{{Counter: shared, Limit: 10, Least: 1, Most: 1}}, make([]lease.Grant, 1))
	}
	giveBack := func(date quota.Date) error {
		return l.Return(ctx, ledgertest.Day(date), []lease.Return{{Counter: shared, Refused: 1}})
	}
	const first = quota.Date(20_000)
	for date := first; date < first+10; date++ {
		if err := l.OpenDay(ctx, ledgertest.Day(date)); err != nil {
			t.Fatal(err)
		}
		if err := borrow(date); err != nil {
			t.Fatal(err)
		}
		for old := first; old <= date; old++ {
			kept := old >= date-3
			records, err := l.Read(ctx, old, shared.Application)
			if err != nil || (len(records) > 0) != kept {
				t.Errorf("on %s, %s: %+v, %v", date, old, records, err)
			}
			for what, err := range map[string]error{"borrow": borrow(old), "return": giveBack(old)} {
				if kept && err != nil || !kept && fault.KindOf(err) != fault.Invalid {
					t.Errorf("on %s, %s of %s: %v", date, what, old, err)
				}
			}
		}
	}
	if err := borrow(first + 10); err != nil {
		t.Errorf("borrowing from a day that has not begun: %v", err)
	}
	if err := l.Drop(first + 9); err != nil {
		t.Fatal(err)
	}
	if err := l.Drop(first); err != nil { // brings nothing back
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, embedledger.Options{Dir: dir, RetentionDays: 3})
	for date, kept := range map[quota.Date]bool{first + 8: false, first + 9: true, first + 10: true} {
		if records, err := l.Read(ctx, date, shared.Application); err != nil || (len(records) > 0) != kept {
			t.Errorf("%s after dropping and opening again: %+v, %v", date, records, err)
		}
	}
	if err := borrow(first + 8); fault.KindOf(err) != fault.Invalid {
		t.Errorf("borrowing from a dropped day after opening again: %v", err)
	}
}

// TestSyncs counts the syncs: one for a batch that changes something, none for one that does not.
func TestSyncs(t *testing.T) {
	for name, durability := range durabilities {
		t.Run(name, func(t *testing.T) {
			var syncs atomic.Int64
			fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) && filepath.Ext(op.Path) == ".log" {
					syncs.Add(1)
				}
				return nil
			}))
			l := open(t, embedledger.Options{Dir: "ledger", FS: fs, Durability: durability, Free: plenty})
			syncs.Store(0)
			const batches = 20
			for range batches {
				if err := l.Borrow(context.Background(), ledgertest.Day(benchDate), []lease.Ask{
					{Counter: shared, Limit: batches, Least: 1, Most: 1}, {Counter: lease.Counter{Member: memberKey(1)}, Limit: batches, Least: 1, Most: 1},
				}, make([]lease.Grant, 2)); err != nil {
					t.Fatal(err)
				}
			}
			want := int64(batches)
			if durability == embedledger.Process {
				want = 0
			}
			if got := syncs.Load(); got != want {
				t.Errorf("%d batches were synced %d times, want %d", batches, got, want)
			}
			// Now that the limit is reached, nothing changes any more.
			if err := l.Borrow(context.Background(), ledgertest.Day(benchDate), []lease.Ask{{Counter: shared, Limit: batches, Least: 1, Most: 1}}, make([]lease.Grant, 1)); err != nil {
				t.Fatal(err)
			}
			if got := syncs.Load(); got != want {
				t.Errorf("a refusal was synced")
			}
			stats := l.Stats()
			if diff := cmp.Diff(embedledger.Stats{Borrows: batches + 1, Grants: 2 * batches, Writes: batches}, stats, cmpopts.IgnoreFields(embedledger.Stats{}, "FreeBytes", "DiskBytes")); diff != "" {
				t.Errorf("stats (-want +got):\n%s", diff)
			}
			if stats.FreeBytes != 1<<40 || stats.DiskBytes == 0 {
				t.Errorf("bytes: %+v", stats)
			}
		})
	}
}

// TestOwner: only the owner may read the folder, which holds the secret.
func TestOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "ledger")
	open(t, embedledger.Options{Dir: dir})
	if info, err := vfs.Default.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestClose: nothing of a closed ledger goes on running.
func TestClose(t *testing.T) {
	before := goleak.IgnoreCurrent()
	l, err := embedledger.Open(embedledger.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Drop(benchDate); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}
