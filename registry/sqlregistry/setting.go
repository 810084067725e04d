package sqlregistry

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// Setting returns what was set under key.
func (r *Registry) Setting(ctx context.Context, key string) (value string, ok bool, err error) {
	err = r.reader.QueryRowContext(ctx, "SELECT value FROM settings WHERE key = $1", key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return value, err == nil, r.failure(err)
}

// SetSetting sets key to value.
func (r *Registry) SetSetting(ctx context.Context, key, value string) error {
	return r.write(ctx, func(tx *sql.Tx) error {
		set, err := tx.ExecContext(ctx, "INSERT INTO settings (key, value) VALUES ($1, $2) "+
			"ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE settings.value <> excluded.value", key, value)
		if err != nil {
			return err
		}
		if rows, err := set.RowsAffected(); err != nil || rows == 0 {
			return err
		}
		return r.record(ctx, tx, registry.AuditEntry{Action: registry.ActionSetSetting, Subject: "setting " + key})
	})
}

// SetOperatorKey sets the hash of the operator's key.
func (r *Registry) SetOperatorKey(ctx context.Context, hash, actor string) error {
	if sum, err := hex.DecodeString(hash); hash != "" && (err != nil || len(sum) != sha256.Size) {
		return fault.New(fault.Invalid, "the hash of the operator's key must be %d hexadecimal digits", hex.EncodedLen(sha256.Size))
	}
	return r.write(ctx, func(tx *sql.Tx) error {
		var before string
		err := tx.QueryRowContext(ctx, "SELECT value FROM settings WHERE key = $1", registry.OperatorKey).Scan(&before)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if before == hash {
			return errRollback
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
			registry.OperatorKey, hash); err != nil {
			return err
		}
		return r.record(ctx, tx, registry.AuditEntry{
			Actor: actor, Action: registry.ActionRotateKey, Subject: "operator key", Before: keyName(before), After: keyName(hash),
		})
	})
}

// keyName names a key where there is one.
func keyName(hash string) string {
	if hash == "" {
		return ""
	}
	return registry.KeyName(hash)
}

// KeepSetting sets key to value where nothing was set, and returns what is set.
func (r *Registry) KeepSetting(ctx context.Context, key, value string) (kept string, err error) {
	err = r.write(ctx, func(tx *sql.Tx) error {
		set, err := tx.ExecContext(ctx, "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING", key, value)
		if err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, "SELECT value FROM settings WHERE key = $1", key).Scan(&kept); err != nil {
			return err
		}
		if rows, err := set.RowsAffected(); err != nil {
			return err
		} else if rows == 0 {
			return errRollback
		}
		return r.record(ctx, tx, registry.AuditEntry{Action: registry.ActionSetSetting, Subject: "setting " + key})
	})
	if err != nil {
		return "", err
	}
	return kept, nil
}
