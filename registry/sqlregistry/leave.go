package sqlregistry

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

// leave ends all that an application has besides the catalog, whichever way it leaves that: another may come to bear its id. Its history stays, and
// is forgotten by its age. It returns what the audit is to be told.
func (r *Registry) leave(ctx context.Context, tx *sql.Tx, application, actor string) (told []registry.AuditEntry, err error) {
	withdrawn, err := withdrawAll(ctx, tx, application)
	if err != nil {
		return nil, err
	}
	if withdrawn > 0 {
		told = append(told, registry.AuditEntry{
			Actor: actor, Action: registry.ActionWithdraw, Subject: "grants of application " + application, After: fmt.Sprintf("%d withdrawn", withdrawn),
		})
	}
	revoked, err := r.revokeAll(ctx, tx, application)
	if err != nil {
		return nil, err
	}
	if revoked > 0 {
		told = append(told, registry.AuditEntry{
			Actor: actor, Action: registry.ActionRevokeToken, Subject: "tokens of application " + application, After: fmt.Sprintf("%d revoked", revoked),
		})
	}
	alerts, err := readAlertSettings(ctx, tx, application)
	if err != nil {
		return nil, err
	}
	if !sameAlertSettings(alerts, usage.AlertSettings{}) {
		told = append(told, registry.AuditEntry{
			Actor: actor, Action: registry.ActionSetAlerts, Subject: "alerts of application " + application, Before: describeAlerts(alerts), After: "removed",
		})
	}
	for _, table := range []string{"alert_settings", "alert_deliveries", "alert_messages", "alert_crossings", "near_members"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE application = $1", application); err != nil {
			return nil, err
		}
	}
	return told, countAlertSettings(ctx, tx)
}

// lostOverrides returns how many overrides an application has that were set at run time and go with it, as a change where it has some.
func lostOverrides(ctx context.Context, q querier, application string) (lost []catalog.Change, err error) {
	var count int64
	err = q.QueryRowContext(ctx, "SELECT count(*) FROM overrides WHERE application = $1", application).Scan(&count)
	if err != nil || count == 0 {
		return nil, err
	}
	return []catalog.Change{loss(application, "overrides", count)}, nil
}

// loss is a change that says how much of something an application loses.
func loss(application, field string, count int64) catalog.Change {
	return catalog.Change{Op: catalog.Removed, Noun: string(kindApplication), Name: application, Field: field, From: strconv.FormatInt(count, 10)}
}

// losses returns what an application would lose by leaving, as changes for whoever decides on that: the audit is told of it by [Registry.leave].
func (r *Registry) losses(ctx context.Context, q querier, application string) (lost []catalog.Change, err error) {
	var tokens, grants, alerts int64
	err = q.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM tokens WHERE application = $1 AND revoked IS NULL AND (expires IS NULL OR expires > $2)), "+
		"(SELECT count(*) FROM grants WHERE application = $1), (SELECT count(*) FROM alert_settings WHERE application = $1)",
		application, millis(r.now())).Scan(&tokens, &grants, &alerts)
	if err != nil {
		return nil, err
	}
	for _, of := range []struct {
		field string
		count int64
	}{{"tokens", tokens}, {"grants", grants}, {"alert settings", alerts}} {
		if of.count > 0 {
			lost = append(lost, loss(application, of.field, of.count))
		}
	}
	return lost, nil
}

// staying returns a func that reports whether the catalog has an application: of one that has left it nothing may be kept anew, and a node hears
// of that a little later. It reads of each once.
func staying(ctx context.Context, q querier) func(application string) (bool, error) {
	known := map[string]bool{}
	return func(application string) (bool, error) {
		if stays, asked := known[application]; asked {
			return stays, nil
		}
		_, stays, err := readItem(ctx, q, kindApplication, application)
		known[application] = stays
		return stays, err
	}
}

// revokeAll ends every token of an application, and returns how many they were.
func (r *Registry) revokeAll(ctx context.Context, tx *sql.Tx, application string) (revoked int64, err error) {
	ended, err := tx.ExecContext(ctx, "INSERT INTO revocations (token) SELECT seq FROM tokens WHERE application = $1 AND revoked IS NULL ORDER BY seq", application)
	if err != nil {
		return 0, err
	}
	if revoked, err = ended.RowsAffected(); err != nil || revoked == 0 {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, "UPDATE tokens SET revoked = $1 WHERE application = $2 AND revoked IS NULL", millis(r.now()), application)
	return revoked, err
}

// withdrawAll takes back every grant of an application, and returns how many they were.
func withdrawAll(ctx context.Context, tx *sql.Tx, application string) (withdrawn int64, err error) {
	gone, err := tx.ExecContext(ctx, "DELETE FROM grants WHERE application = $1", application)
	if err != nil {
		return 0, err
	}
	return gone.RowsAffected()
}
