package registry

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"

	"github.com/perdiem/perdiem/fault"
)

// Accounts is the part of a [Registry] that keeps who may sign in to the Developer Portal, which applications are granted to them, and their
// sessions. Wherever an email is given it may be in any case; one that breaks the rule of [ParseEmail] is [fault.Invalid], and one without an
// account is [fault.NotFound]. Changes land in the audit, without a password or its hash; of sessions, that all of an account were ended.
type Accounts interface {
	// AddAccount adds an account and returns it. [fault.Conflict] where its email has one already, or its subject, or where there are [MaxAccounts]. A subject that
	// is not zero is [fault.Invalid] as in [Subject.Validate].
	AddAccount(ctx context.Context, n NewAccount, actor string) (Account, error)
	// Account returns the account of an email.
	Account(ctx context.Context, email string) (Account, error)
	// AccountOf returns the account to which somebody at an issuer is linked. [fault.NotFound] where there is none.
	AccountOf(ctx context.Context, s Subject) (Account, error)
	// Link links an account to somebody at an issuer, who alone signs in to it from there from then on; a link to another issuer is replaced. [fault.Invalid] as in
	// [Subject.Validate]; [fault.Conflict] where the account is linked to somebody else at that issuer, or they to another account.
	Link(ctx context.Context, email string, s Subject, actor string) error
	// Accounts returns up to limit accounts, 1 to [MaxAccountPage], in order of their emails, of those that follow after; an empty after begins
	// with the first. next is what to go on from, and empty where no more follow.
	Accounts(ctx context.Context, after string, limit int) (accounts []Account, next string, err error)
	// SetPassword replaces an account's password by the one with this hash, as in [Account], and ends its sessions.
	SetPassword(ctx context.Context, email, hash, actor string) error
	// SetOperator makes an account an operator's, or no longer one.
	SetOperator(ctx context.Context, email string, operator bool, actor string) error
	// RemoveAccount removes an account, its grants and its sessions.
	RemoveAccount(ctx context.Context, email, actor string) error

	// Grant lets an account see an application; where it does already, its role is changed. [fault.Invalid] where there is no such role,
	// [fault.NotFound] also where the catalog has no such application, and [fault.Conflict] where the account or the application has
	// [MaxGrants] already. An application that is removed from the catalog takes its grants along, as it does its tokens: who saw it does not see
	// another one that gets its id later.
	Grant(ctx context.Context, g Grant, actor string) error
	// Withdraw takes a grant back. [fault.NotFound] also where there is none.
	Withdraw(ctx context.Context, email, application, actor string) error
	// Grants returns what is granted to an account, in order of the applications' ids.
	Grants(ctx context.Context, email string) ([]Grant, error)
	// Team returns to whom an application is granted, in order of their emails. [fault.NotFound] where the catalog has no such
	// application.
	Team(ctx context.Context, application string) ([]Grant, error)

	// KeepSession begins a session, or replaces the data and the expiry of one that runs. [fault.Invalid] as in [Session.Validate];
	// [fault.Conflict] where the session was ended, or its stamp is no longer its account's: somebody has to sign in again. An account has at most
	// [MaxSessions]: one more ends its oldest. Sessions that expired are forgotten here, some at a time.
	KeepSession(ctx context.Context, s Session) error
	// Session returns the session that runs under a hash. [fault.NotFound] where there is none: it was never kept, has expired, or was ended.
	Session(ctx context.Context, hash Hash) (Session, error)
	// EndSession ends a session for good; where none runs under hash, it does nothing.
	EndSession(ctx context.Context, hash Hash) error
	// EndSessions ends all sessions of an account, also those that are about to begin from a sign-in before.
	EndSessions(ctx context.Context, email, actor string) error
}

// What is kept of accounts, at the most.
const (
	MaxAccounts     = 100_000
	MaxAccountPage  = 1000    // that [Accounts.Accounts] returns at a time
	MaxGrants       = 1000    // of an account, and of an application
	MaxSessions     = 100     // of an account
	MaxSessionData  = 4 << 10 // bytes
	MaxPasswordHash = 512     // bytes
	MaxIssuer       = 2048    // bytes
	MaxSubject      = 255     // bytes of its name: OpenID Connect Core 1.0, section 2
)

// Account is somebody who may sign in to the portal.
type Account struct {
	Email    string // as [ParseEmail] returns it; names the account
	Operator bool   // sees and does everything
	Password string // the password's hash, as package identity writes it: no password itself. Empty: the account has none, and signs in by OIDC alone
	Created  time.Time
	// Stamp changes whenever all sessions of the account end. A session bears the stamp of the account as it was when somebody signed in.
	Stamp int64
	// Subject is who alone signs in to the account at an issuer; zero: nobody did yet.
	Subject Subject
}

