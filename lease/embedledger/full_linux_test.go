package embedledger_test

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/lease/ledgertest"
)

const mib = 1 << 20

// smallDisk is a folder on a file system of diskSize bytes.
type smallDisk struct {
	dir     string
	fs      vfs.FS
	ballast int64 // bytes of it that something else takes
}

const diskSize = 32 * mib

// smallDisks returns the small disks that there are: a real one where this process may mount, and in any case one whose
// writes are counted.
func smallDisks(t *testing.T) map[string]*smallDisk {
	t.Helper()
	counted := &countedFS{FS: vfs.Default, dir: t.TempDir()}
	disks := map[string]*smallDisk{"counted": {dir: counted.dir, fs: counted}}
	dir := t.TempDir()
	if err := unix.Mount("perdiem-test", dir, "tmpfs", 0, "size=32m,mode=0700"); err != nil {
		t.Logf("no real file system: mounting one: %v", err)
		return disks
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	disks["real"] = &smallDisk{dir: dir, fs: vfs.Default}
	return disks
}

// fill makes something else take so much that about left bytes are free.
func (d *smallDisk) fill(t *testing.T, left int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, "ballast"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	until(t, "the ballast is on board", func() bool { // the ledger writes meanwhile
		usage, err := d.fs.GetDiskUsage(d.dir)
		if err != nil {
			t.Fatal(err)
		}
		ballast := max(0, d.ballast+int64(usage.AvailBytes)-left)
		if err := f.Truncate(min(ballast, d.ballast)); err != nil {
			t.Fatal(err)
		}
		if err := unix.Fallocate(int(f.Fd()), 0, 0, max(1, ballast)); err != nil {
			return false
		}
		d.ballast = ballast
		return true
	})
}

// countedFS is a file system that counts the bytes its files have, and has no room for more than diskSize of them.
type countedFS struct {
	vfs.FS
	dir string
	mu  sync.Mutex // one write at a time
}

func (c *countedFS) used() (bytes int64) {
	_ = filepath.Walk(c.dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil // what is gone takes no room
	})
	return bytes
}

func (c *countedFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: uint64(max(0, diskSize-c.used()))}, nil
}

func (c *countedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	return &countedFile{f, c}, nil
}

func (c *countedFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.ReuseForWrite(oldname, newname, category)
	if err != nil {
		return nil, err
	}
	return &countedFile{f, c}, nil
}

type countedFile struct {
	vfs.File
	fs *countedFS
}

// Write writes what there is room for.
func (f *countedFile) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if room := diskSize - f.fs.used(); room < int64(len(p)) {
		n, err := f.File.Write(p[:max(0, room)])
		return n, errors.Join(err, syscall.ENOSPC)
	}
	return f.File.Write(p)
}

func (f *countedFile) Preallocate(int64, int64) error { return syscall.ENOSPC }

// applications borrows for applications that were never seen, whose names are long, one batch after the other.
type applications struct {
	l    *embedledger.Ledger
	next atomic.Uint64
}

func application(n uint64) lease.Counter {
	var name []byte
	for i := range uint64(8) {
		key := memberKey(8*n + i)
		name = hex.AppendEncode(name, key[:])
	}
	return lease.Counter{Application: string(name), Endpoint: "posts.create"}
}

// borrow borrows for n applications more and counts them when it was granted.
func (a *applications) borrow(n int) error {
	from := a.next.Load()
	asks := make([]lease.Ask, n)
	for i := range asks {
		asks[i] = lease.Ask{Counter: application(from + uint64(i)), Limit: 10, Least: 1, Most: 5}
	}
	if err := a.l.Borrow(context.Background(), ledgertest.Day(benchDate), asks, make([]lease.Grant, n)); err != nil {
		return err
	}
	a.next.Store(from + uint64(n))
	return nil
}

// check makes sure that nothing that was granted was forgotten.
func (a *applications) check(t *testing.T, l *embedledger.Ledger) {
	t.Helper()
	for i := range a.next.Load() {
		records, err := l.Read(context.Background(), benchDate, application(i).Application)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) != 1 || records[0].Granted != 5 {
			t.Fatalf("application %d of %d was granted 5 calls, and remembered is %+v", i, a.next.Load(), records)
		}
	}
}

// until tries something until it is done.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting until %s", what)
		}
	}
}

