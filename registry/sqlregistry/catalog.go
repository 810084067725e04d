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
			return errNoCatalog
		}
		docs, err := readDocuments(ctx, tx, "catalog_items")
		if err != nil {
			return err
		}
		layer, err := readRuntime(ctx, tx)
		if err != nil {
			return err
		}
		if c, err = assemble(docs); err != nil {
			return err
		}
		return layer.putOn(c)
	})
	if err != nil {
		return nil, 0, err
	}
	return c, version, nil
}

var errNoCatalog = fault.New(fault.NotFound, "there is no catalog yet: name one in perdiem.yaml (`catalog: catalog.yaml`), or run `perdiem apply -f catalog.yaml`")

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
	var lost []catalog.Change
	err = r.write(ctx, func(tx *sql.Tx) error {
		have, err := readDocuments(ctx, tx, "catalog_items")
		if err != nil {
			return err
		}
		old, err := assemble(have)
		if err != nil {
			return err
		}
		layer, err := readRuntime(ctx, tx)
		if err != nil {
			return err
		}
		kept, err := layer.keptOver(old, c)
		if err != nil {
			return err
		}
		if err := errors.Join(layer.putUnder(old), layer.putUnder(c)); err != nil {
			return err
		}
		kept = append(kept, layer.overrides.keptOver(old, c)...)
		if err := errors.Join(layer.putOn(old), layer.putOn(c)); err != nil {
			return err
		}
		if err := c.Validate(r.paths); err != nil {
			return makesNoSense(err)
		}
		changes = append(catalog.Diff(old, c), kept...)
		for _, change := range changes {
			if change.Op != catalog.Removed || change.Noun != string(kindApplication) || change.Field != "" {
				continue
			}
			with, err := r.losses(ctx, tx, change.Name)
			if err != nil {
				return err
			}
			lost = append(lost, with...)
		}
		if o.DryRun || maps.Equal(have, want) {
			return errRollback
		}
		if err := raiseVersion(ctx, tx); err != nil {
			return err
		}
		told := []registry.AuditEntry{{Actor: o.Actor, Action: registry.ActionApply, Subject: "catalog " + o.Source, After: "applied"}}
		told = append(told, changeEntries(changes, registry.AuditEntry{Actor: o.Actor, Action: registry.ActionApply})...)
		left, err := r.replaceDocuments(ctx, tx, have, want, layer.added, o.Actor)
		if err != nil {
			return err
		}
		return r.recordAll(ctx, tx, append(told, left...))
	})
	if err != nil {
		return nil, err
	}
	return append(changes, lost...), nil
}

// replaceDocuments writes what differs between have and want, and returns what the audit is to be told of applications that leave. Those that were
// added at run time as well stay, with all they have.
func (r *Registry) replaceDocuments(ctx context.Context, tx *sql.Tx, have, want, added map[itemKey]string, actor string) (told []registry.AuditEntry, err error) {
	put, err := tx.PrepareContext(ctx, "INSERT INTO catalog_items (kind, id, document) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO UPDATE SET document = excluded.document")
	if err != nil {
		return nil, err
	}
	defer put.Close()
	for key, document := range want {
		if before, ok := have[key]; ok && before == document {
			continue
		}
		if _, err := put.ExecContext(ctx, string(key.kind), key.id, document); err != nil {
			return nil, err
		}
	}
	for key := range have {
		if _, ok := want[key]; ok {
			continue
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM catalog_items WHERE kind = $1 AND id = $2", string(key.kind), key.id); err != nil {
			return nil, err
		}
		if _, stays := added[key]; key.kind == kindApplication && !stays {
			left, err := r.leave(ctx, tx, key.id, actor)
			if err != nil {
				return nil, err
			}
			told = append(told, left...)
		}
	}
	return told, nil
}

// changeEntries returns what the audit is told of each change in what holds; of has what they have in common.
func changeEntries(changes []catalog.Change, of registry.AuditEntry) (told []registry.AuditEntry) {
	for _, c := range changes {
		if c.Op == catalog.Kept {
			continue
		}
		e := of
		e.Subject, e.Before, e.After = c.Noun+" "+c.Name, c.From, c.To
		switch {
		case c.Field != "":
			e.Subject += " " + c.Field
		case c.Op == catalog.Added:
			e.After = "added"
		case c.Op == catalog.Removed:
			e.After = "removed"
		}
		told = append(told, e)
	}
	return told
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

// readDocuments returns the items of a table: catalog_items, the file's layer; added; or amendments.
func readDocuments(ctx context.Context, q querier, table string) (map[itemKey]string, error) {
	rows, err := q.QueryContext(ctx, "SELECT kind, id, document FROM "+table)
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

// readDocument returns the document of an item in a table, and whether there is one.
func readDocument(ctx context.Context, q querier, table string, key itemKey) (document string, ok bool, err error) {
	err = q.QueryRowContext(ctx, "SELECT document FROM "+table+" WHERE kind = $1 AND id = $2", string(key.kind), key.id).Scan(&document)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return document, err == nil, err
}

// readItem returns an item of the file's layer, or else one that was added.
func readItem(ctx context.Context, q querier, kind kind, id string) (document string, ok bool, err error) {
	for _, table := range []string{"catalog_items", "added"} {
		if document, ok, err = readDocument(ctx, q, table, itemKey{kind, id}); ok || err != nil {
			break
		}
	}
	return document, ok, err
}
