package sqlregistry

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

var _ usage.AlertStore = (*Registry)(nil)

// AlertSettings returns an application's settings.
func (r *Registry) AlertSettings(ctx context.Context, application string) (usage.AlertSettings, error) {
	s, err := readAlertSettings(ctx, r.reader, application)
	return s, r.failure(err)
}

func readAlertSettings(ctx context.Context, q querier, application string) (s usage.AlertSettings, err error) {
	var text string
	err = q.QueryRowContext(ctx, "SELECT document FROM alert_settings WHERE application = $1", application).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return s, nil
	}
	if err == nil {
		err = decode(text, &s)
	}
	return s, err
}

// alertsVersion is the key of the setting that counts changes to the settings of alerts; 1 where there is none.
const alertsVersion = "alerts.version"

// AllAlertSettings returns the settings of all applications.
func (r *Registry) AllAlertSettings(ctx context.Context, known int64) (all map[string]usage.AlertSettings, version int64, err error) {
	err = r.read(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT COALESCE((SELECT CAST(value AS BIGINT) FROM settings WHERE key = $1), 1)", alertsVersion).Scan(&version)
		if err != nil || version == known {
			return err
		}
		all, err = readAllAlertSettings(ctx, tx)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return all, version, nil
}

func readAllAlertSettings(ctx context.Context, q querier) (map[string]usage.AlertSettings, error) {
	rows, err := q.QueryContext(ctx, "SELECT application, document FROM alert_settings")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]usage.AlertSettings{}
	for rows.Next() {
		var application, text string
		if err := rows.Scan(&application, &text); err != nil {
			return nil, err
		}
		var s usage.AlertSettings
		if err := decode(text, &s); err != nil {
			return nil, err
		}
		all[application] = s
	}
	return all, rows.Err()
}

// countAlertSettings notes that settings of alerts change.
func countAlertSettings(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO settings (key, value) VALUES ($1, '2') "+
		"ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(settings.value AS BIGINT) + 1 AS TEXT)", alertsVersion)
	return err
}

// EditAlertSettings edits an application's settings.
func (r *Registry) EditAlertSettings(
	ctx context.Context, application string, edit func(was usage.AlertSettings) (usage.AlertSettings, error), actor string,
) (kept usage.AlertSettings, err error) {
	err = r.write(ctx, func(tx *sql.Tx) error {
		if _, err := readApplication(ctx, tx, application); err != nil {
			return err
		}
		was, err := readAlertSettings(ctx, tx, application)
		if err != nil {
			return err
		}
		if kept, err = edit(was); err != nil {
			return err
		}
		if sameAlertSettings(was, kept) {
			return errRollback
		}
		if err := kept.Validate(); err != nil {
			return err
		}
		document, err := json.Marshal(kept)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO alert_settings (application, document) VALUES ($1, $2) "+
			"ON CONFLICT (application) DO UPDATE SET document = excluded.document", application, string(document)); err != nil {
			return err
		}
		if err := countAlertSettings(ctx, tx); err != nil {
			return err
		}
		if err := forgetDeliveries(ctx, tx, application, was, kept); err != nil {
			return err
		}
		after := describeAlerts(kept)
		if kept.WebhookURL != was.WebhookURL && kept.WebhookHost() == was.WebhookHost() {
			after += " at another address of it"
		}
		if kept.WebhookSecret != was.WebhookSecret && kept.WebhookSecret != "" {
			after += " with a new secret"
		}
		return r.record(ctx, tx, registry.AuditEntry{
			Actor: actor, Action: registry.ActionSetAlerts, Subject: "alerts of application " + application, Before: describeAlerts(was), After: after,
		})
	})
	if err != nil {
		return usage.AlertSettings{}, err
	}
	return kept, nil
}

func sameAlertSettings(a, b usage.AlertSettings) bool {
	return slices.Equal(a.At(), b.At()) && slices.Equal(a.Mail, b.Mail) && a.WebhookURL == b.WebhookURL && a.WebhookSecret == b.WebhookSecret
}

