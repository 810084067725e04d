package sqlregistry

import (
	"context"
	"database/sql"
	"errors"
	"maps"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// Catalog returns both layers as one.
func (r *Registry) Catalog(ctx context.Context) (c *catalog.Catalog, version int64, err error) {
	err = r.read(ctx, func(tx *sql.Tx) error {
		if version, err = readVersion(ctx, tx); err != nil {
			return err
		}
		if version == 0 {
			return fault.New(fault.NotFound, "there is no catalog yet: name one in perdiem.yaml (`catalog: catalog.yaml`), or run `perdiem apply -f catalog.yaml`")
		}
		docs, err := readDocuments(ctx, tx)
		if err != nil {
			return err
		}
		overrides, err := readOverrides(ctx, tx)
		if err != nil {
			return err
		}
		added, err := readAdded(ctx, tx)
		if err != nil {
			return err
		}
		if c, err = assemble(docs); err != nil {
			return err
		}
		added.putUnder(c)
		overrides.putOver(c)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return c, version, nil
}

// Version returns the catalog's version.
func (r *Registry) Version(ctx context.Context) (version int64, err error) {
	version, err = readVersion(ctx, r.reader)
	return version, r.failure(err)
}

// Apply makes the file's layer equal to c.
func (r *Registry) Apply(ctx context.Context, c *catalog.Catalog, o registry.ApplyOptions) (changes []catalog.Change, err error) {
	if err := c.Validate(r.paths); err != nil {
		return nil, err
	}
	c = c.Clone()
	c.Canonicalize()
	want, err := documents(c)
	if err != nil {
		return nil, err
	}
	err = r.write(ctx, func(tx *sql.Tx) error {
		have, err := readDocuments(ctx, tx)
		if err != nil {
			return err
		}
		old, err := assemble(have)
		if err != nil {
			return err
		}
		overrides, err := readOverrides(ctx, tx)
		if err != nil {
			return err
		}
		added, err := readAdded(ctx, tx)
		if err != nil {
			return err
		}
		keptApplications := added.keptOver(old, c)
		added.putUnder(old)
		added.putUnder(c)
		if err := added.check(c, r.paths); err != nil {
			return err
		}
		kept := append(keptApplications, overrides.keptOver(old, c)...)
		overrides.putOver(old)
		overrides.putOver(c)
		changes = append(catalog.Diff(old, c), kept...)
		if o.DryRun || maps.Equal(have, want) {
			return errRollback
		}
		if err := raiseVersion(ctx, tx); err != nil {
			return err
		}
		if err := r.recordApply(ctx, tx, changes, o); err != nil {
			return err
		}
		return r.replaceDocuments(ctx, tx, have, want, added, o.Actor)
	})
	if err != nil {
		return nil, err
	}
	return changes, nil
}

// replaceDocuments writes what differs between have and want. Tokens of applications that were added at run time as well stay.
func (r *Registry) replaceDocuments(ctx context.Context, tx *sql.Tx, have, want map[itemKey]string, added added, actor string) error {
	put, err := tx.PrepareContext(ctx, "INSERT INTO catalog_items (kind, id, document) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO UPDATE SET document = excluded.document")
	if err != nil {
		return err
	}
	defer put.Close()
	for key, document := range want {
		if before, ok := have[key]; ok && before == document {
			continue
		}
		if _, err := put.ExecContext(ctx, string(key.kind), key.id, document); err != nil {
			return err
		}
	}
	for key := range have {
		if _, ok := want[key]; ok {
			continue
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM catalog_items WHERE kind = $1 AND id = $2", string(key.kind), key.id); err != nil {
			return err
		}
		if _, stays := added[key.id]; key.kind == kindApplication && !stays {
			if err := r.revokeAll(ctx, tx, key.id, actor); err != nil {
				return err
			}
			if err := removeAlerts(ctx, tx, key.id); err != nil {
				return err
			}
		}
	}
	return nil
}

// recordApply tells the audit of an applied file, and then of each change that it made in what holds.
func (r *Registry) recordApply(ctx context.Context, tx *sql.Tx, changes []catalog.Change, o registry.ApplyOptions) error {
	if err := r.record(ctx, tx, registry.AuditEntry{Actor: o.Actor, Action: registry.ActionApply, Subject: "catalog " + o.Source, After: "applied"}); err != nil {
		return err
	}
	for _, c := range changes {
		if c.Op == catalog.Kept {
			continue
		}
		e := registry.AuditEntry{Actor: o.Actor, Action: registry.ActionApply, Subject: c.Noun + " " + c.Name, Before: c.From, After: c.To}
		switch {
		case c.Field != "":
			e.Subject += " " + c.Field
		case c.Op == catalog.Added:
			e.After = "added"
		case c.Op == catalog.Removed:
			e.After = "removed"
		}
		if err := r.record(ctx, tx, e); err != nil {
			return err
		}
	}
	return nil
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func readVersion(ctx context.Context, q querier) (version int64, err error) {
	err = q.QueryRowContext(ctx, "SELECT version FROM catalog_version").Scan(&version)
	return version, err
}

func raiseVersion(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "UPDATE catalog_version SET version = version + 1")
	return err
}

// readDocuments returns the file's layer.
func readDocuments(ctx context.Context, q querier) (map[itemKey]string, error) {
	rows, err := q.QueryContext(ctx, "SELECT kind, id, document FROM catalog_items")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	docs := make(map[itemKey]string)
	for rows.Next() {
		var key itemKey
		var document string
		if err := rows.Scan((*string)(&key.kind), &key.id, &document); err != nil {
			return nil, err
		}
		docs[key] = document
	}
	return docs, rows.Err()
}

// readItem returns an item of the file's layer.
func readItem(ctx context.Context, q querier, kind kind, id string) (document string, ok bool, err error) {
	err = q.QueryRowContext(ctx, "SELECT document FROM catalog_items WHERE kind = $1 AND id = $2", string(kind), id).Scan(&document)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return document, err == nil, err
}
