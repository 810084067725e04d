package sqlregistry

import (
	"context"
	"errors"
	"net/url"
	"os"
)

// Copy writes a copy of the registry, as it stands, into the file path, which must not exist, for its owner's eyes alone: every change that was
// acknowledged before the call is in it. Reading and changing go on meanwhile. Errors are those of every method.
func (r *Registry) Copy(ctx context.Context, path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // SQLite writes into an empty file, and would make one for everybody to read
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// A connection of its own: VACUUM INTO counts as a change for one that only reads, and would hold up the one that changes.
	db, err := sqlitePool(r.name, url.Values{}, 1)
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO $1", path)
	if err = errors.Join(err, db.Close()); err != nil {
		return errors.Join(r.failure(err), os.Remove(path))
	}
	return nil
}
