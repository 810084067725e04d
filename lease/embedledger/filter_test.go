package embedledger

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// numbered returns the n-th of a sequence of keys that look like hashes.
func numbered(n int) (k lease.MemberKey) {
	return lease.NewMemberKey([16]byte{1}, "acme", "posts.create", quota.Date(n).String())
}

func TestFilterForgetsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f filter
		added := rapid.SliceOfN(rapid.IntRange(-1_000_000, 1_000_000), 1, 500).Draw(t, "added")
		for _, n := range added {
			k := numbered(n)
			f.add(&k)
		}
		for _, n := range added {
			if k := numbered(n); !f.has(&k) {
				t.Fatalf("%d was forgotten", n)
			}
		}
	})
}

func TestFilterGrows(t *testing.T) {
	const n = firstLayer * (1 + growth + growth*growth) // three full layers
	var f filter
	for i := range n {
		k := numbered(i)
		f.add(&k)
	}
	if got := len(f.layers); got != 3 && got != 4 { // what seems to be in already takes no room
		t.Errorf("%d layers", got)
	}
	wrong := 0
	for i := range n {
		if k := numbered(i); !f.has(&k) {
			t.Fatalf("%d was forgotten", i)
		}
		if k := numbered(-1 - i); f.has(&k) {
			wrong++
		}
	}
	if wrong > n/30 {
		t.Errorf("%d of %d that were never added seem to be there", wrong, n)
	}
}

func TestFilterIsBounded(t *testing.T) {
	f := filter{complete: true, layers: make([]layer, maxLayers)}
	for i := range f.layers {
		f.layers[i] = make(layer, 1)
	}
	k := numbered(1)
	f.add(&k)
	if !f.full || f.complete || f.layers != nil {
		t.Errorf("a filter that is full goes on: %+v", f)
	}
	f.add(&k)
}

// A ledger that is opened again must find what it held, before, while and after it reads ahead.
func TestFilterOfAnOpenedLedger(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	start := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	day := quota.Day{Date: 20_781, Start: start, End: start.AddDate(0, 0, 1), Zone: "UTC"}
	const members = 3000
	borrow := func(l *Ledger, from, n int, want int64) {
		t.Helper()
		for i := from; i < from+n; i++ {
			asks := []lease.Ask{{Counter: lease.Counter{Member: numbered(i)}, Limit: 2, Least: 1, Most: 1}}
			grants := make([]lease.Grant, 1)
			if err := l.Borrow(context.Background(), day, asks, grants); err != nil {
				t.Fatal(err)
			}
			if grants[0].Granted != want {
				t.Fatalf("member %d: %d granted, want %d", i, grants[0].Granted, want)
			}
		}
	}
	reopen := func() *Ledger {
		l, err := Open(Options{Dir: dir, Durability: Process, MinFree: 1})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := reopen()
	if err := l.OpenDay(context.Background(), day); err != nil {
		t.Fatal(err)
	}
	borrow(l, 0, members, 1)
	if c := l.cacheLocked(day.Date); c == nil || !c.filter.complete {
		t.Fatalf("a day that was empty has no complete filter: %+v", c)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	l = reopen()
	borrow(l, 0, members/2, 2) // perhaps before all is read
	borrow(l, members, 100, 1)
	l.background.Wait()
	if !l.cacheLocked(day.Date).filter.complete || l.Stats().Reading {
		t.Fatal("what was held is not read ahead")
	}
	borrow(l, members/2, members/2, 2)
	borrow(l, 0, members, 2) // refused: the limit is reached
	borrow(l, members, 100, 2)
	back := []lease.Return{{Counter: lease.Counter{Member: numbered(-5)}, Refused: 1}}
	if err := l.Return(context.Background(), day, back); err != nil {
		t.Fatal(err)
	}
	if k := numbered(-5); !l.cacheLocked(day.Date).filter.has(&k) {
		t.Error("a counter that a note of refusals made is missing")
	}

	// A counter that is made while the others are being read is in it, too.
	c := &dayCache{date: day.Date, recent: newRecent(maxRecent)}
	l.caches = []*dayCache{c}
	borrow(l, 2*members, 1, 1)
	if err := l.fillFilter(c); err != nil || !c.filter.complete {
		t.Fatalf("reading ahead: %v, %+v", err, c)
	}
	borrow(l, 2*members, 1, 2)
	borrow(l, members, 1, 2)

	// Tomorrow's is a second one; today's goes when tomorrow is opened, and who reads for it ends.
	today := day
	day.Date, day.Start, day.End = day.Date+1, day.End, day.End.AddDate(0, 0, 1)
	borrow(l, 0, 10, 1)
	if len(l.caches) != 2 || !l.cacheLocked(day.Date).filter.complete {
		t.Fatalf("%d caches", len(l.caches))
	}
	if err := l.OpenDay(context.Background(), day); err != nil {
		t.Fatal(err)
	}
	if len(l.caches) != 1 || !c.filter.full || c.filter.layers != nil {
		t.Errorf("yesterday's cache stays: %+v", l.caches)
	}
	if err := l.fillFilter(c); err != nil || c.filter.complete {
		t.Errorf("a filter that was let go is filled: %v", err)
	}
	borrow(l, 0, 10, 2)
	tomorrow := day
	day = today
	borrow(l, 0, 1, 2) // yesterday can still be asked
	day = tomorrow
	borrow(l, 0, 1, 2)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
