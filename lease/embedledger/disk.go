package embedledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
)

// patience is how long a write that found no room waits before it is tried again.
const patience = 100 * time.Millisecond

// disk is the file system as Pebble sees it. It is there because Pebble, told of an error while it writes, ends the
// process or stops answering; and because durability "process" is a matter of files.
//
//   - A write that finds no room (or no free file descriptor) waits until there is some, once the ledger is open. Meanwhile
//     short is set, and the ledger refuses instead of queueing up behind it.
//   - Any other error of a write freezes the files: failure is set first, then nothing reaches the disk any more and Pebble is
//     told that all is well. The ledger looks at failure before it answers, so nobody is told so. What is on
//     the disk is what a crash at that moment would have left, and opens again.
//   - With durability "process" files are written but not synced: what was written survives the process
//     as it is.
//   - Tables are given back to the file system piece by piece.
//   - Files of a copy (see [Ledger.Checkpoint]) are none of this type's business.
type disk struct {
	vfs.FS
	sync    bool
	aside   string                              // the folder of copies
	newest  *atomicfs.Marker                    // of the newest log; nil until the store is opened
	patient atomic.Bool                         // set once the ledger is open
	short   atomic.Int32                        // writes that wait for room
	failure atomic.Pointer[error]               // why the files are frozen; nil: they are not
	onFail  func(error)                         // called once, when they are
	shrink  func(name string, size int64) error // shortens a file; nil: files are removed whole
	stop    chan struct{}                       // closed by Close: nothing waits any longer
	stopped sync.Once
}

func newDisk(fs vfs.FS, sync bool, aside string, onFail func(error)) *disk {
	d := &disk{FS: fs, sync: sync, aside: aside, onFail: onFail, stop: make(chan struct{})}
	if fs == vfs.Default {
		d.shrink = os.Truncate
	}
	return d
}

// Close ends all waiting for room.
func (d *disk) Close() { d.stopped.Do(func() { close(d.stop) }) }

// fail freezes the files; the first reason counts.
func (d *disk) fail(reason error) {
	if d.failure.CompareAndSwap(nil, &reason) {
		d.onFail(reason)
	}
}

// failed returns why the files are frozen, or nil.
func (d *disk) failed() error {
	if p := d.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// try does something that changes files, until there is room for it. It reports whether it was done: if not, the files
// are frozen.
func (d *disk) try(what string, do func() error) (done bool) {
	waiting := false
	defer func() {
		if waiting {
			d.short.Add(-1)
		}
	}()
	for d.failed() == nil {
		err := do()
		switch {
		case err == nil:
			return true
		case !isShortage(err) || !d.patient.Load():
			d.fail(fmt.Errorf("%s: %w", what, err))
			return false
		}
		if !waiting {
			waiting = true
			d.short.Add(1)
		}
		select {
		case <-d.stop:
			d.fail(fmt.Errorf("%s: %w", what, err))
		case <-time.After(patience):
		}
	}
	return false
}

// isShortage reports whether an error goes away when something else is removed or closed.
func isShortage(err error) bool {
	for _, e := range [...]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// open makes a file by what do opens; when the files are frozen, one that forgets what is written to it.
func (d *disk) open(what, name string, do func() (vfs.File, error)) vfs.File {
	var f vfs.File
	if d.try(what+" "+name, func() (err error) {
		f, err = do()
		return err
	}) {
		return &diskFile{File: f, disk: d, name: name}
	}
	return nowhere{name: d.PathBase(name)}
}

// Create implements [vfs.FS]. A manifest is made known to its folder at once: Pebble does so only together with the
// marker that points to it, and a loss of power could leave the marker alone.
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if d.isAside(name) {
		return asideFile(d.FS.Create(name, c))
	}
	f := d.open("create", name, func() (vfs.File, error) { return d.FS.Create(name, c) })
	if strings.HasPrefix(d.PathBase(name), "MANIFEST-") {
		d.syncFolder(d.PathDir(name))
	}
	d.noteLog(name)
	return f, nil
}

// OpenReadWrite implements [vfs.FS].
func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if d.isAside(name) {
		return asideFile(d.FS.OpenReadWrite(name, c, o...))
	}
	return d.open("open", name, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, c, o...) }), nil
}

// ReuseForWrite implements [vfs.FS].
func (d *disk) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f := d.open("create", newname, func() (vfs.File, error) { return d.FS.ReuseForWrite(oldname, newname, c) })
	d.noteLog(newname)
	return f, nil
}

// OpenDir implements [vfs.FS].
func (d *disk) OpenDir(name string) (vfs.File, error) {
	if d.isAside(name) {
		return asideFile(d.FS.OpenDir(name))
	}
	return d.open("open", name, func() (vfs.File, error) { return d.FS.OpenDir(name) }), nil
}

// Open implements [vfs.FS]. On frozen files, a failure is slow, so that Pebble does not spin on it.
func (d *disk) Open(name string, o ...vfs.OpenOption) (f vfs.File, err error) {
	if d.failed() != nil {
		if f, err = d.FS.Open(name, o...); err != nil {
			select {
			case <-d.stop:
			case <-time.After(patience):
			}
		}
		return f, err
	}
	return d.FS.Open(name, o...)
}

// Link implements [vfs.FS].
func (d *disk) Link(oldname, newname string) error {
	if d.isAside(newname) {
		return d.FS.Link(oldname, newname)
	}
	d.try("link "+newname, func() error { return d.FS.Link(oldname, newname) })
	return nil
}

