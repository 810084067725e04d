package embedledger_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdiem/perdiem/lease/embedledger"
)

// TestDamage turns a bit in each file of a ledger, at many places. The ledger must refuse to open, name the file and say how
// to go on; or the bit did not matter, and everything is there. The very last change before a kill alone may be missing:
// nothing tells its damage from a write that was cut short.
func TestDamage(t *testing.T) {
	tale := newStory(160)
	mem := vfs.NewCrashableMem()
	l, err := embedledger.Open(storyOptions(mem, embedledger.Disk))
	if err != nil {
		t.Fatal(err)
	}
	beforeLast := int64(0) // steps before the last one that changed something
	for i, step := range tale.steps {
		if i == len(tale.steps)-quietEnd { // what came before goes to tables, what comes stays in the log
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if l, err = embedledger.Open(storyOptions(mem, embedledger.Disk)); err != nil {
				t.Fatal(err)
			}
		}
		written := l.Stats().Writes
		if err := step(l); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if l.Stats().Writes > written {
			beforeLast = int64(i)
		}
	}
	clone := func(fs *vfs.MemFS) *vfs.MemFS {
		return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: newRNG(5)})
	}
	killed := clone(mem)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	end := int64(len(tale.steps))
	rng := newRNG(6)
	for _, left := range []struct {
		name string
		fs   *vfs.MemFS
		done int64 // steps that must be there
	}{
		{"killed", killed, beforeLast},
		{"closed", mem, end},
	} {
		t.Run(left.name, func(t *testing.T) {
			names, err := left.fs.List(storyFolder)
			if err != nil {
				t.Fatal(err)
			}
			refused := map[string]int{} // by kind of file
			for _, name := range names {
				path := filepath.Join(storyFolder, name)
				info, err := left.fs.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				for at := rng.Int64N(53); at < info.Size(); at += 53 {
					fs := clone(left.fs)
					data, err := fs.UnsafeGetFileDataBuffer(path)
					if err != nil {
						t.Fatal(err)
					}
					bit := rng.IntN(8)
					data[at] ^= 1 << bit
					c := crash{what: fmt.Sprintf("bit %d of byte %d of %s", bit, at, name), fs: fs, done: left.done, begun: end}
					err = c.survives(tale, embedledger.Disk)
					switch {
					case err == nil:
					case !strings.Contains(err.Error(), "restore the folder from a backup, or move it away"):
						t.Errorf("says not how to go on: %v", err)
					case !strings.Contains(err.Error(), "file "+name+" is damaged"):
						t.Errorf("names not the file: %v", err)
					default:
						refused[regexp.MustCompile(`[0-9]`).ReplaceAllString(name, "")]++
					}
				}
			}
			t.Logf("refused: %v", refused)
			for _, kind := range []string{"MANIFEST-", ".sst", ".log"} {
				if refused[kind] == 0 {
					t.Errorf("no damage of %s was noticed", kind)
				}
			}
		})
	}
}

// TestMissing takes a file away.
func TestMissing(t *testing.T) {
	for _, test := range []struct{ pattern, says string }{
		{"*.log", ".log is damaged: it is missing, and with it the last changes"},
		{"*.sst", "its files do not fit together"},
		{"MANIFEST-*", "file MANIFEST-"},
		{"marker.manifest.*", "file marker.manifest is damaged"},
		{"marker.format-version.*", "its files do not fit together"},
	} {
		t.Run(test.pattern, func(t *testing.T) {
			mem := vfs.NewMem()
			l, err := embedledger.Open(storyOptions(mem, embedledger.Disk))
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range newStory(60).steps {
				if err := step(l); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			names, err := mem.List(storyFolder)
			if err != nil {
				t.Fatal(err)
			}
			removed := 0
			for _, name := range names {
				if ok, _ := filepath.Match(test.pattern, name); ok {
					removed++
					if err := mem.Remove(filepath.Join(storyFolder, name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if removed == 0 {
				t.Fatalf("there is no %s among %v", test.pattern, names)
			}
			_, err = embedledger.Open(storyOptions(mem, embedledger.Disk))
			if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "move it away") {
				t.Errorf("Open: %v, want %q and how to go on", err, test.says)
			}
		})
	}
}

// TestMissingLog takes the newest log away after each crash of a story: the ledger must refuse to open, and name it, unless nothing was in it yet.
func TestMissingLog(t *testing.T) {
	for _, unsynced := range []int{0, 100} {
		tale := newStory(60)
		refused := 0
		for _, c := range crashes(t, tale, embedledger.Disk, unsynced) {
			names, err := c.fs.List(storyFolder)
			if err != nil {
				continue // before the folder was made
			}
			newest := ""
			for _, name := range names {
				if filepath.Ext(name) == ".log" && !strings.HasPrefix(name, "marker.") {
					newest = max(newest, name)
				}
			}
			if newest == "" {
				continue
			}
			if err := c.fs.Remove(filepath.Join(storyFolder, newest)); err != nil {
				t.Fatal(err)
			}
			c.what += ", without " + newest
			switch err := c.survives(tale, embedledger.Disk); {
			case err == nil:
			case strings.Contains(err.Error(), "file "+newest+" is damaged: it is missing") && strings.Contains(err.Error(), "move it away"):
				refused++
			default:
				t.Fatal(err)
			}
		}
		if refused < len(tale.steps) {
			t.Errorf("%d%% unsynced: only %d refused", unsynced, refused)
		}
	}
}

// TestMarkerlessLedger opens a ledger as earlier versions left it, and a copy: without the marker of the newest log.
func TestMarkerlessLedger(t *testing.T) {
	mem := vfs.NewMem()
	tale := newStory(60)
	for range 2 {
		l, err := embedledger.Open(storyOptions(mem, embedledger.Disk))
		if err != nil {
			t.Fatal(err)
		}
		if len(tale.steps) > 0 {
			for _, step := range tale.steps {
				if err := step(l); err != nil {
					t.Fatal(err)
				}
			}
			tale.steps = nil
		}
		if wrong := tale.states[len(tale.states)-1].differs(l); wrong != "" {
			t.Error(wrong)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		names, err := mem.List(storyFolder)
		if err != nil {
			t.Fatal(err)
		}
		markers := 0
		for _, name := range names {
			if strings.HasPrefix(name, "marker.newest-log.") {
				markers++
				if err := mem.Remove(filepath.Join(storyFolder, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if markers != 1 {
			t.Errorf("%d markers among %v", markers, names)
		}
	}
}

type silence struct{}

func (silence) Infof(string, ...any)  {}
func (silence) Errorf(string, ...any) {}
func (silence) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
