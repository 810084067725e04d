package sqlregistry

import (
	"context"
	"database/sql"
	"math"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// forgottenEntries is how many old entries each new one removes at most: more than one, so that an audit that is too long becomes shorter.
const forgottenEntries = 16

// record adds an entry to the audit, within the transaction of the change that it tells of, and removes the oldest beyond those that are
// kept. Seq and At are set here.
func (r *Registry) record(ctx context.Context, tx *sql.Tx, e registry.AuditEntry) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO audit (at, actor, action, subject, was, became) VALUES ($1, $2, $3, $4, $5, $6)",
		millis(r.now()), e.Actor, e.Action, e.Subject, e.Before, e.After)
	if err != nil {
		return err
	}
	// Numbers rise one by one, so the oldest that is kept follows from the newest.
	_, err = tx.ExecContext(ctx, "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE seq <= (SELECT MAX(seq) FROM audit) - $1 ORDER BY seq LIMIT $2)",
		registry.MaxAudit, forgottenEntries)
	return err
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