// Subject is somebody at an issuer, under whatever email. The zero value is nobody.
type Subject struct {
	Issuer string // as it names itself
	Name   string // what the issuer calls them for good: sub
}

// Validate reports, as [fault.Invalid], a part that is missing or too long.
func (s Subject) Validate() error {
	switch {
	case s.Issuer == "" || len(s.Issuer) > MaxIssuer:
		return fault.New(fault.Invalid, "an issuer of %d bytes: must be 1 to %d", len(s.Issuer), MaxIssuer)
	case s.Name == "" || len(s.Name) > MaxSubject:
		return fault.New(fault.Invalid, "a subject of %d bytes: must be 1 to %d", len(s.Name), MaxSubject)
	default:
		return nil
	}
}

// NewAccount is an account about to be added.
type NewAccount struct {
	Email    string
	Operator bool
	Password string // as in [Account]
	Subject  Subject
}

// Role says what somebody may do with an application that is granted to them.
type Role string

// The roles.
const (
	Viewer Role = "viewer" // sees it
	Admin  Role = "admin"  // changes what its developers may change, too
)

// Grant lets an account see an application.
type Grant struct {
	Email       string
	Application string
	Role        Role
}

// Validate reports, as [fault.Invalid], an id that breaks the rule of [ValidID], and a role that is none. The email is not looked at.
func (g Grant) Validate() error {
	switch {
	case !ValidID(g.Application):
		return fault.New(fault.Invalid, "application %.64q: %s", g.Application, idRule)
	case g.Role != Viewer && g.Role != Admin:
		return fault.New(fault.Invalid, "role %.64q: must be %s or %s", g.Role, Admin, Viewer)
	default:
		return nil
	}
}

// Session is what is kept of somebody who has signed in.
type Session struct {
	Hash    Hash      // the SHA-256 of the secret that the browser has: all that is kept of it
	Email   string    // the account's
	Stamp   int64     // the account's
	Data    []byte    // the portal's own, up to [MaxSessionData]
	Expires time.Time // to the millisecond; from then on there is no session
}

// Validate reports, as [fault.Invalid], data that is too long and an expiry that is not after now. The email is not looked at.
func (s Session) Validate(now time.Time) error {
	switch {
	case len(s.Data) > MaxSessionData:
		return fault.New(fault.Invalid, "a session of %d bytes: must be at most %d", len(s.Data), MaxSessionData)
	case !s.Expires.After(now):
		return fault.New(fault.Invalid, "the session would expire at %s, which has passed", s.Expires.UTC().Format(time.RFC3339))
	default:
		return nil
	}
}

// NewStamp returns a fresh random stamp.
func NewStamp() int64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return int64(binary.LittleEndian.Uint64(b[:]) >> 1)
}

const emailRule = "must be an address such as ann@example.com: ASCII, at most 254 bytes, without white space, quotes and comments"

// ParseEmail returns an email in lower case, in which all accounts are told: of two that differ in case, mail reaches the same person nearly everywhere, and one
// must not pass for the other anywhere. It takes what RFC 5321 calls a Mailbox, but for quoted strings, address literals and letters
// beyond ASCII (two of these can look the same): a local part of at most 64 bytes, and a domain of labels of at most 63. [fault.Invalid] where it is none.
func ParseEmail(email string) (string, error) {
	local, domain, ok := strings.Cut(email, "@")
	if !ok || len(email) > 254 || len(local) > 64 || !validDots(local, validAtom) || !validDots(domain, validLabel) {
		return "", fault.New(fault.Invalid, "email %.64q: %s", email, emailRule)
	}
	return strings.ToLower(email), nil
}

// validDots reports whether text is one or more valid parts with a dot between two of them.
func validDots(text string, valid func(string) bool) bool {
	for part := range strings.SplitSeq(text, ".") {
		if part == "" || !valid(part) {
			return false
		}
	}
	return true
}

const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// validAtom goes by RFC 5322, section 3.2.3.
func validAtom(part string) bool { return strings.Trim(part, alphanumeric+"!#$%&'*+-/=?^_`{|}~") == "" }

// validLabel goes by RFC 1035, section 2.3.1, and RFC 1123, section 2.1.
func validLabel(part string) bool {
	return len(part) <= 63 && strings.Trim(part, alphanumeric+"-") == "" && part[0] != '-' && part[len(part)-1] != '-'
}
