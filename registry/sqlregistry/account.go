package sqlregistry

import (
	"context"
	"database/sql"
	"errors"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

const accountColumns = "email, operator, password, created, stamp, issuer, subject"

// AddAccount adds an account.
func (r *Registry) AddAccount(ctx context.Context, n registry.NewAccount, actor string) (registry.Account, error) {
	email, err := registry.ParseEmail(n.Email)
	if err != nil {
		return registry.Account{}, err
	}
	if err := checkPasswordHash(n.Password); err != nil {
		return registry.Account{}, err
	}
	if n.Subject != (registry.Subject{}) {
		if err := n.Subject.Validate(); err != nil {
			return registry.Account{}, err
		}
	}
	a := registry.Account{
		Email: email, Operator: n.Operator, Password: n.Password, Created: fromMillis(millis(r.now())), Stamp: registry.NewStamp(), Subject: n.Subject,
	}
	err = r.write(ctx, func(tx *sql.Tx) error {
		var count int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM accounts").Scan(&count); err != nil {
			return err
		}
		if count >= registry.MaxAccounts {
			return fault.New(fault.Conflict, "there are %d accounts, and no more may be: remove those that nobody uses", count)
		}
		if err := checkUnlinked(ctx, tx, a.Subject); err != nil {
			return err
		}
		added, err := tx.ExecContext(ctx, "INSERT INTO accounts ("+accountColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (email) DO NOTHING",
			a.Email, asInt(a.Operator), a.Password, millis(a.Created), a.Stamp, a.Subject.Issuer, a.Subject.Name)
		if err != nil {
			return err
		}
		if rows, err := added.RowsAffected(); err != nil {
			return err
		} else if rows == 0 {
			return fault.New(fault.Conflict, "%s has an account already", a.Email)
		}
		return r.record(ctx, tx, registry.AuditEntry{
			Actor: actor, Action: registry.ActionAddAccount, Subject: "account " + a.Email, After: describeAccount(a),
		})
	})
	if err != nil {
		return registry.Account{}, err
	}
	return a, nil
}

// checkPasswordHash keeps what is no hash of a password from being kept as one. Whether it is a good one is its maker's affair.
func checkPasswordHash(hash string) error {
	if hash != "" && (hash[0] != '$' || len(hash) > registry.MaxPasswordHash) {
		return fault.New(fault.Invalid, "that is no hash of a password in the PHC form, of at most %d bytes", registry.MaxPasswordHash)
	}
	return nil
}

// describeAccount says in the audit what an account is.
func describeAccount(a registry.Account) string {
	text := describeOperator(a.Operator)
	if a.Password == "" {
		text += " without password"
	}
	return text
}

func describeOperator(operator bool) string {
	if operator {
		return "operator"
	}
	return "developer"
}

// asInt is how the tables hold what is true or not.
func asInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Account returns the account of an email.
func (r *Registry) Account(ctx context.Context, email string) (a registry.Account, err error) {
	if email, err = registry.ParseEmail(email); err != nil {
		return registry.Account{}, err
	}
	a, err = readAccount(ctx, r.reader, email)
	return a, r.failure(err)
}

func readAccount(ctx context.Context, q querier, email string) (registry.Account, error) {
	a, err := scanAccount(q.QueryRowContext(ctx, "SELECT "+accountColumns+" FROM accounts WHERE email = $1", email))
	if errors.Is(err, sql.ErrNoRows) {
		err = fault.New(fault.NotFound, "there is no account %s", email)
	}
	return a, err
}

// AccountOf returns the account to which somebody at an issuer is linked.
func (r *Registry) AccountOf(ctx context.Context, s registry.Subject) (registry.Account, error) {
	a, err := readAccountOf(ctx, r.reader, s)
	return a, r.failure(err)
}

func readAccountOf(ctx context.Context, q querier, s registry.Subject) (registry.Account, error) {
	// The second condition is the index's.
	row := q.QueryRowContext(ctx, "SELECT "+accountColumns+" FROM accounts WHERE issuer = $1 AND subject = $2 AND subject <> ''", s.Issuer, s.Name)
	a, err := scanAccount(row)
	if errors.Is(err, sql.ErrNoRows) {
		err = fault.New(fault.NotFound, "no account is linked to %.64q at %.64q", s.Name, s.Issuer)
	}
	return a, err
}

// checkUnlinked keeps somebody at an issuer from being linked to a second account.
func checkUnlinked(ctx context.Context, tx *sql.Tx, s registry.Subject) error {
	a, err := readAccountOf(ctx, tx, s)
	switch {
	case err == nil:
		return fault.New(fault.Conflict, "whoever signs in so is linked to the account %s already", a.Email)
	case fault.KindOf(err) == fault.NotFound:
		return nil
	default:
		return err
	}
}

