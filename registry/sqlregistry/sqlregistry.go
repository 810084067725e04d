// Package sqlregistry is a [registry.Registry] in an SQL database: SQLite in the data folder, by [OpenSQLite].
//
// The statements are those that SQLite and PostgreSQL share. What differs between databases is in one [dialect] and in its
// folder of migrations, which are embedded and run when the database is opened. A database with a newer schema than this program
// knows is refused.
package sqlregistry

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

//go:embed migrations
var migrations embed.FS

// dialect is what differs between databases.
type dialect struct {
	goose      goose.Dialect
	migrations string                                      // the folder
	check      func(context.Context, *sql.DB) error        // whether the database is whole
	classify   func(error) (kind fault.Kind, damaged bool) // of an error of the driver's
}

// Registry keeps everything in one database. It is safe for concurrent use.
type Registry struct {
	name    string // of the database, for messages: a file's path
	dialect dialect
	writer  *sql.DB // every change; SQLite allows one at a time, so this has one connection
	reader  *sql.DB
	now     func() time.Time
	paths   catalog.PathPolicy // by which catalogs are checked

	tokenByHash *sql.Stmt
	revocations *sql.Stmt
}

var _ registry.Registry = (*Registry)(nil)

// open brings the schema up to date and returns the registry. It closes both pools when it fails.
func open(ctx context.Context, name string, d dialect, writer, reader *sql.DB, o Options) (_ *Registry, err error) {
	r := &Registry{name: name, dialect: d, writer: writer, reader: reader, now: o.Now, paths: o.Paths}
	defer func() {
		if err != nil {
			err = errors.Join(r.failure(err), r.Close())
		}
	}()
	if err := d.check(ctx, writer); err != nil {
		return nil, err
	}
	if err := r.migrate(ctx); err != nil {
		return nil, err
	}
	if r.tokenByHash, err = reader.PrepareContext(ctx, selectTokenByHash); err != nil {
		return nil, err
	}
	if r.revocations, err = reader.PrepareContext(ctx, selectRevocations); err != nil {
		return nil, err
	}
	return r, nil
}

// migrate runs the migrations that the database has not seen yet.
func (r *Registry) migrate(ctx context.Context) error {
	folder, err := fs.Sub(migrations, r.dialect.migrations)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(r.dialect.goose, r.writer, folder,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	have, know, err := provider.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > know {
		return fault.New(fault.Conflict, "registry %s: its schema is version %d, and this perdiem knows none after %d: "+
			"run the newer perdiem that wrote it, or restore a backup from before the upgrade", r.name, have, know)
	}
	_, err = provider.Up(ctx)
	return err
}

// Close waits for what is under way and lets go of the database.
func (r *Registry) Close() error {
	// The writer goes last: as the last connection to an SQLite file, it folds the log into the file.
	return errors.Join(r.reader.Close(), r.writer.Close())
}

// errRollback ends a transaction without changing anything, and without being an error.
var errRollback = errors.New("roll back")

// write runs change in a transaction of its own, which no other change overlaps. Nothing of it stays when it returns an error.
func (r *Registry) write(ctx context.Context, change func(*sql.Tx) error) error {
	return r.transact(ctx, r.writer, nil, change)
}

// read runs query on one state of the database.
func (r *Registry) read(ctx context.Context, query func(*sql.Tx) error) error {
	return r.transact(ctx, r.reader, &sql.TxOptions{ReadOnly: true}, query)
}

func (r *Registry) transact(ctx context.Context, db *sql.DB, o *sql.TxOptions, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, o)
	if err != nil {
		return r.failure(err)
	}
	if err := do(tx); err != nil {
		rollback := tx.Rollback()
		if errors.Is(rollback, sql.ErrTxDone) { // ctx ended and rolled it back already
			rollback = nil
		}
		if errors.Is(err, errRollback) {
			return r.failure(rollback)
		}
		return r.failure(err)
	}
	return r.failure(tx.Commit())
}

// failure gives an error of the database a kind, and says what to do where somebody has to do something.
func (r *Registry) failure(err error) error {
	if err == nil || fault.KindOf(err) != fault.Internal {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.Wrap(fault.Unavailable, err, "The registry did not answer in time.")
	}
	kind, damaged := r.dialect.classify(err)
	switch {
	case damaged:
		return fault.Wrap(fault.Internal, err, fmt.Sprintf("registry %s is damaged: restore a backup; or move the file away, apply the "+
			"catalog again, and issue new tokens", r.name))
	case kind == fault.Unavailable:
		return fault.Wrap(fault.Unavailable, fmt.Errorf("registry %s: %w", r.name, err), "The registry cannot be used at the moment.")
	default:
		return fmt.Errorf("registry %s: %w", r.name, err)
	}
}

// millis and fromMillis translate times to what the tables hold, where the zero time is NULL.
func millis(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

func fromMillis(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMilli(n.Int64).UTC()
}
