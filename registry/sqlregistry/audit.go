package sqlregistry

import (
	"context"
	"database/sql"
	"fmt"
	"math"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// forgottenEntries is how many old entries each new one removes at most: more than one, so that an audit that is too long becomes shorter.
const forgottenEntries = 16

// record adds an entry to the audit, within the transaction of the change that it tells of, and removes the oldest of its share beyond those that are
// kept. Seq and At are set here.
func (r *Registry) record(ctx context.Context, tx *sql.Tx, e registry.AuditEntry) error {
	share, most, err := auditShare(ctx, tx, e.Actor)
	if err != nil {
		return err
	}
	var place int64
	err = tx.QueryRowContext(ctx, "INSERT INTO audit (at, actor, action, subject, was, became, share, place) "+
		"SELECT $1, $2, $3, $4, $5, $6, $7, COALESCE(MAX(place), 0) + 1 FROM audit WHERE share = $7 RETURNING place",
		millis(r.now()), e.Actor, e.Action, e.Subject, e.Before, e.After, share).Scan(&place)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE share = $1 AND place <= $2 ORDER BY place LIMIT $3)",
		share, place-most, forgottenEntries)
	return err
}

// recordAll adds the entries of one change, of which there is at least one. Of many it says how many more there are.
func (r *Registry) recordAll(ctx context.Context, tx *sql.Tx, entries []registry.AuditEntry) error {
	of := entries[0]
	if more := len(entries) - registry.MaxAuditOfChange; more > 0 {
		entries = append(entries[:registry.MaxAuditOfChange:registry.MaxAuditOfChange], registry.AuditEntry{
			Actor: of.Actor, Action: of.Action, Subject: "catalog", After: fmt.Sprintf("and %d more", more),
		})
	}
	for _, e := range entries {
		if err := r.record(ctx, tx, e); err != nil {
			return err
		}
	}
	return nil
}

// auditShare returns whose room in the audit the entries of an actor take, and how many are kept there.
func auditShare(ctx context.Context, q querier, actor string) (share string, most int64, err error) {
	if actor == registry.ActorIssuer || actor == registry.ActorToken {
		return actor, registry.MaxAudit, nil
	}
	switch a, err := readAccount(ctx, q, actor); {
	case fault.KindOf(err) == fault.NotFound || err == nil && a.Operator:
		return "", registry.MaxAudit, nil
	case err != nil:
		return "", 0, err
	default:
		return actor, registry.MaxAuditOfDeveloper, nil
	}
}

// Audit returns entries of the audit, the newest first.
func (r *Registry) Audit(ctx context.Context, before int64, limit int) ([]registry.AuditEntry, error) {
	if limit < 1 || limit > 1000 {
		return nil, fault.New(fault.Invalid, "limit %d: must be 1 to 1000", limit)
	}
	if before <= 0 {
		before = math.MaxInt64
	}
	rows, err := r.reader.QueryContext(ctx, "SELECT seq, at, actor, action, subject, was, became FROM audit WHERE seq < $1 ORDER BY seq DESC LIMIT $2", before, limit)
	if err != nil {
		return nil, r.failure(err)
	}
	defer rows.Close()
	var entries []registry.AuditEntry
	for rows.Next() {
		var e registry.AuditEntry
		var at sql.NullInt64
		if err := rows.Scan(&e.Seq, &at, &e.Actor, &e.Action, &e.Subject, &e.Before, &e.After); err != nil {
			return nil, r.failure(err)
		}
		e.At = fromMillis(at)
		entries = append(entries, e)
	}
	return entries, r.failure(rows.Err())
}
