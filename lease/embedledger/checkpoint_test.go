package embedledger_test

import (
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/lease/ledgertest"
)

// granted returns what a counter of an application stands at.
func granted(t *testing.T, l *embedledger.Ledger) int64 {
	t.Helper()
	records, err := l.Read(t.Context(), benchDate, shared.Application)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) == 0 {
		return 0
	}
	return records[0].Granted
}

// TestCheckpoint copies a ledger over and over while it grants. Each copy opens, and holds all that was granted before it was asked for.
func TestCheckpoint(t *testing.T) {
	for name, durability := range durabilities {
		t.Run(name, func(t *testing.T) {
			l := open(t, embedledger.Options{Durability: durability})
			if err := l.OpenDay(t.Context(), ledgertest.Day(benchDate)); err != nil {
				t.Fatal(err)
			}
			var sum atomic.Int64 // acknowledged
			stop := make(chan struct{})
			var borrowers sync.WaitGroup
			for i := range 4 {
				borrowers.Go(func() {
					grants := make([]lease.Grant, 2)
					for n := 0; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						asks := []lease.Ask{
							{Counter: shared, Limit: 1 << 40, Least: 1, Most: 3},
							{Counter: lease.Counter{Member: memberKey(uint64(i<<20 + n))}, Limit: 10, Least: 1, Most: 1},
						}
						if err := l.Borrow(context.Background(), ledgertest.Day(benchDate), asks, grants); err != nil {
							t.Error(err)
							return
						}
						sum.Add(grants[0].Calls)
					}
				})
			}
			for range 5 {
				for before := sum.Load(); sum.Load() < before+300; { //nolint:revive // others make progress
					if _, ok := l.LastDay(); !ok {
						t.Fatal("no day is open")
					}
				}
				least := sum.Load()
				folder, err := l.Checkpoint(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				c, err := embedledger.Open(embedledger.Options{Dir: folder})
				if err != nil {
					t.Fatal(err)
				}
				got, most := granted(t, c), granted(t, l)
				if got < least || got > most {
					t.Errorf("the copy stands at %d; it was asked for at %d, and the ledger is at %d", got, least, most)
				}
				if c.ID() != l.ID() || c.HashKey() != l.HashKey() {
					t.Error("the copy has another identity")
				}
				if day, ok := c.LastDay(); !ok || day.Date != benchDate {
					t.Errorf("the copy's last day is %v, %t", day, ok)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			}
			close(stop)
			borrowers.Wait()
			if err := l.RemoveCheckpoint(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestCheckpointLeftBehind: a copy that a killed process left is gone when the ledger is opened again, and harms nothing.
func TestCheckpointLeftBehind(t *testing.T) {
	dir := t.TempDir()
	l := open(t, embedledger.Options{Dir: dir})
	folder, err := l.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, embedledger.Options{Dir: dir})
	if _, err := vfs.Default.Stat(folder); err == nil {
		t.Errorf("%s is still there", folder)
	}
}

// TestCheckpointFails lets the disk fail at each change that a copy makes. The copy fails or is whole, and the ledger goes on in any case.
func TestCheckpointFails(t *testing.T) {
	for at := int64(0); ; at++ {
		var n atomic.Int64
		n.Store(-1 << 40) // until it is told
		mem := vfs.NewMem()
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpRemoveAll || !strings.Contains(op.Path, "checkpoint") {
				return nil
			}
			if n.Add(1)-1 == at {
				return syscall.ENOSPC // on a file of the ledger's own it would be waited out
			}
			return nil
		}))
		l := open(t, embedledger.Options{Dir: "ledger", FS: fs, Free: plenty})
		borrow := func() {
			t.Helper()
			if err := l.Borrow(t.Context(), ledgertest.Day(benchDate), []lease.Ask{{Counter: shared, Limit: 100, Least: 1, Most: 1}}, make([]lease.Grant, 1)); err != nil {
				t.Fatalf("after change %d of a copy failed: %v", at, err)
			}
		}
		borrow()
		n.Store(0)
		folder, err := l.Checkpoint(t.Context())
		failed := n.Load() > at
		if err == nil {
			c := open(t, embedledger.Options{Dir: folder, FS: mem, Free: plenty})
			if got := granted(t, c); got != 1 {
				t.Errorf("change %d failed, and the copy stands at %d", at, got)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		} else if fault.KindOf(err) != fault.Unavailable || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("change %d failed: %v", at, err)
		}
		borrow()
		if err := l.Healthy(); err != nil {
			t.Errorf("change %d failed: %v", at, err)
		}
		if !failed {
			if at < 6 {
				t.Errorf("a copy made %d changes only", at)
			}
			return
		}
	}
}

// TestRestored: a ledger that is marked has another id, knows what it knew, and says so from then on.
func TestRestored(t *testing.T) {
	dir := t.TempDir()
	l := open(t, embedledger.Options{Dir: dir})
	if r, ok := l.Restored(); ok {
		t.Errorf("a new ledger was restored: %+v", r)
	}
	if err := l.Borrow(t.Context(), ledgertest.Day(benchDate), []lease.Ask{{Counter: shared, Limit: 10, Least: 1, Most: 4}}, make([]lease.Grant, 1)); err != nil {
		t.Fatal(err)
	}
	id, secret := l.ID(), l.HashKey()
	want := embedledger.Restoration{Made: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), At: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)}
	if err := l.MarkRestored(want); err != nil {
		t.Fatal(err)
	}
	renamed := l.ID()
	if renamed == id || l.HashKey() != secret {
		t.Errorf("id %s became %s; the secret stays: %t", id, renamed, l.HashKey() == secret)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, embedledger.Options{Dir: dir})
	if got, ok := l.Restored(); !ok || got != want || l.ID() != renamed || l.HashKey() != secret || granted(t, l) != 4 {
		t.Errorf("opened again: %+v, %t, id %s, granted %d", got, ok, l.ID(), granted(t, l))
	}
	for start, incomplete := range map[time.Time]bool{
		want.Made.Add(-10 * time.Hour): true, // the day of both
		want.At.Add(-time.Minute):      true, // one that began between them
		want.At.Add(9 * time.Hour):     false,
	} {
		if want.IsIncomplete(start) != incomplete {
			t.Errorf("a day that began at %v is incomplete: %t", start, !incomplete)
		}
	}
}

