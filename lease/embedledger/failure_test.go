package embedledger_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/lease/ledgertest"
)

var errDead = errors.New("the disk is dead")

// TestDiskFails tells a story on a disk that fails at one of its changes, at each in turn. The ledger must refuse from then
// on, say why, close, and leave files that hold all that was acknowledged.
func TestDiskFails(t *testing.T) {
	for _, test := range []struct {
		name  string
		fails func(n, at int64) bool // whether the n-th change of the disk fails
	}{
		{"for good", func(n, at int64) bool { return n >= at }},
		{"once", func(n, at int64) bool { return n == at }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			tale := newStory(40)
			at := int64(0)
			for ; ; at++ {
				mem := vfs.NewCrashableMem()
				var n atomic.Int64
				fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
					switch {
					case op.Kind.ReadOrWrite() == errorfs.OpIsRead, op.Kind == errorfs.OpLock:
						return nil
					case op.Kind == errorfs.OpRemove, op.Kind == errorfs.OpFilePreallocate:
						return nil // their failure harms nobody
					}
					if test.fails(n.Add(1)-1, at) {
						return errDead
					}
					return nil
				}))
				done, ended := tellUntilFailure(t, tale, fs)
				if n.Load() <= at {
					break // the story ended before the disk failed
				}
				if ended {
					t.Fatalf("the disk failed at change %d of %d, and nobody noticed", at, n.Load())
				}
				begun := min(int64(done)+1, int64(len(tale.steps)))
				for what, clone := range map[string]*vfs.MemFS{
					"as it is":                mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: newRNG(3)}),
					"and then the power lost": mem.CrashClone(vfs.CrashCloneCfg{}),
				} {
					c := crash{what: what, fs: clone, done: int64(done), begun: begun}
					if err := c.survives(tale, embedledger.Disk); err != nil {
						t.Fatalf("the disk failed at change %d: %v", at, err)
					}
				}
			}
			t.Logf("failed at each of %d changes", at)
		})
	}
}

// tellUntilFailure returns the number of steps that were acknowledged, and whether those were all and the ledger closed
// without complaint.
func tellUntilFailure(t *testing.T, tale story, fs vfs.FS) (done int, ended bool) {
	t.Helper()
	l, err := embedledger.Open(storyOptions(fs, embedledger.Disk))
	if err != nil {
		if !errors.Is(err, errDead) {
			t.Fatalf("Open: %v", err)
		}
		return 0, false
	}
	for ; done < len(tale.steps); done++ {
		if err = tale.steps[done](l); err != nil {
			break
		}
	}
	if err != nil {
		refused(t, l, err)
	}
	closing := l.Close()
	if err != nil && closing == nil {
		t.Error("Close says nothing of the failure")
	}
	return done, err == nil && closing == nil
}

// refused makes sure that a ledger which answered with err answers nobody any more.
func refused(t *testing.T, l *embedledger.Ledger, err error) {
	t.Helper()
	ctx, day := context.Background(), ledgertest.Day(20_001)
	ask := lease.Ask{Counter: lease.Counter{Member: lease.MemberKey{9}}, Limit: 1, Least: 1, Most: 1}
	_, readError := l.Read(ctx, day.Date, "a")
	_, readMembersError := l.ReadMembers(ctx, day.Date, []lease.MemberKey{{9}})
	for name, err := range map[string]error{
		"the first":    err,
		"Borrow":       l.Borrow(ctx, day, []lease.Ask{ask}, make([]lease.Grant, 1)),
		"an empty one": l.Borrow(ctx, day, nil, nil),
		"Return":       l.Return(ctx, day, []lease.Return{{Counter: ask.Counter, Refused: 1}}),
		"OpenDay":      l.OpenDay(ctx, ledgertest.Day(30_000)),
		"Drop":         l.Drop(20_000),
		"Read":         readError,
		"ReadMembers":  readMembersError,
		"Healthy":      l.Healthy(),
	} {
		if fault.KindOf(err) != fault.Unavailable || !errors.Is(err, errDead) {
			t.Errorf("%s after the disk failed: %v, want unavailable because %v", name, err, errDead)
		}
		if strings.Contains(fault.Message(err), "disk") {
			t.Errorf("%s tells the caller of the disk: %s", name, fault.Message(err))
		}
	}
}
