package sqlregistry

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// AddApplication adds an application at run time.
func (r *Registry) AddApplication(ctx context.Context, n registry.NewApplication) (version int64, err error) {
	if !registry.ValidID(n.ID) {
		return 0, fault.New(fault.Invalid, "application %.64q: must be 1 to 256 bytes of UTF-8 without control characters", n.ID)
	}
	err = r.write(ctx, func(tx *sql.Tx) error {
		if version, err = readVersion(ctx, tx); err != nil {
			return err
		}
		if _, err := readApplication(ctx, tx, n.ID); fault.KindOf(err) != fault.NotFound {
			if err == nil {
				return errRollback
			}
			return err
		}
		if _, ok, err := readItem(ctx, tx, kindTier, n.Tier); err != nil {
			return err
		} else if !ok {
			return fault.New(fault.NotFound, "tier %.64q is not in the catalog", n.Tier)
		}
		if err := makeRoom(ctx, tx, n.Most); err != nil {
			return err
		}
		if err := insertAdded(ctx, tx, itemKey{kindApplication, n.ID}, applicationDocument{Tier: n.Tier}, true); err != nil {
			return err
		}
		if err := raiseVersion(ctx, tx); err != nil {
			return err
		}
		version++
		return r.record(ctx, tx, registry.AuditEntry{
			Actor: n.Actor, Action: registry.ActionAdd, Subject: "application " + n.ID, After: "tier " + n.Tier,
		})
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

// insertAdded adds an item at run time; met says that it was met in a token.
func insertAdded(ctx context.Context, tx *sql.Tx, key itemKey, document any, met bool) error {
	text, err := json.Marshal(document)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO added (kind, id, document, met) VALUES ($1, $2, $3, $4)", string(key.kind), key.id, string(text), met)
	return err
}

// makeRoom returns [fault.Exhausted] where one more application would be too many.
func makeRoom(ctx context.Context, q querier, most int) error {
	var met, all int
	if err := q.QueryRowContext(ctx, "SELECT COALESCE(SUM(met), 0), COUNT(*) FROM added WHERE kind = $1", string(kindApplication)).Scan(&met, &all); err != nil {
		return err
	}
	var inFile int
	if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM catalog_items WHERE kind = $1", string(kindApplication)).Scan(&inFile); err != nil {
		return err
	}
	switch {
	case met >= most:
		return fault.New(fault.Exhausted, "%d applications were added at run time, and no more may be: declare those that are wanted in the catalog's file", met)
	case all+inFile >= catalog.MaxApplications:
		return fault.New(fault.Exhausted, "the catalog has %d applications, and no more may be in it", catalog.MaxApplications)
	default:
		return nil
	}
}

// readApplication returns the document of an application: the file's, or that of one that was added at run time.
func readApplication(ctx context.Context, q querier, id string) (d applicationDocument, err error) {
	text, ok, err := readItem(ctx, q, kindApplication, id)
	if err != nil {
		return d, err
	}
	if !ok {
		return d, fault.New(fault.NotFound, "application %.64q is not in the catalog", id)
	}
	return d, decode(text, &d)
}
