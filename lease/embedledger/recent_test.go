package embedledger

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// remembering opens a ledger that remembers so few counters that it soon forgets them.
func remembering(t *rapid.T, fs vfs.FS) *Ledger {
	l, err := Open(Options{Dir: "ledger", FS: fs, Free: func(string) (uint64, error) { return 1 << 40, nil }})
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.maxRecent = 2
	for _, day := range l.caches {
		day.recent = newRecent(l.maxRecent)
	}
	return l
}

// checkRecent compares what is remembered of counters with what the store says.
func checkRecent(t *rapid.T, l *Ledger, counters []lease.Counter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, day := range l.caches {
		for _, c := range counters {
			i := item{key: appendCounter(nil, day.date, &c)}
			known, ok := day.recent.recall(&i)
			if !ok {
				continue
			}
			value, closer, err := l.db.Get(i.key)
			if err != nil {
				t.Fatalf("%+v of %v is remembered, and the store says %v", c, day.date, err)
			}
			var stored lease.Record
			if err := errors.Join(decodeRecord(value, &stored), closer.Close()); err != nil {
				t.Fatal(err)
			}
			if known != stored {
				t.Fatalf("%+v of %v: remembered as %+v, stored as %+v", c, day.date, known, stored)
			}
		}
	}
}

// What is remembered of a counter is what the store says of it, whatever happened to both.
func TestRecentAgreesWithTheStore(t *testing.T) {
	rule, err := quota.NewDayRule("UTC", "00:00")
	if err != nil {
		t.Fatal(err)
	}
	var counters []lease.Counter
	for i := range 6 {
		counters = append(counters,
			lease.Counter{Member: numbered(i)}, lease.Counter{Application: "acme", Endpoint: fmt.Sprint("e", i)})
	}
	calls := rapid.Int64Range(0, 20)
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		l := remembering(t, fs)
		defer func() { l.Close() }()
		today := rule.At(time.Unix(1_800_000_000, 0))
		if err := l.OpenDay(t.Context(), today); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			day := today
			if rapid.Bool().Draw(t, "tomorrow") {
				day = rule.After(today)
			}
			step := rapid.SampledFrom([]string{"borrow", "borrow", "borrow", "borrow", "borrow", "return", "return", "return", "open day", "drop", "reopen"}).Draw(t, "step")
			var err error
			switch step {
			case "borrow":
				var asks []lease.Ask
				for _, c := range rapid.SliceOfNDistinct(rapid.SampledFrom(counters), 1, 4, rapid.ID).Draw(t, "counters") {
					least := 1 + calls.Draw(t, "least")
					asks = append(asks, lease.Ask{Counter: c, Limit: 100, Least: least, Most: least + calls.Draw(t, "more"), Owed: calls.Draw(t, "owed")})
				}
				grants := make([]lease.Grant, len(asks))
				err = l.Borrow(t.Context(), day, asks, grants)
				if ask := &asks[0]; err == nil && len(asks) == 1 && ask.Most > ask.Least && grants[0].Calls > 0 {
					i := item{key: appendCounter(nil, day.Date, &ask.Counter)}
					if _, ok := l.cacheLocked(day.Date).recent.recall(&i); !ok { // nobody else uses the ledger
						t.Fatalf("%+v was granted a block, and is not remembered", ask.Counter)
					}
				}
			case "return":
				c := rapid.SampledFrom(counters).Draw(t, "counter")
				err = l.Return(t.Context(), day, []lease.Return{{Counter: c, Calls: calls.Draw(t, "calls"), Refused: calls.Draw(t, "refused"), LastCall: calls.Draw(t, "last call")}})
			case "open day":
				today = rule.After(today)
				err = l.OpenDay(t.Context(), today)
			case "drop":
				err = l.Drop(today.Date)
			case "reopen":
				if err = l.Close(); err == nil {
					l = remembering(t, fs)
				}
			}
			if err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			checkRecent(t, l, counters)
		}
	})
}

// A change that fails half way is not written: nothing of it may be remembered.
func TestRecentForgetsAChangeThatFails(t *testing.T) {
	db, err := pebble.Open("store", &pebble.Options{FS: vfs.NewMem(), Logger: storeLog{disk: newDisk(vfs.NewMem(), false, "", func(error) {}), log: slog.New(slog.DiscardHandler)}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var b batch
	for i := range 2 {
		b.add(1, &lease.Counter{Member: numbered(i)})
	}
	if err := b.sort(); err != nil {
		t.Fatal(err)
	}
	if err := db.Set(b.items[1].key, []byte{0}, pebble.Sync); err != nil { // no record
		t.Fatal(err)
	}
	c := &dayCache{recent: newRecent(maxRecent)}
	w := db.NewBatch()
	defer w.Close()
	err = b.apply(db, w, c, func(_ int, r *lease.Record, _ bool) (changed, soon bool) {
		r.Granted++
		return true, true
	})
	if err == nil {
		t.Fatal("a value that is none was read")
	}
	if r, known := c.recent.recall(&b.items[0]); known {
		t.Errorf("remembered as %+v, and never written", r)
	}
}

func TestRecentIsBounded(t *testing.T) {
	const bound = 100
	g := generations[int]{bound: bound}
	put := func(k int, granted int) {
		t.Helper()
		g.put(k, numbers{granted: int64(granted)})
		if n, ok := g.get(k); !ok || n.granted != int64(granted) {
			t.Fatalf("%d was put as %d, and is %v, %t", k, granted, n, ok)
		}
	}
	for i := range 5 * bound / 2 {
		put(i, i)
		put(max(0, i-bound/2), -i) // of this generation, or of the one before
	}
	if n := len(g.young) + len(g.old); n > 2*bound || n < bound {
		t.Errorf("%d are remembered", n)
	}
	if _, ok := g.get(0); ok {
		t.Error("the oldest is remembered still")
	}
}
