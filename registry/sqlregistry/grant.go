package sqlregistry

import (
	"context"
	"database/sql"
	"errors"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// Grant lets an account see an application.
func (r *Registry) Grant(ctx context.Context, g registry.Grant, actor string) error {
	if err := g.Validate(); err != nil {
		return err
	}
	return r.changeAccount(ctx, g.Email, func(tx *sql.Tx, a registry.Account) error {
		if _, err := readApplication(ctx, tx, g.Application); err != nil {
			return err
		}
		before, err := readRole(ctx, tx, a.Email, g.Application)
		switch {
		case err != nil:
			return err
		case before == g.Role:
			return errRollback
		case before == "":
			if err := roomForGrant(ctx, tx, a.Email, g.Application); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO grants (email, application, role) VALUES ($1, $2, $3) "+
			"ON CONFLICT (email, application) DO UPDATE SET role = excluded.role", a.Email, g.Application, string(g.Role)); err != nil {
			return err
		}
		return r.record(ctx, tx, registry.AuditEntry{
			Actor: actor, Action: registry.ActionGrant, Subject: grantSubject(a.Email, g.Application), Before: string(before), After: string(g.Role),
		})
	})
}

func grantSubject(email, application string) string { return "grant " + email + " " + application }

// readRole returns an account's role for an application, and none where it has none.
func readRole(ctx context.Context, q querier, email, application string) (role registry.Role, err error) {
	err = q.QueryRowContext(ctx, "SELECT role FROM grants WHERE email = $1 AND application = $2", email, application).Scan(&role)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return role, err
}

// roomForGrant returns [fault.Conflict] where one more grant would be too many.
func roomForGrant(ctx context.Context, q querier, email, application string) error {
	for _, side := range []struct{ column, value, name string }{
		{"email", email, "account " + email},
		{"application", application, "application " + application},
	} {
		var count int
		if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM grants WHERE "+side.column+" = $1", side.value).Scan(&count); err != nil {
			return err
		}
		if count >= registry.MaxGrants {
			return fault.New(fault.Conflict, "%s has %d grants, and no more may be: withdraw those that nobody uses", side.name, count)
		}
	}
	return nil
}

// Withdraw takes a grant back.
func (r *Registry) Withdraw(ctx context.Context, email, application, actor string) error {
	return r.changeAccount(ctx, email, func(tx *sql.Tx, a registry.Account) error {
		before, err := readRole(ctx, tx, a.Email, application)
		if err != nil {
			return err
		}
		if before == "" {
			return fault.New(fault.NotFound, "application %.64q is not granted to %s", application, a.Email)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM grants WHERE email = $1 AND application = $2", a.Email, application); err != nil {
			return err
		}
		return r.record(ctx, tx, registry.AuditEntry{
			Actor: actor, Action: registry.ActionWithdraw, Subject: grantSubject(a.Email, application), Before: string(before), After: "withdrawn",
		})
	})
}

// Grants returns what is granted to an account.
func (r *Registry) Grants(ctx context.Context, email string) (grants []registry.Grant, err error) {
	if email, err = registry.ParseEmail(email); err != nil {
		return nil, err
	}
	err = r.read(ctx, func(tx *sql.Tx) error {
		if _, err := readAccount(ctx, tx, email); err != nil {
			return err
		}
		grants, err = readGrants(ctx, tx, "email = $1 ORDER BY application", email)
		return err
	})
	return grants, err
}

// Team returns to whom an application is granted.
func (r *Registry) Team(ctx context.Context, application string) (grants []registry.Grant, err error) {
	err = r.read(ctx, func(tx *sql.Tx) error {
		if _, err := readApplication(ctx, tx, application); err != nil {
			return err
		}
		grants, err = readGrants(ctx, tx, "application = $1 ORDER BY email", application)
		return err
	})
	return grants, err
}

// readGrants returns the grants of which a condition is true.
func readGrants(ctx context.Context, q querier, condition, value string) (grants []registry.Grant, err error) {
	rows, err := q.QueryContext(ctx, "SELECT email, application, role FROM grants WHERE "+condition, value)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var g registry.Grant
		if err := rows.Scan(&g.Email, &g.Application, &g.Role); err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, rows.Err()
}