// Rename implements [vfs.FS].
func (d *disk) Rename(oldname, newname string) error {
	if d.isAside(newname) {
		return d.FS.Rename(oldname, newname)
	}
	d.try("rename "+oldname, func() error { return d.FS.Rename(oldname, newname) })
	return nil
}

// MkdirAll implements [vfs.FS].
func (d *disk) MkdirAll(name string, perm os.FileMode) error {
	if d.isAside(name) {
		return d.FS.MkdirAll(name, perm)
	}
	d.try("make folder "+name, func() error { return d.FS.MkdirAll(name, perm) })
	return nil
}

// Remove implements [vfs.FS]. A file that cannot be removed is Pebble's to try again.
func (d *disk) Remove(name string) error {
	if d.isAside(name) {
		return d.FS.Remove(name)
	}
	d.shorten(name)
	if d.failed() != nil {
		return nil
	}
	return d.FS.Remove(name)
}

// What a table gives back at a time, in bytes, and the pause after it: 100 MiB a second. ext4 takes 3 ms to take back a table of 8 MiB, in which a sync beside
// it waits, and a day that is dropped has dozens of them.
const (
	piece      = 256 << 10
	piecePause = 2500 * time.Microsecond
)

// shorten gives back all but the first piece of a table that is about to be removed, and that nobody reads any more. It leaves one alone of which a copy has
// a link. Where room is short, the files are frozen, or the ledger closes, the rest goes at once.
func (d *disk) shorten(name string) {
	if d.shrink == nil || !strings.HasSuffix(name, ".sst") || links(name) != 1 {
		return
	}
	info, err := d.FS.Stat(name)
	if err != nil {
		return
	}
	for left := info.Size() - piece; left > 0 && d.failed() == nil && d.short.Load() == 0; left -= piece {
		if d.shrink(name, left) != nil {
			return
		}
		select {
		case <-d.stop:
			return
		case <-time.After(piecePause):
		}
	}
}

// RemoveAll implements [vfs.FS].
func (d *disk) RemoveAll(name string) error {
	if d.isAside(name) {
		return d.FS.RemoveAll(name)
	}
	if d.failed() != nil {
		return nil
	}
	return d.FS.RemoveAll(name)
}

// Unwrap implements [vfs.FS].
func (d *disk) Unwrap() vfs.FS { return d.FS }

// diskFile is a file that is written to.
type diskFile struct {
	vfs.File
	disk *disk
	name string
}

// Write writes all of p, waiting for room where there is none.
func (f *diskFile) Write(p []byte) (int, error) {
	written := 0
	f.disk.try("write "+f.name, func() error {
		n, err := f.File.Write(p[written:])
		written += n
		return err
	})
	return len(p), nil
}

// WriteAt writes all of p, waiting for room where there is none.
func (f *diskFile) WriteAt(p []byte, offset int64) (int, error) {
	written := 0
	f.disk.try("write "+f.name, func() error {
		n, err := f.File.WriteAt(p[written:], offset+int64(written))
		written += n
		return err
	})
	return len(p), nil
}

// Preallocate does nothing. Pebble would reserve a log's full size for each of several logs, which surprises whoever counts
// free bytes, and measured no faster.
func (f *diskFile) Preallocate(int64, int64) error { return nil }

// Sync makes the file durable. It is not tried again when it fails: the kernel may have forgotten what it could
// not write.
func (f *diskFile) Sync() error { return f.syncBy(f.File.Sync) }

// SyncData is Sync without metadata.
func (f *diskFile) SyncData() error { return f.syncBy(f.File.SyncData) }

// SyncTo begins to make the file's first bytes durable.
func (f *diskFile) SyncTo(length int64) (full bool, err error) {
	err = f.syncBy(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f *diskFile) syncBy(do func() error) error {
	if f.disk.sync && f.disk.failed() == nil {
		if err := do(); err != nil {
			f.disk.fail(fmt.Errorf("sync %s: %w", f.name, err))
		}
	}
	return nil
}

// Close closes the file. An error means that something written earlier may be lost.
func (f *diskFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.disk.fail(fmt.Errorf("close %s: %w", f.name, err))
	}
	return nil
}

// nowhere is a file made after the files were frozen.
type nowhere struct{ name string }

func (nowhere) Close() error                           { return nil }
func (nowhere) Read([]byte) (int, error)               { return 0, io.EOF }
func (nowhere) ReadAt([]byte, int64) (int, error)      { return 0, io.EOF }
func (nowhere) Write(p []byte) (int, error)            { return len(p), nil }
func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nowhere) Preallocate(int64, int64) error         { return nil }
func (nowhere) Sync() error                            { return nil }
func (nowhere) SyncTo(int64) (bool, error)             { return true, nil }
func (nowhere) SyncData() error                        { return nil }
func (nowhere) Prefetch(int64, int64) error            { return nil }
func (nowhere) Fd() uintptr                            { return vfs.InvalidFd }
func (n nowhere) Stat() (vfs.FileInfo, error)          { return nowhereInfo(n), nil }

// nowhereInfo describes a nowhere: an empty file.
type nowhereInfo struct{ name string }

func (i nowhereInfo) Name() string         { return i.name }
func (nowhereInfo) Size() int64            { return 0 }
func (nowhereInfo) Mode() os.FileMode      { return 0 }
func (nowhereInfo) ModTime() time.Time     { return time.Time{} }
func (nowhereInfo) IsDir() bool            { return false }
func (nowhereInfo) Sys() any               { return nil }
func (nowhereInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