// TestNewerStore: files of a newer Pebble are told from damaged ones, which would be advised to be moved away.
func TestNewerStore(t *testing.T) {
	dir := t.TempDir()
	l := open(t, embedledger.Options{Dir: dir})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	markers, err := filepath.Glob(filepath.Join(dir, "marker.format-version.*"))
	if err != nil || len(markers) != 1 {
		t.Fatalf("%v, %v", markers, err)
	}
	if err := vfs.Default.Rename(markers[0], filepath.Join(dir, "marker.format-version.999999.999")); err != nil {
		t.Fatal(err)
	}
	_, err = embedledger.Open(embedledger.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "was written by a newer perdiem") || strings.Contains(err.Error(), "damage") {
		t.Errorf("got %v", err)
	}
}

// TestFormats: a ledger of each version that is known opens, one without a version or of a later one does not, and says why.
func TestFormats(t *testing.T) {
	for name, c := range map[string]struct {
		format []byte // nil: none
		says   string // empty: it opens
	}{
		"1":         {binary.AppendUvarint(nil, 1), ""},
		"2":         {binary.AppendUvarint(nil, 2), "was written by a newer perdiem (its format is version 2, and this one knows none after 1)"},
		"0":         {binary.AppendUvarint(nil, 0), "the version of its format is malformed"},
		"none":      {nil, "the version of its format is missing"},
		"malformed": {[]byte{0x80}, "the version of its format is malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := open(t, embedledger.Options{Dir: dir}).Close(); err != nil {
				t.Fatal(err)
			}
			db, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatTableFormatV6, Logger: silence{}})
			if err != nil {
				t.Fatal(err)
			}
			if c.format == nil {
				err = db.Delete([]byte("\x00format"), pebble.Sync)
			} else {
				err = db.Set([]byte("\x00format"), c.format, pebble.Sync)
			}
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			l, err := embedledger.Open(embedledger.Options{Dir: dir})
			if err == nil {
				err = l.Close()
			}
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}
