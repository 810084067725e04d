package sqlregistry

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/perdiem/perdiem/registry"
)

// leave ends all that an application has besides the catalog, whichever way it leaves that: another may come to bear its id. Its history stays, and
// is forgotten by its age.
func (r *Registry) leave(ctx context.Context, tx *sql.Tx, application, actor string) error {
	if err := r.withdrawAll(ctx, tx, application, actor); err != nil {
		return err
	}
	if err := r.revokeAll(ctx, tx, application, actor); err != nil {
		return err
	}
	for _, table := range []string{"alert_settings", "alert_messages", "alert_crossings", "near_members"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE application = $1", application); err != nil {
			return err
		}
	}
	return nil
}

// revokeAll ends every token of an application that is being removed.
func (r *Registry) revokeAll(ctx context.Context, tx *sql.Tx, application, actor string) error {
	ended, err := tx.ExecContext(ctx, "INSERT INTO revocations (token) SELECT seq FROM tokens WHERE application = $1 AND revoked IS NULL ORDER BY seq", application)
	if err != nil {
		return err
	}
	rows, err := ended.RowsAffected()
	if err != nil || rows == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE tokens SET revoked = $1 WHERE application = $2 AND revoked IS NULL", millis(r.now()), application); err != nil {
		return err
	}
	return r.record(ctx, tx, registry.AuditEntry{
		Actor: actor, Action: registry.ActionRevokeToken, Subject: "tokens of application " + application, After: fmt.Sprintf("%d revoked", rows),
	})
}

// withdrawAll takes back every grant of an application that is being removed.
func (r *Registry) withdrawAll(ctx context.Context, tx *sql.Tx, application, actor string) error {
	gone, err := tx.ExecContext(ctx, "DELETE FROM grants WHERE application = $1", application)
	if err != nil {
		return err
	}
	rows, err := gone.RowsAffected()
	if err != nil || rows == 0 {
		return err
	}
	return r.record(ctx, tx, registry.AuditEntry{
		Actor: actor, Action: registry.ActionWithdraw, Subject: "grants of application " + application, After: fmt.Sprintf("%d withdrawn", rows),
	})
}
