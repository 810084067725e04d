package sqlregistry

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

const (
	tokenColumns      = "id, application, member, created, expires, revoked, used"
	selectTokenByHash = "SELECT " + tokenColumns + " FROM tokens WHERE hash = $1 AND revoked IS NULL"
	selectRevocations = "SELECT r.seq, t.id, t.hash FROM revocations r JOIN tokens t ON t.seq = r.token WHERE r.seq > $1 ORDER BY r.seq LIMIT $2"

	revocationsPage = 4096
	// Tokens that have ended are kept for a while: so that the owners of those that expired hear that rather than that they are not known, and so that
	// everybody who remembers a token hears of its revocation.
	keepEnded = 7 * 24 * time.Hour
	// forgottenTokens is how many tokens are removed at a time.
	forgottenTokens = 1000

	// Conditions on an application's tokens that hold, and on its own alone, for which there is the index tokens_own.
	holding    = "application = $2 AND seq < $3 AND revoked IS NULL AND (expires IS NULL OR expires > $4) ORDER BY seq DESC"
	holdingOwn = "member = '' AND " + holding
)

// IssueToken keeps a new token.
func (r *Registry) IssueToken(ctx context.Context, n registry.NewToken) (registry.Token, error) {
	now := r.now()
	if err := n.Validate(now); err != nil {
		return registry.Token{}, err
	}
	if n.Member == n.Application {
		n.Member = ""
	}
	t := registry.Token{
		ID:          registry.NewTokenID(),
		Application: n.Application,
		Member:      n.Member,
		Created:     fromMillis(millis(now)),
		Expires:     fromMillis(millis(n.Expires)),
	}
	err := r.write(ctx, func(tx *sql.Tx) error {
		if _, err := readApplication(ctx, tx, n.Application); err != nil {
			return err
		}
		if n.MaxOwn > 0 && n.Member == "" {
			if err := roomForToken(ctx, tx, n, now); err != nil {
				return err
			}
		}
		kept, err := tx.ExecContext(ctx, "INSERT INTO tokens (id, hash, application, member, created, expires) VALUES ($1, $2, $3, $4, $5, $6) "+
			"ON CONFLICT (hash) DO NOTHING", t.ID, n.Hash[:], t.Application, t.Member, millis(t.Created), millis(t.Expires))
		if err != nil {
			return err
		}
		if rows, err := kept.RowsAffected(); err != nil {
			return err
		} else if rows == 0 {
			return fault.New(fault.Conflict, "a token with this hash was issued before: make a new secret")
		}
		return r.record(ctx, tx, registry.AuditEntry{
			Actor: n.Actor, Action: registry.ActionIssueToken, Subject: "token " + t.ID, After: describeToken(t),
		})
	})
	if err != nil {
		return registry.Token{}, err
	}
	return t, nil
}

// roomForToken returns [fault.Conflict] where one more of the application's own tokens would be too many.
func roomForToken(ctx context.Context, q querier, n registry.NewToken, now time.Time) error {
	own, _, err := readTokens(ctx, q, n.MaxOwn, holdingOwn, n.Application, int64(math.MaxInt64), millis(now))
	if err != nil || len(own) < n.MaxOwn {
		return err
	}
	return fault.New(fault.Conflict, "The application has %d tokens that hold, and no more may be: revoke those that nobody uses.", n.MaxOwn)
}

// describeToken says in the audit what a token is for; the audit names no member.
func describeToken(t registry.Token) string {
	var b strings.Builder
	fmt.Fprintf(&b, "application %s", t.Application)
	if t.Member != "" {
		b.WriteString(" for a member")
	}
	if !t.Expires.IsZero() {
		fmt.Fprintf(&b, " expires %s", t.Expires.Format(time.RFC3339))
	}
	return b.String()
}

// RevokeToken ends a token.
func (r *Registry) RevokeToken(ctx context.Context, id, actor string) error {
	return r.write(ctx, func(tx *sql.Tx) error {
		var seq int64
		t, err := scanToken(tx.QueryRowContext(ctx, "SELECT seq, "+tokenColumns+" FROM tokens WHERE id = $1", id), &seq)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return fault.New(fault.NotFound, "there is no token %.64q: `perdiem token list` shows an application's", id)
		case err != nil:
			return err
		case !t.Revoked.IsZero():
			return errRollback
		}
		if _, err := tx.ExecContext(ctx, "UPDATE tokens SET revoked = $1 WHERE seq = $2", millis(r.now()), seq); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO revocations (token) VALUES ($1)", seq); err != nil {
			return err
		}
		return r.record(ctx, tx, registry.AuditEntry{
			Actor: actor, Action: registry.ActionRevokeToken, Subject: "token " + id, Before: describeToken(t), After: "revoked",
		})
	})
}

