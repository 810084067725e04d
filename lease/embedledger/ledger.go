// Package embedledger keeps the ledger of one node in a folder, on Pebble.
//
// What [Ledger.Borrow] granted survives the process, whatever kills it, and with [Disk] also the power. A folder has one
// ledger and a ledger one process: a second is refused. [Ledger.Checkpoint] copies a ledger that is in use; a copy that is brought
// back forgets what was granted since it was made, and [Ledger.MarkRestored] makes it say so. A folder that was copied by
// other means is not noticed.
//
// The ledger never gives a wrong answer instead of none. When the disk is almost full, grants stop until there is
// room; when it fails, the ledger answers no one any more, [Ledger.Healthy] says why, and the process lives on. Files that
// are damaged or gone are refused at the start, by name.
package embedledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/lease"
)

// Durability says what a grant survives.
type Durability uint8

// The durabilities.
const (
	Disk    Durability = iota // the loss of power: a grant is synced before it is used
	Process                   // the end of the process, by kill -9 too, but not the loss of power
)

// Options say how a ledger is kept. Dir must be set.
type Options struct {
	Dir           string // made where it does not exist; nothing else may be in it
	Durability    Durability
	RetentionDays int    // days before the last opened one that are kept; 0 means 8
	MinFree       uint64 // bytes of the disk that stay free: grants stop below it, returns below a quarter; 0 means 256 MiB

	Free   func(dir string) (uint64, error) // bytes that are free; nil: what the file system says
	FS     vfs.FS                           // nil: the machine's
	Logger *slog.Logger                     // nil: nothing is logged
	Now    func() time.Time                 // nil: time.Now
}

const (
	defaultRetentionDays = 8
	maxRetentionDays     = 36_500
	defaultMinFree       = 256 << 20
)

// Ledger is a [lease.Ledger] in a folder. Use [Open].
type Ledger struct {
	dir       string
	retention int64 // days
	db        *pebble.DB
	lock      *pebble.Lock
	disk      *disk
	space     *space
	log       *slog.Logger

	// open is held for reading by each call under way, and for writing by Close. Who works in the background holds nothing.
	open   sync.RWMutex
	closed atomic.Bool // set by who holds open for writing

	// mu makes each change one step: read, compute, write. Syncing is waited for outside of it, so that the next change need
	// not wait; it may read what is not durable yet, but is durable itself only after that.
	mu     sync.Mutex
	meta   meta        // its day and dropped are guarded by mu
	work   batch       // guarded by mu
	caches []*dayCache // of today and tomorrow; guarded by mu
	last   uint64      // number of the last change; guarded by mu

	maxRecent int // the bound of what each day's recent remembers

	durable highest // number of the last change that is known to be durable

	background sync.WaitGroup // flushes after days were dropped, and filling filters
	scans      atomic.Int64   // filters that are being filled
	stats      counters
}

type counters struct {
	borrows, grants, returns, writes atomic.Int64
}

var _ lease.Ledger = (*Ledger)(nil)

