package sqlregistry

import (
	"context"
	"database/sql"
	"errors"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// forgottenSessions is how many expired sessions each one that is kept removes at most: more than one, so that they become fewer.
const forgottenSessions = 16

// KeepSession begins a session, or goes on with one that runs.
func (r *Registry) KeepSession(ctx context.Context, s registry.Session) error {
	now := r.now()
	if err := s.Validate(now); err != nil {
		return err
	}
	return r.changeAccount(ctx, s.Email, func(tx *sql.Tx, a registry.Account) error {
		if s.Stamp != a.Stamp {
			return errEnded
		}
		kept, err := tx.ExecContext(ctx, "INSERT INTO sessions (hash, email, data, expires) VALUES ($1, $2, $3, $4) "+
			"ON CONFLICT (hash) DO UPDATE SET data = excluded.data, expires = excluded.expires WHERE sessions.ended = 0 AND sessions.email = excluded.email",
			s.Hash[:], a.Email, append([]byte{}, s.Data...), millis(s.Expires))
		if err != nil {
			return err
		}
		if rows, err := kept.RowsAffected(); err != nil {
			return err
		} else if rows == 0 {
			return errEnded
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE seq IN (SELECT seq FROM sessions WHERE expires <= $1 LIMIT $2)",
			millis(now), forgottenSessions); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM sessions WHERE email = $1 AND seq <= (SELECT seq FROM sessions WHERE email = $1 ORDER BY seq DESC LIMIT 1 OFFSET $2)",
			a.Email, registry.MaxSessions)
		return err
	})
}

var (
	errEnded     = fault.New(fault.Conflict, "the session has ended: sign in again")
	errNoSession = fault.New(fault.NotFound, "there is no such session")
)

// Session returns the session that runs under a hash.
func (r *Registry) Session(ctx context.Context, hash registry.Hash) (registry.Session, error) {
	s := registry.Session{Hash: hash}
	var expires sql.NullInt64
	err := r.reader.QueryRowContext(ctx, "SELECT s.email, a.stamp, s.data, s.expires FROM sessions s JOIN accounts a ON a.email = s.email "+
		"WHERE s.hash = $1 AND s.ended = 0 AND s.expires > $2", hash[:], millis(r.now())).Scan(&s.Email, &s.Stamp, &s.Data, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return registry.Session{}, errNoSession
	}
	if err != nil {
		return registry.Session{}, r.failure(err)
	}
	s.Expires = fromMillis(expires)
	return s, nil
}

// EndSession ends a session.
func (r *Registry) EndSession(ctx context.Context, hash registry.Hash) error {
	return r.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE sessions SET ended = 1, data = $1 WHERE hash = $2 AND ended = 0", []byte{}, hash[:])
		return err
	})
}

// EndSessions ends all sessions of an account.
func (r *Registry) EndSessions(ctx context.Context, email, actor string) error {
	return r.changeAccount(ctx, email, func(tx *sql.Tx, a registry.Account) error {
		if err := endSessions(ctx, tx, a.Email); err != nil {
			return err
		}
		return r.record(ctx, tx, registry.AuditEntry{Actor: actor, Action: registry.ActionEndSessions, Subject: "account " + a.Email, After: "signed out"})
	})
}

// endSessions ends all sessions of an account. The new stamp keeps those from beginning, or beginning again, that somebody is about to keep.
func endSessions(ctx context.Context, tx *sql.Tx, email string) error {
	if _, err := tx.ExecContext(ctx, "UPDATE accounts SET stamp = $1 WHERE email = $2", registry.NewStamp(), email); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE email = $1", email)
	return err
}