// Tokens returns a page of an application's tokens.
func (r *Registry) Tokens(ctx context.Context, application string, after int64, limit int) (tokens []registry.Token, next int64, err error) {
	if limit < 1 || limit > registry.MaxTokens {
		return nil, 0, fault.New(fault.Invalid, "limit %d: must be 1 to %d", limit, registry.MaxTokens)
	}
	err = r.read(ctx, func(tx *sql.Tx) error {
		tokens, next, err = readTokens(ctx, tx, limit, "application = $2 AND seq > $3 ORDER BY seq", application, after)
		if err != nil || len(tokens) > 0 || after > 0 {
			return err
		}
		_, err = readApplication(ctx, tx, application)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return tokens, next, nil
}

// HoldingTokens returns a page of an application's tokens that hold.
func (r *Registry) HoldingTokens(ctx context.Context, q registry.HoldingTokens) (tokens []registry.Token, next int64, err error) {
	if q.Limit < 1 || q.Limit > registry.MaxTokens {
		return nil, 0, fault.New(fault.Invalid, "limit %d: must be 1 to %d", q.Limit, registry.MaxTokens)
	}
	if q.Before <= 0 {
		q.Before = math.MaxInt64
	}
	err = r.read(ctx, func(tx *sql.Tx) error {
		if _, err := readApplication(ctx, tx, q.Application); err != nil {
			return err
		}
		condition := holding
		if q.Own {
			condition = holdingOwn
		}
		tokens, next, err = readTokens(ctx, tx, q.Limit, condition, q.Application, q.Before, millis(r.now()))
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return tokens, next, nil
}

// readTokens returns up to limit tokens of which a condition, whose values are $2 and on, is true; and the last one's position where more follow.
func readTokens(ctx context.Context, q querier, limit int, condition string, values ...any) (tokens []registry.Token, next int64, err error) {
	// One more than is returned tells whether more follow.
	rows, err := q.QueryContext(ctx, "SELECT seq, "+tokenColumns+" FROM tokens WHERE "+condition+" LIMIT $1", append([]any{limit + 1}, values...)...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var seq int64
	for rows.Next() {
		if len(tokens) == limit {
			next = seq
			break
		}
		t, err := scanToken(rows, &seq)
		if err != nil {
			return nil, 0, err
		}
		tokens = append(tokens, t)
	}
	return tokens, next, rows.Err()
}

// Token returns the token of an id.
func (r *Registry) Token(ctx context.Context, id string) (registry.Token, error) {
	t, err := scanToken(r.reader.QueryRowContext(ctx, "SELECT "+tokenColumns+" FROM tokens WHERE id = $1", id))
	if errors.Is(err, sql.ErrNoRows) {
		return registry.Token{}, errNoToken
	}
	return t, r.failure(err)
}

// TokenByHash returns the token that was issued with hash.
func (r *Registry) TokenByHash(ctx context.Context, hash registry.Hash) (registry.Token, error) {
	t, err := scanToken(r.tokenByHash.QueryRowContext(ctx, hash[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return registry.Token{}, errNoToken
	}
	return t, r.failure(err)
}

var errNoToken = fault.New(fault.NotFound, "there is no such token")

// UseTokens notes when tokens were used.
func (r *Registry) UseTokens(ctx context.Context, uses []registry.TokenUse) error {
	return r.write(ctx, func(tx *sql.Tx) error {
		for _, use := range uses {
			if _, err := tx.ExecContext(ctx, "UPDATE tokens SET used = $1 WHERE id = $2 AND (used IS NULL OR used < $1)", millis(use.At), use.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// ForgetTokens removes some of the tokens that ended long ago, with what the log has of their revocation.
func (r *Registry) ForgetTokens(ctx context.Context) (more bool, err error) {
	before := r.now().Add(-keepEnded).UnixMilli()
	var old bool
	if err := r.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM tokens WHERE expires < $1) OR EXISTS (SELECT 1 FROM tokens WHERE revoked < $1)",
		before).Scan(&old); err != nil || !old {
		return false, r.failure(err) // nothing is changed where there is nothing to remove
	}
	err = r.write(ctx, func(tx *sql.Tx) error {
		for _, ended := range []string{"expires", "revoked"} {
			removed, err := tx.ExecContext(ctx, "DELETE FROM tokens WHERE seq IN (SELECT seq FROM tokens WHERE "+ended+" < $1 LIMIT $2)", before, forgottenTokens)
			if err != nil {
				return err
			}
			rows, err := removed.RowsAffected()
			if more = rows == forgottenTokens; err != nil || more {
				return err
			}
		}
		return nil
	})
	return more, err
}

// scanToken reads one row of tokenColumns, and what precedes them in it.
func scanToken(row interface{ Scan(...any) error }, before ...any) (registry.Token, error) {
	var t registry.Token
	var created, expires, revoked, used sql.NullInt64
	if err := row.Scan(append(before, &t.ID, &t.Application, &t.Member, &created, &expires, &revoked, &used)...); err != nil {
		return registry.Token{}, err
	}
	t.Created, t.Expires, t.Revoked, t.Used = fromMillis(created), fromMillis(expires), fromMillis(revoked), fromMillis(used)
	return t, nil
}

// Revocations returns what follows since in the log of revoked tokens.
func (r *Registry) Revocations(ctx context.Context, since int64) (revoked []registry.Revocation, next int64, err error) {
	if since < 0 {
		err := r.reader.QueryRowContext(ctx, "SELECT COALESCE(MAX(seq), 0) FROM revocations").Scan(&next)
		return nil, next, r.failure(err)
	}
	rows, err := r.revocations.QueryContext(ctx, since, revocationsPage)
	if err != nil {
		return nil, 0, r.failure(err)
	}
	defer rows.Close()
	next = since
	var hash []byte
	for rows.Next() {
		var one registry.Revocation
		if err := rows.Scan(&next, &one.TokenID, &hash); err != nil {
			return nil, 0, r.failure(err)
		}
		copy(one.Hash[:], hash)
		revoked = append(revoked, one)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, r.failure(err)
	}
	return slices.Clip(revoked), next, nil
}
