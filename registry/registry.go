// Package registry keeps what outlives a day: the catalog and its overrides, tokens, settings, and the audit of every
// change to them. It owns the interface [Registry] and the words that go with it; package sqlregistry implements it,
// and package registrytest holds what every implementation must do.
//
// # Whose is what
//
// The catalog has two layers. What a file brought belongs to the file: [Registry.Apply] makes that layer equal to the next
// file, and removes nothing else. What was made at run time, by command line, API or portal, is a layer of its own ([Runtime]):
//
//   - An override made at run time goes before the file's, for each kind of limit by itself, and stays until it is cleared, even
//     while the application or the endpoint that it names is gone from the file.
//   - So does what was set of an endpoint, a tier or an application, an amendment: its limits, its cost, its name, tier, shadow and suspension,
//     each by itself. Reverted, what lies under it holds again.
//   - An endpoint, a tier or an application added at run time lies under the file's: it holds while no file has one of that id. What is
//     set of it after that is an amendment: a file that brings one of the same id does not lift a suspension.
//
// A file with which what was made at run time makes no sense is refused, as when it takes away a tier that applications were put in.
// [Registry.Catalog] returns both layers as one: what holds.
package registry

import (
	"context"

	"github.com/perdiem/perdiem/catalog"
)

// Registry is the store. Each method is safe for concurrent use, by many nodes too. Each change is one transaction, durable when the
// method returns, and lands in the audit within it; a change that changes nothing leaves no trace. Errors are those of package
// fault; [fault.Unavailable] means that the store cannot be reached or written at the moment.
type Registry interface {
	// Catalog returns what holds, valid and in canonical form, and its version, which rises with each change. The catalog is the
	// caller's own. [fault.NotFound] where none was ever applied.
	Catalog(context.Context) (c *catalog.Catalog, version int64, err error)
	// Version returns the version of the catalog alone, at little cost: 0 where none was ever applied.
	Version(context.Context) (int64, error)
	// Apply makes the file's layer equal to c, and returns what that changes in what holds, and which overrides and amendments were kept
	// over the file's or for a name that the file no longer has. Tokens of an application that is removed are revoked; one that was added at
	// run time as well is kept, with its tokens. [fault.Invalid] where c is not valid, or not together with what was added at run time;
	// then nothing is changed.
	Apply(ctx context.Context, c *catalog.Catalog, o ApplyOptions) ([]catalog.Change, error)
	// SetOverride sets at run time those of an application's limits for an endpoint that l tells, and leaves the other as it
	// was. [fault.NotFound] where the catalog has no such application or endpoint; [fault.Invalid] where l tells
	// nothing, or no limit that can be set.
	SetOverride(ctx context.Context, application, endpoint string, l catalog.PartialLimits, actor string) error
	// ClearOverride takes back what [Registry.SetOverride] set. [fault.NotFound] where the catalog has no such application or
	// endpoint, or where there is no override; [fault.Conflict] where the only override there is belongs to the file.
	ClearOverride(ctx context.Context, application, endpoint, actor string) error

	// AddApplication adds an application that was met at run time, and returns the version of a catalog that has it. It is never removed by
	// [Registry.Apply]; while a file has an application of the same id, the file's holds. Where the catalog has the application already,
	// nothing is changed. [fault.Invalid] where the id breaks the rule of [ValidID]; [fault.NotFound] where the catalog
	// has no such tier; [fault.Exhausted] where as many were met before as may be, or the catalog is full.
	AddApplication(context.Context, NewApplication) (version int64, err error)
	// The rest of what changes the catalog at run time.
	Runtime

	// IssueToken keeps a new token and returns it under a fresh id. [fault.Invalid] as in [NewToken.Validate];
	// [fault.NotFound] where the catalog has no such application; [fault.Conflict] where the hash was issued before, or the application has as
	// many tokens as [NewToken.MaxOwn] lets it have.
	IssueToken(context.Context, NewToken) (Token, error)
	// RevokeToken ends a token for good; ending it again changes nothing. [fault.NotFound] where there is none of that id.
	RevokeToken(ctx context.Context, id, actor string) error
	// Tokens returns up to limit tokens of an application, 1 to [MaxTokens], those expired or revoked too, in the order in which they were
	// issued, of those that follow the position after; 0 begins with the first. next is the position to go on from, and 0 where no more
	// follow. [fault.NotFound] where the catalog has no such application and no token was issued for it.
	Tokens(ctx context.Context, application string, after int64, limit int) (tokens []Token, next int64, err error)
	// HoldingTokens returns the tokens that a query asks for. [fault.Invalid] where its limit is none; [fault.NotFound] where the catalog has no
	// such application.
	HoldingTokens(context.Context, HoldingTokens) (tokens []Token, next int64, err error)
	// Token returns the token of an id, expired or revoked too. [fault.NotFound] where there is none.
	Token(ctx context.Context, id string) (Token, error)
	// UseTokens notes when tokens were used: of each, the latest time that was told. An id that is none's is passed over. It is no change for
	// the audit.
	UseTokens(ctx context.Context, uses []TokenUse) error
	// ForgetTokens removes some of the tokens that expired or were revoked more than a week ago, and reports whether more of them are left.
	ForgetTokens(ctx context.Context) (more bool, err error)
	// TokenByHash returns the token that was issued with hash, expired or not. [fault.NotFound] where there is none or it
	// was revoked.
	TokenByHash(ctx context.Context, hash Hash) (Token, error)
	// Revocations returns entries of the log of revoked tokens that follow the position since, oldest first, at most
	// a few thousand of them, and the position after the last: to be given as since the next time. Where none follow, next is
	// since. A negative since asks for the log's end alone. An entry stays for a week: whoever reads less often has to forget what it
	// remembers of tokens.
	Revocations(ctx context.Context, since int64) (revoked []Revocation, next int64, err error)

	// Setting returns what was set under key, and false where nothing was. Settings are few and small: the ledger's id, the rule of
	// the day, the hash of the operator's key.
	Setting(ctx context.Context, key string) (value string, ok bool, err error)
	// SetSetting sets key to value. The audit records that it was set, not the value.
	SetSetting(ctx context.Context, key, value string) error
	// SetOperatorKey sets the setting [OperatorKey] to a hash, or to nothing: there is none then. The audit tells it from others by [KeyName].
	// [fault.Invalid] where it is neither.
	SetOperatorKey(ctx context.Context, hash, actor string) error
	// KeepSetting sets key to value where nothing was set, and returns what is set: of many that ask at the same time, all get the same.
	KeepSetting(ctx context.Context, key, value string) (kept string, err error)

	// Audit returns up to limit entries of the audit, 1 to 1000, the newest first, of those older than the entry before;
	// before 0 begins with the newest of all. [MaxAudit] and what stands with it say how many are kept.
	Audit(ctx context.Context, before int64, limit int) ([]AuditEntry, error)

	// Accounts of the Developer Portal.
	Accounts

	// Close lets go of the store. Nothing may be called after it.
	Close() error
}

// MaxTokens is the most tokens that [Registry.Tokens] returns at a time.
const MaxTokens = 1000

// OperatorKey is the setting under which the SHA-256 of the operator's key is kept, in 64 hexadecimal digits.
const OperatorKey = "operator_key.sha256"

// ApplyOptions says how a catalog's file is applied, and for whom.
type ApplyOptions struct {
	Source string // the file's name, for the audit
	Actor  string // who applies it, for the audit
	DryRun bool   // only say what would change
}

// NewApplication is an application that was met and is about to be added.
type NewApplication struct {
	ID    string
	Tier  string // one of the catalog's
	Most  int    // how many applications may have been added so, this one among them; those that an operator added do not count
	Actor string // who adds it, for the audit
}
