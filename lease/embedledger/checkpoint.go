package embedledger

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/perdiem/perdiem/fault"
)

// checkpointFolder is the folder, in the ledger's own, in which a copy of it is made. There its tables are further names of the same
// files, which another file system could not have.
const checkpointFolder = "checkpoint"

// Checkpoint makes a copy of the ledger as it stands, and returns the folder that holds it: whatever was granted before the call is in it.
// Calls go on meanwhile. The copy takes little room: it shares the tables, and keeps those that the ledger replaces until
// [Ledger.RemoveCheckpoint]. It is to be read at once: a loss of power may damage it. There is one at a time: an earlier one is removed.
func (l *Ledger) Checkpoint(ctx context.Context) (folder string, err error) {
	if err := l.begin(ctx); err != nil {
		return "", err
	}
	defer l.end()
	if err := l.hasRoom(l.space.min); err != nil {
		return "", err
	}
	folder = l.checkpointFolder()
	if err := l.disk.FS.RemoveAll(folder); err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "The ledger's last copy cannot be removed.")
	}
	// A change is in the log's file before it is acknowledged, and the copy has the file as it is: the log need not be flushed for it.
	if err := l.db.Checkpoint(folder); err != nil {
		return "", errors.Join(fault.Wrap(fault.Unavailable, err, "The ledger cannot be copied."), l.disk.FS.RemoveAll(folder))
	}
	if err := l.answers(); err != nil { // its files may have been frozen in the middle of the copy
		return "", errors.Join(err, l.disk.FS.RemoveAll(folder))
	}
	return folder, nil
}

// RemoveCheckpoint removes the copy that [Ledger.Checkpoint] made. It may be called after Close.
func (l *Ledger) RemoveCheckpoint() error {
	return l.disk.FS.RemoveAll(l.checkpointFolder())
}

// tidy removes the copy that a process left which was killed while it made one.
func (l *Ledger) tidy() {
	if _, err := l.disk.FS.Stat(l.checkpointFolder()); err != nil {
		return
	}
	if err := l.RemoveCheckpoint(); err != nil {
		l.log.Warn("a copy of the ledger that was left behind cannot be removed", "folder", l.checkpointFolder(), "error", err)
	}
}

func (l *Ledger) checkpointFolder() string { return l.disk.FS.PathJoin(l.dir, checkpointFolder) }

// isAside reports whether a file belongs to a copy of the ledger and not to the ledger: what goes wrong with it is told to whoever makes
// the copy, and harms nobody else.
func (d *disk) isAside(name string) bool {
	return name == d.aside || strings.HasPrefix(name, d.aside+string(filepath.Separator))
}

// unsynced is a file of a copy. It is not synced: a copy need not survive the loss of power, and Pebble panics where it cannot sync a folder.
type unsynced struct{ vfs.File }

func asideFile(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return unsynced{f}, nil
}

// Sync implements [vfs.File].
func (unsynced) Sync() error { return nil }

// SyncData implements [vfs.File].
func (unsynced) SyncData() error { return nil }

// SyncTo implements [vfs.File].
func (unsynced) SyncTo(int64) (full bool, err error) { return false, nil }