// describeAlerts says in the audit what settings are: of a webhook its host, since its path may be a secret in itself.
func describeAlerts(s usage.AlertSettings) string {
	words := []string{"at"}
	for _, t := range s.At() {
		words = append(words, fmt.Sprintf("%d%%", t))
	}
	if len(s.Mail) > 0 {
		words = append(append(words, "mail to"), s.Mail...)
	}
	if s.WebhookURL != "" {
		words = append(words, "webhook to", s.WebhookHost())
	}
	return strings.Join(words, " ")
}

// RaiseAlerts keeps crossings, and the messages that tell of them, of applications in the catalog.
func (r *Registry) RaiseAlerts(ctx context.Context, day quota.Date, crossings []usage.Crossing, messages []usage.AlertMessage) error {
	return r.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM alert_crossings WHERE day < $1", day); err != nil {
			return err
		}
		stays := staying(ctx, tx)
		for _, c := range crossings {
			if stays, err := stays(c.Application); err != nil {
				return err
			} else if !stays {
				continue
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO alert_crossings (day, application, endpoint, member, threshold) VALUES ($1, $2, $3, $4, $5) "+
				"ON CONFLICT (day, application, endpoint, member) DO UPDATE SET threshold = excluded.threshold WHERE alert_crossings.threshold < excluded.threshold",
				day, c.Application, c.Endpoint, c.Member, c.Threshold); err != nil {
				return err
			}
		}
		for _, m := range messages {
			if stays, err := stays(m.Application); err != nil {
				return err
			} else if !stays {
				continue
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO alert_messages (id, application, channel, body, created, due, attempts) VALUES ($1, $2, $3, $4, $5, $6, $7)",
				m.ID, m.Application, string(m.Channel), m.Body, m.Created.UnixMilli(), m.Due.UnixMilli(), m.Attempts); err != nil {
				return err
			}
		}
		return nil
	})
}

// RaisedAlerts returns the crossings of a day.
func (r *Registry) RaisedAlerts(ctx context.Context, day quota.Date) ([]usage.Crossing, error) {
	rows, err := r.reader.QueryContext(ctx, "SELECT application, endpoint, member, threshold FROM alert_crossings WHERE day = $1 ORDER BY application, endpoint, member", day)
	if err != nil {
		return nil, r.failure(err)
	}
	defer rows.Close()
	var crossings []usage.Crossing
	for rows.Next() {
		var c usage.Crossing
		if err := rows.Scan(&c.Application, &c.Endpoint, &c.Member, &c.Threshold); err != nil {
			return nil, r.failure(err)
		}
		crossings = append(crossings, c)
	}
	return crossings, r.failure(rows.Err())
}

// DueAlerts returns messages that are to be tried.
func (r *Registry) DueAlerts(ctx context.Context, way usage.AlertWay, now time.Time, limit int) ([]usage.AlertMessage, error) {
	if limit < 1 || limit > usage.MaxDueAlerts {
		return nil, fault.New(fault.Invalid, "limit %d: must be 1 to %d", limit, usage.MaxDueAlerts)
	}
	rows, err := r.reader.QueryContext(ctx, "SELECT m.id, m.application, m.channel, m.body, m.created, m.due, m.attempts FROM ("+
		"SELECT id, ROW_NUMBER() OVER (PARTITION BY application ORDER BY attempts, due, id) AS place FROM alert_messages WHERE due <= $1 AND (channel = $4 OR SUBSTR(channel, 1, LENGTH($4) + 1) = $4 || ':')"+
		") d JOIN alert_messages m ON m.id = d.id WHERE d.place <= $2 ORDER BY m.attempts, m.due, m.id LIMIT $3",
		now.UnixMilli(), usage.MaxDueAlertsOf, limit, string(way))
	if err != nil {
		return nil, r.failure(err)
	}
	messages, err := scanMessages(rows)
	return messages, r.failure(err)
}