// Open opens the ledger in a folder, and makes it where there is none. Errors say what to do.
func Open(o Options) (*Ledger, error) {
	if o.Dir == "" {
		return nil, errors.New("the ledger needs a folder")
	}
	if o.Durability > Process {
		return nil, fmt.Errorf("durability %d: must be disk or process", o.Durability)
	}
	if o.RetentionDays < 0 || o.RetentionDays > maxRetentionDays {
		return nil, fmt.Errorf("retention of %d days: must be 1 to %d", o.RetentionDays, maxRetentionDays)
	}
	if o.RetentionDays == 0 {
		o.RetentionDays = defaultRetentionDays
	}
	if o.MinFree == 0 {
		o.MinFree = defaultMinFree
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Free == nil {
		fs := o.FS
		o.Free = func(dir string) (uint64, error) {
			usage, err := fs.GetDiskUsage(dir)
			return usage.AvailBytes, err
		}
	}

	l := &Ledger{dir: o.Dir, retention: int64(o.RetentionDays), maxRecent: maxRecent, log: o.Logger}
	l.disk = newDisk(o.FS, o.Durability == Disk, o.FS.PathJoin(o.Dir, checkpointFolder), func(err error) {
		l.log.Error("the ledger failed and answers no more; see to its disk, then start perdiem again", "folder", l.dir, "error", err)
	})
	l.space = &space{free: func() (uint64, error) { return o.Free(o.Dir) }, min: o.MinFree, now: o.Now}

	if err := makeFolder(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("the ledger's folder %s cannot be made: %w", o.Dir, err)
	}
	lock, err := pebble.LockDirectory(o.Dir, o.FS)
	if err != nil {
		return nil, lockError(o.Dir, err)
	}
	l.lock = lock
	l.tidy()
	if err := l.load(storeOptions(l.disk, lock, o.Logger)); err != nil {
		_ = l.shut() // it says nothing new
		return nil, l.openError(err)
	}
	return l, nil
}

// load opens the store, having looked at its files, and reads what it says of itself.
func (l *Ledger) load(o *pebble.Options) error {
	v := verifier{fs: l.disk, dir: l.dir}
	last, err := v.before(o)
	if err != nil {
		return err
	}
	l.last = last
	l.durable.raise(last)
	if err := l.disk.markNewest(l.dir); err != nil {
		return err
	}
	if l.db, err = pebble.Open(l.dir, o); err != nil {
		err = &damage{how: oneLine(err)}
	} else {
		err = v.tables(l.db, o)
	}
	if failed := l.disk.failed(); failed != nil && (err == nil || !isDamage(failed)) {
		return failed // what else went wrong came of it
	}
	if err != nil {
		return err
	}
	if err := l.meta.load(l.db); err != nil {
		return damaged(err)
	}
	if !l.meta.day.Start.IsZero() {
		if err := l.openCacheLocked(l.meta.day.Date); err != nil { // nobody else knows l yet
			return damaged(err)
		}
	}
	l.disk.patient.Store(true)
	return l.disk.failed()
}

// makeFolder makes a folder, and those above it that do not exist, so that they survive a loss of power.
func makeFolder(fs vfs.FS, dir string) error {
	var above []string // the folders that get a new entry
	for at := dir; ; at = fs.PathDir(at) {
		_, err := fs.Stat(at)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) || fs.PathDir(at) == at {
			return err
		}
		above = append(above, fs.PathDir(at))
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, folder := range above {
		f, err := fs.OpenDir(folder)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// lockError explains why a folder could not be locked.
func lockError(dir string, err error) error {
	// Besides what the system says, there is Pebble's own error of a folder that this process has open already.
	if errors.Is(err, syscall.EAGAIN) || !errors.As(err, new(syscall.Errno)) {
		return fmt.Errorf("the ledger's folder %s is in use by another process: stop that one first, or give this one a data folder of its own (%w)", dir, err)
	}
	return fmt.Errorf("the ledger's folder %s cannot be locked: %w", dir, err)
}

// openError explains why a ledger could not be opened, and how to go on.
func (l *Ledger) openError(err error) error {
	if newer, ok := errors.AsType[*newerError](err); ok {
		return fmt.Errorf("the ledger in %s %w", l.dir, newer)
	}
	if isDamage(err) {
		return fmt.Errorf("the ledger in %s: %w; restore the folder from a backup, or move it away and start once with --accept-ledger, which lets today's counts begin at zero", l.dir, err)
	}
	return fmt.Errorf("the ledger in %s cannot be opened: %w", l.dir, err)
}

// shut closes what Open opened.
func (l *Ledger) shut() error {
	l.disk.Close()
	l.closed.Store(true)
	l.background.Wait()
	var err error
	if l.db != nil {
		err = l.db.Close()
	}
	if l.disk.newest != nil {
		err = errors.Join(err, l.disk.newest.Close())
	}
	return errors.Join(err, l.lock.Close())
}

// Close waits for the calls under way and closes the ledger. Calls after it are refused.
func (l *Ledger) Close() error {
	l.disk.Close() // a call that waits for room waits no longer
	l.open.Lock()
	defer l.open.Unlock()
	if l.closed.Swap(true) {
		return nil
	}
	l.background.Wait()
	err := errors.Join(l.seal(), l.shut())
	if failed := l.disk.failed(); failed != nil {
		return fmt.Errorf("the ledger in %s failed before it was closed: %w", l.dir, failed)
	}
	if err != nil {
		return fmt.Errorf("the ledger in %s did not close cleanly: %w", l.dir, err)
	}
	return nil
}

// begin begins a call; end must be called after it when it returns nil.
func (l *Ledger) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.open.RLock()
	err := l.answers()
	if err != nil {
		l.open.RUnlock()
	}
	return err
}

func (l *Ledger) end() { l.open.RUnlock() }

// answers returns why the ledger cannot answer, or nil.
func (l *Ledger) answers() error {
	if l.closed.Load() {
		return fault.New(fault.Unavailable, "The ledger is closed.")
	}
	if err := l.disk.failed(); err != nil {
		return fault.Wrap(fault.Unavailable, err, "The ledger has failed.")
	}
	return nil
}

// Healthy returns nil when the ledger grants, and else why it does not.
func (l *Ledger) Healthy() error {
	if err := l.begin(context.Background()); err != nil {
		return err
	}
	defer l.end()
	return l.hasRoom(l.space.min)
}

// hasRoom returns an error when fewer bytes than least are free, or a write is waiting for room.
func (l *Ledger) hasRoom(least uint64) error {
	if l.disk.short.Load() > 0 {
		return fault.New(fault.Unavailable, "The ledger waits for room on its disk.")
	}
	return l.space.check(least)
}

// Stats are figures about a ledger since it was opened, for metrics.
type Stats struct {
	Borrows   int64  // calls of Borrow that were answered
	Grants    int64  // grants of at least one call in them
	Returns   int64  // calls of Return that were answered
	Writes    int64  // batches written; with Disk each was synced
	FreeBytes uint64 // of the disk; 0 when it cannot be told
	DiskBytes uint64 // taken by the ledger's files
	Reading   bool   // what the ledger held when it was opened is being read ahead: it is slower meanwhile
}

// Stats returns figures for metrics. After Close they are zero.
func (l *Ledger) Stats() Stats {
	l.open.RLock()
	defer l.open.RUnlock()
	if l.closed.Load() {
		return Stats{}
	}
	free, _ := l.space.free()
	return Stats{
		Borrows:   l.stats.borrows.Load(),
		Grants:    l.stats.grants.Load(),
		Returns:   l.stats.returns.Load(),
		Writes:    l.stats.writes.Load(),
		FreeBytes: free,
		DiskBytes: l.db.Metrics().DiskSpaceUsage(),
		Reading:   l.scans.Load() > 0,
	}
}
