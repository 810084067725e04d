package sqlregistry

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/durable"
)

// Options are what a registry may be told besides where it is.
type Options struct {
	Now   func() time.Time   // the clock of the audit and of tokens; nil: the machine's
	Paths catalog.PathPolicy // how paths are read: a catalog that makes no sense then is refused
}

// checkedSize is the size of the largest file, in bytes, that is read through for damage when it is opened: a second's work.
// Damage in a larger one is reported by whoever meets it.
const checkedSize = 64 << 20

// OpenSQLite opens the registry in the file path, which is made where there is none; its folder must exist. The file and those
// that SQLite puts beside it are for their owner's eyes alone. Changes survive a loss of power. The error names the file and says
// how to go on: [fault.Conflict] where a newer perdiem wrote it, and one without a kind where it is damaged.
func OpenSQLite(ctx context.Context, path string, o Options) (*Registry, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := ownerOnly(path); err != nil {
		return nil, err
	}
	writer, err := sqlitePool(path, url.Values{"_txlock": {"immediate"}}, 1)
	if err != nil {
		return nil, err
	}
	reader, err := sqlitePool(path, url.Values{"_query_only": {"1"}}, 4)
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	return open(ctx, path, sqliteDialect, writer, reader, o)
}

var sqliteDialect = dialect{
	goose:      goose.DialectSQLite3,
	migrations: "migrations/sqlite",
	check:      checkSQLite,
	classify:   classifySQLite,
}

// sqlitePool returns up to size connections to the file. They write ahead to a log that each commit syncs (synchronous FULL: a
// killed process and a cut of power lose nothing that was acknowledged), and wait for others for seconds rather than fail.
func sqlitePool(path string, more url.Values, size int) (*sql.DB, error) {
	more["_pragma"] = []string{"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "cell_size_check(1)"}
	more["_busy_timeout"] = []string{"5000"}
	more["_dqs"] = []string{"0"}
	name := url.URL{Scheme: "file", Path: path, RawQuery: more.Encode()}
	connector, err := sqlite.NewConnector(name.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// ownerOnly makes the file where there is none, and takes it out of others' sight where there is one: SQLite gives the files
// that it puts beside it the same mode. It never opens a file that exists, since closing it would take SQLite's locks off it.
func ownerOnly(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return os.Chmod(path, 0o600)
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), durable.SyncFolder(filepath.Dir(path)))
}

// checkSQLite reads the file through for damage, unless it is large.
func checkSQLite(ctx context.Context, db *sql.DB) error {
	var pages, pageSize int64
	if err := db.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, "PRAGMA page_size").Scan(&pageSize); err != nil {
		return err
	}
	if pages*pageSize > checkedSize {
		return nil
	}
	var found string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found); err != nil {
		return err
	}
	if found != "ok" {
		return damage(found)
	}
	return nil
}

// damage is what SQLite's own check found.
type damage string

func (d damage) Error() string { return string(d) }

// classifySQLite tells a damaged file from one that cannot be used at the moment: a disk that is full or fails, another process
// that holds on to it.
func classifySQLite(err error) (kind fault.Kind, damaged bool) {
	if _, ok := errors.AsType[damage](err); ok {
		return fault.Internal, true
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return fault.Internal, false
	}
	switch e.Code() & 0xff { // the primary code; the rest is detail
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fault.Internal, true
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOMEM:
		return fault.Unavailable, false
	default:
		return fault.Internal, false
	}
}