// scanMessages reads messages to the end of rows, and closes them.
func scanMessages(rows *sql.Rows) (messages []usage.AlertMessage, err error) {
	defer rows.Close()
	for rows.Next() {
		var m usage.AlertMessage
		var created, due sql.NullInt64
		if err := rows.Scan(&m.ID, &m.Application, &m.Channel, &m.Body, &created, &due, &m.Attempts); err != nil {
			return nil, err
		}
		m.Created, m.Due = fromMillis(created), fromMillis(due)
		messages = append(messages, m)
	}
	return messages, rows.Err()
}

// NoteDelivery notes what became of an attempt.
func (r *Registry) NoteDelivery(ctx context.Context, m usage.AlertMessage, d usage.Delivery) error {
	return r.write(ctx, func(tx *sql.Tx) (err error) {
		if d.Problem == "" {
			_, err = tx.ExecContext(ctx, "DELETE FROM alert_messages WHERE id = $1", m.ID)
		} else {
			_, err = tx.ExecContext(ctx, "UPDATE alert_messages SET due = $1, attempts = attempts + 1 WHERE id = $2", d.Again.UnixMilli(), m.ID)
		}
		if err != nil {
			return err
		}
		settings, err := readAlertSettings(ctx, tx, m.Application)
		if err != nil || !slices.Contains(settings.Channels(), m.Channel) {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO alert_deliveries (application, channel, at, problem, again) VALUES ($1, $2, $3, $4, $5) "+
			"ON CONFLICT (application, channel) DO UPDATE SET at = excluded.at, problem = excluded.problem, again = excluded.again",
			m.Application, string(m.Channel), d.At.UnixMilli(), d.Problem, millis(d.Again))
		return err
	})
}

// forgetDeliveries forgets those of channels that the settings had and have no longer.
func forgetDeliveries(ctx context.Context, tx *sql.Tx, application string, was, kept usage.AlertSettings) error {
	channels := kept.Channels()
	for _, c := range was.Channels() {
		if slices.Contains(channels, c) && (c != usage.ByWebhook || was.WebhookURL == kept.WebhookURL) {
			continue
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM alert_deliveries WHERE application = $1 AND channel = $2", application, string(c)); err != nil {
			return err
		}
	}
	return nil
}

// Deliveries returns the last of each channel.
func (r *Registry) Deliveries(ctx context.Context, application string) (all []usage.Delivery, err error) {
	rows, err := r.reader.QueryContext(ctx, "SELECT channel, at, problem, again FROM alert_deliveries WHERE application = $1 ORDER BY channel", application)
	if err != nil {
		return nil, r.failure(err)
	}
	defer rows.Close()
	for rows.Next() {
		var d usage.Delivery
		var at, again sql.NullInt64
		if err := rows.Scan(&d.Channel, &at, &d.Problem, &again); err != nil {
			return nil, r.failure(err)
		}
		d.At, d.Again = fromMillis(at), fromMillis(again)
		all = append(all, d)
	}
	return all, r.failure(rows.Err())
}

// ForgetAlerts forgets old messages.
func (r *Registry) ForgetAlerts(ctx context.Context, upTo time.Time) (forgotten []usage.AlertMessage, err error) {
	var old bool
	if err := r.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM alert_messages WHERE created <= $1)", upTo.UnixMilli()).Scan(&old); err != nil || !old {
		return nil, r.failure(err) // nothing is changed where there is nothing to forget
	}
	err = r.write(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, "DELETE FROM alert_messages WHERE id IN (SELECT id FROM alert_messages WHERE created <= $1 ORDER BY created LIMIT $2) "+
			"RETURNING id, application, channel, body, created, due, attempts", upTo.UnixMilli(), usage.MaxDueAlerts)
		if err != nil {
			return err
		}
		forgotten, err = scanMessages(rows)
		return err
	})
	if err != nil {
		return nil, err
	}
	return forgotten, nil
}