// TestDiskFills fills a small disk by borrowing, then by other means. Grants must stop before it is full, returns later, and
// both go on by themselves when there is room; no grant may be forgotten.
func TestDiskFills(t *testing.T) {
	for name, disk := range smallDisks(t) {
		t.Run(name, func(t *testing.T) {
			const least = 8 * mib
			clock := atomic.Int64{}
			options := embedledger.Options{
				Dir: filepath.Join(disk.dir, "ledger"), FS: disk.fs, MinFree: least,
				Now: func() time.Time { return time.Unix(clock.Add(1), 0) }, // free space is looked at each time
			}
			l, err := embedledger.Open(options)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { l.Close() }()
			disk.fill(t, 16*mib)

			a := applications{l: l}
			for err == nil {
				err = a.borrow(lease.MaxBatch)
			}
			if fault.KindOf(err) != fault.Unavailable || a.next.Load() < 5*lease.MaxBatch {
				t.Fatalf("after %d grants: %v", a.next.Load(), err)
			}
			if err := l.Healthy(); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "MiB are free, 8 MiB are needed") {
				t.Errorf("Healthy: %v", err)
			}
			if usage, err := disk.fs.GetDiskUsage(disk.dir); err != nil || usage.AvailBytes < least/4 {
				t.Errorf("%d bytes were left when grants stopped, %v", usage.AvailBytes, err)
			}

			note := []lease.Return{{Counter: shared, Refused: 1}}
			giveBack := func() error { return l.Return(context.Background(), ledgertest.Day(benchDate), note) }
			disk.fill(t, least/2)
			if err := giveBack(); err != nil {
				t.Errorf("a return while grants have stopped: %v", err)
			}
			disk.fill(t, least/8)
			if err := giveBack(); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("a return while the disk is all but full: %v", err)
			}
			disk.fill(t, 0)
			if err := a.borrow(1); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("a borrow while the disk is full: %v", err)
			}
			a.check(t, l)

			disk.fill(t, 20*mib)
			until(t, "there is room again", func() bool { return a.borrow(1) == nil })
			if err := l.Healthy(); err != nil {
				t.Errorf("Healthy when there is room again: %v", err)
			}
			if err := giveBack(); err != nil {
				t.Errorf("a return when there is room again: %v", err)
			}
			a.check(t, l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if l, err = embedledger.Open(options); err != nil {
				t.Fatal(err)
			}
			a.check(t, l)
		})
	}
}

// TestDiskFull writes on a disk that has no room at all, as when something else took it between two looks. Writes wait,
// others are refused at once, and all goes on when there is room.
func TestDiskFull(t *testing.T) {
	for name, disk := range smallDisks(t) {
		t.Run(name, func(t *testing.T) {
			options := embedledger.Options{Dir: filepath.Join(disk.dir, "ledger"), FS: disk.fs, Free: plenty}
			l, err := embedledger.Open(options)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { l.Close() }()
			disk.fill(t, 2*mib)
			a := applications{l: l}
			var stop atomic.Bool
			var borrower sync.WaitGroup
			borrower.Go(func() {
				for !stop.Load() {
					if err := a.borrow(lease.MaxBatch); err != nil && fault.KindOf(err) != fault.Unavailable {
						t.Errorf("Borrow: %v", err)
						return
					}
				}
			})
			until(t, "a write finds no room", func() bool { return l.Healthy() != nil })
			err = l.Borrow(context.Background(), ledgertest.Day(benchDate), []lease.Ask{{Counter: shared, Limit: 1, Least: 1, Most: 1}}, make([]lease.Grant, 1))
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "waits for room") {
				t.Errorf("Borrow while a write waits for room: %v", err)
			}
			was := a.next.Load()
			disk.fill(t, 20*mib)
			until(t, "borrowing goes on", func() bool { return a.next.Load() > was+lease.MaxBatch })
			stop.Store(true)
			borrower.Wait()
			if err := l.Healthy(); err != nil {
				t.Errorf("Healthy when there is room again: %v", err)
			}
			a.check(t, l)

			// And once more; this time it is closed while it waits, and must not hang.
			disk.fill(t, 2*mib)
			stop.Store(false)
			borrower.Go(func() {
				for !stop.Load() {
					_ = a.borrow(lease.MaxBatch)
				}
			})
			until(t, "a write finds no room again", func() bool { return l.Healthy() != nil })
			if err := l.Close(); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Close on a full disk: %v", err)
			}
			stop.Store(true)
			borrower.Wait()
			disk.fill(t, 20*mib)
			if l, err = embedledger.Open(options); err != nil {
				t.Fatal(err)
			}
			a.check(t, l)
		})
	}
}