// Link links an account to somebody at an issuer.
func (r *Registry) Link(ctx context.Context, email string, s registry.Subject, actor string) error {
	if err := s.Validate(); err != nil {
		return err
	}
	return r.changeAccount(ctx, email, func(tx *sql.Tx, a registry.Account) error {
		if a.Subject == s {
			return errRollback
		}
		if a.Subject.Issuer == s.Issuer {
			return fault.New(fault.Conflict, "the account %s is linked to somebody else there", a.Email)
		}
		if err := checkUnlinked(ctx, tx, s); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE accounts SET issuer = $1, subject = $2 WHERE email = $3", s.Issuer, s.Name, a.Email); err != nil {
			return err
		}
		return r.record(ctx, tx, registry.AuditEntry{
			Actor: actor, Action: registry.ActionLinkAccount, Subject: "account " + a.Email, Before: a.Subject.Issuer, After: s.Issuer,
		})
	})
}

// scanAccount reads one row of accountColumns.
func scanAccount(row interface{ Scan(...any) error }) (registry.Account, error) {
	var a registry.Account
	var created sql.NullInt64
	if err := row.Scan(&a.Email, &a.Operator, &a.Password, &created, &a.Stamp, &a.Subject.Issuer, &a.Subject.Name); err != nil {
		return registry.Account{}, err
	}
	a.Created = fromMillis(created)
	return a, nil
}

// Accounts returns a page of the accounts.
func (r *Registry) Accounts(ctx context.Context, after string, limit int) (accounts []registry.Account, next string, err error) {
	if limit < 1 || limit > registry.MaxAccountPage {
		return nil, "", fault.New(fault.Invalid, "limit %d: must be 1 to %d", limit, registry.MaxAccountPage)
	}
	if after != "" {
		if after, err = registry.ParseEmail(after); err != nil {
			return nil, "", err
		}
	}
	// One more than is returned tells whether more follow.
	rows, err := r.reader.QueryContext(ctx, "SELECT "+accountColumns+" FROM accounts WHERE email > $1 ORDER BY email LIMIT $2", after, limit+1)
	if err != nil {
		return nil, "", r.failure(err)
	}
	defer rows.Close()
	for rows.Next() {
		if len(accounts) == limit {
			next = accounts[limit-1].Email
			break
		}
		a, err := scanAccount(rows)
		if err != nil {
			return nil, "", r.failure(err)
		}
		accounts = append(accounts, a)
	}
	if err := rows.Err(); err != nil {
		return nil, "", r.failure(err)
	}
	return accounts, next, nil
}

// SetPassword replaces an account's password.
func (r *Registry) SetPassword(ctx context.Context, email, hash, actor string) error {
	if err := checkPasswordHash(hash); err != nil {
		return err
	}
	return r.changeAccount(ctx, email, func(tx *sql.Tx, a registry.Account) error {
		if _, err := tx.ExecContext(ctx, "UPDATE accounts SET password = $1 WHERE email = $2", hash, a.Email); err != nil {
			return err
		}
		if err := endSessions(ctx, tx, a.Email); err != nil {
			return err
		}
		after := "changed"
		if hash == "" {
			after = "none"
		}
		return r.record(ctx, tx, registry.AuditEntry{Actor: actor, Action: registry.ActionSetPassword, Subject: "account " + a.Email, After: after})
	})
}

// SetOperator makes an account an operator's, or no longer one.
func (r *Registry) SetOperator(ctx context.Context, email string, operator bool, actor string) error {
	return r.changeAccount(ctx, email, func(tx *sql.Tx, a registry.Account) error {
		if a.Operator == operator {
			return errRollback
		}
		if _, err := tx.ExecContext(ctx, "UPDATE accounts SET operator = $1 WHERE email = $2", asInt(operator), a.Email); err != nil {
			return err
		}
		return r.record(ctx, tx, registry.AuditEntry{
			Actor: actor, Action: registry.ActionSetOperator, Subject: "account " + a.Email,
			Before: describeOperator(a.Operator), After: describeOperator(operator),
		})
	})
}

// RemoveAccount removes an account; its grants and sessions refer to it, and go with it.
func (r *Registry) RemoveAccount(ctx context.Context, email, actor string) error {
	return r.changeAccount(ctx, email, func(tx *sql.Tx, a registry.Account) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM accounts WHERE email = $1", a.Email); err != nil {
			return err
		}
		return r.record(ctx, tx, registry.AuditEntry{
			Actor: actor, Action: registry.ActionRemoveAccount, Subject: "account " + a.Email, Before: describeAccount(a), After: "removed",
		})
	})
}

// changeAccount runs change on the account of an email, as it is, in a transaction.
func (r *Registry) changeAccount(ctx context.Context, email string, change func(*sql.Tx, registry.Account) error) error {
	email, err := registry.ParseEmail(email)
	if err != nil {
		return err
	}
	return r.write(ctx, func(tx *sql.Tx) error {
		a, err := readAccount(ctx, tx, email)
		if err != nil {
			return err
		}
		return change(tx, a)
	})
}
