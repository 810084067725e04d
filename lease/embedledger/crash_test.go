package embedledger_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/lease/embedledger"
)

// plenty of room is on disks that have no size.
func plenty(string) (uint64, error) { return 1 << 40, nil }

// crash is a copy of the files as a crash would leave them.
type crash struct {
	what        string
	fs          *vfs.MemFS
	done, begun int64 // steps of the story
}

// beforeChanges returns files of which f is told before each change, one after the other.
func beforeChanges(files vfs.FS, f func(op errorfs.Op)) vfs.FS {
	var mu sync.Mutex
	return errorfs.Wrap(files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpLock {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		f(op)
		return nil
	}))
}

// crashes tells a story and returns a crash before each change of the files.
func crashes(t *testing.T, tale story, durability embedledger.Durability, unsynced int) (all []crash) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	rng := newRNG(2)
	var done, begun atomic.Int64
	fs := beforeChanges(mem, func(op errorfs.Op) {
		c := crash{what: fmt.Sprintf("crash %d, before %v of %s", len(all), op.Kind, op.Path), done: done.Load()}
		c.fs = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rng})
		c.begun = begun.Load()
		all = append(all, c)
	})
	l, err := embedledger.Open(storyOptions(fs, durability))
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range tale.steps {
		begun.Store(int64(i + 1))
		if err := step(l); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		done.Store(int64(i + 1))
		if i%17 == 16 { // another log begins before the last one ends
			if err := l.FlushStore(); err != nil {
				t.Fatal(err)
			}
		}
		if i%40 == 39 {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if l, err = embedledger.Open(storyOptions(fs, durability)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

func storyOptions(fs vfs.FS, durability embedledger.Durability) embedledger.Options {
	return embedledger.Options{Dir: storyFolder, Durability: durability, FS: fs, Free: plenty, RetentionDays: storyRetention}
}

// survives opens what a crash left. It must hold all that was acknowledged until then, and nothing that was never asked
// for: the state after one of the steps that were done or begun.
func (c crash) survives(tale story, durability embedledger.Durability) error {
	l, err := embedledger.Open(storyOptions(c.fs, durability))
	if err != nil {
		return fmt.Errorf("%s: %w", c.what, err)
	}
	wrong := tale.states[c.done].differs(l)
	for i := c.done + 1; wrong != "" && i <= c.begun; i++ {
		wrong = tale.states[i].differs(l)
	}
	if wrong != "" {
		return errors.Join(fmt.Errorf("%s: after %d steps, %d begun: %s", c.what, c.done, c.begun, wrong), l.Close())
	}
	return l.Close()
}

// recovering opens what a crash left, and returns a second crash before each change of the files that this makes, until the
// ledger is closed again.
func (c crash) recovering(t *testing.T, durability embedledger.Durability, unsynced int) (all []crash) {
	t.Helper()
	mem := c.fs.CrashClone(vfs.CrashCloneCfg{}) // as it is: what a crash left is synced
	rng := newRNG(4)
	fs := beforeChanges(mem, func(op errorfs.Op) {
		again := c
		again.what = fmt.Sprintf("%s; again, %d, before %v of %s", c.what, len(all), op.Kind, op.Path)
		again.fs = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rng})
		all = append(all, again)
	})
	l, err := embedledger.Open(storyOptions(fs, durability))
	if err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
	if err := l.Close(); err != nil {
		t.Fatalf("%s: %v", c.what, err)
	}
	return all
}

// recoverEach returns of how many crashes one is recovered from with crashes meanwhile; a prime, so that it is of all kinds.
func recoverEach() int {
	if testkit.Race {
		return 101
	}
	return 13
}

func TestCrash(t *testing.T) {
	for _, test := range []struct {
		name       string
		durability embedledger.Durability
		unsynced   int // per cent of what was not synced that survives
	}{
		{"disk, power lost, nothing unsynced survives", embedledger.Disk, 0},
		{"disk, power lost, half of it survives", embedledger.Disk, 50},
		{"disk, killed", embedledger.Disk, 100},
		{"process, killed", embedledger.Process, 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			tale := newStory(150)
			all := crashes(t, tale, test.durability, test.unsynced)
			recovering := 0
			for i, c := range all {
				var again []crash
				if i%recoverEach() == 0 {
					again = c.recovering(t, test.durability, test.unsynced)
					recovering += len(again)
				}
				for _, c := range append(again, c) {
					if err := c.survives(tale, test.durability); err != nil {
						t.Fatal(err)
					}
				}
			}
			t.Logf("%d crashes, and %d while the ledger was opened after one", len(all), recovering)
		})
	}
}

// TestCrashFindsMissingSync makes sure that TestCrash would notice a grant that is used before it is synced.
func TestCrashFindsMissingSync(t *testing.T) {
	tale := newStory(20)
	for _, c := range crashes(t, tale, embedledger.Process, 0) {
		if c.survives(tale, embedledger.Process) != nil {
			return
		}
	}
	t.Error("a ledger that never syncs survived every loss of power")
}
