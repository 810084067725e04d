package embedledger

import (
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

// What is remembered of a counter is what the store says of it, whatever happened to both.
func TestRecentAgreesWithTheStore(t *testing.T) {
	rule, err := quota.NewDayRule("UTC", "00:00")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		l, err := Open(Options{Dir: "ledger", FS: vfs.NewMem(), Free: func(string) (uint64, error) { return 1 << 40, nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		day := rule.At(time.Unix(1_800_000_000, 0))
		if err := l.OpenDay(t.Context(), day); err != nil {
			t.Fatal(err)
		}
		var counters []lease.Counter
		for i := range 3 {
			counters = append(counters,
				lease.Counter{Member: numbered(i)}, lease.Counter{Application: "acme", Endpoint: fmt.Sprint("e", i)})
		}
		calls := rapid.Int64Range(0, 20)
		busy := map[lease.Counter]bool{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			c := rapid.SampledFrom(counters).Draw(t, "counter")
			if rapid.Bool().Draw(t, "borrow") {
				var granted [1]lease.Grant
				least := 1 + calls.Draw(t, "least")
				more := calls.Draw(t, "more")
				err = l.Borrow(t.Context(), day, []lease.Ask{{Counter: c, Limit: 100, Least: least, Most: least + more, Owed: calls.Draw(t, "owed")}}, granted[:])
				busy[c] = busy[c] || more > 0 && granted[0].Calls > 0
			} else {
				err = l.Return(t.Context(), day, []lease.Return{{Counter: c, Calls: calls.Draw(t, "calls"), Refused: calls.Draw(t, "refused"), LastCall: calls.Draw(t, "last call")}})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		f := l.filterLocked(day.Date) // nobody else uses the ledger
		if f == nil {
			return // nothing was borrowed
		}
		for _, c := range counters {
			i := item{key: appendCounter(nil, day.Date, &c)}
			known, ok := f.recent.recall(&i)
			if !ok {
				if busy[c] {
					t.Errorf("%+v had a block, and is not remembered", c)
				}
				continue
			}
			var stored lease.Record
			value, closer, err := l.db.Get(i.key)
			if err != nil {
				t.Fatalf("%+v is remembered, and the store says %v", c, err)
			}
			if err := decodeRecord(value, &stored); err != nil {
				t.Fatal(err)
			}
			if err := closer.Close(); err != nil {
				t.Fatal(err)
			}
			if known != stored {
				t.Errorf("%+v: remembered as %+v, stored as %+v", c, known, stored)
			}
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
	f := &filter{}
	w := db.NewBatch()
	defer w.Close()
	err = b.apply(db, w, f, func(_ int, r *lease.Record, _ bool) (changed, soon bool) {
		r.Granted++
		return true, true
	})
	if err == nil {
		t.Fatal("a value that is none was read")
	}
	if r, known := f.recent.recall(&b.items[0]); known {
		t.Errorf("remembered as %+v, and never written", r)
	}
}

func TestRecentIsBounded(t *testing.T) {
	var g generations[int]
	for i := range 5 * maxRecent / 2 {
		g.put(i, numbers{granted: int64(i)})
		if n, ok := g.get(i); !ok || n.granted != int64(i) {
			t.Fatalf("%d: %v, %t", i, n, ok)
		}
	}
	if n := len(g.young) + len(g.old); n > 2*maxRecent || n < maxRecent {
		t.Errorf("%d are remembered", n)
	}
	if _, ok := g.get(0); ok {
		t.Error("the oldest is remembered still")
	}
}
