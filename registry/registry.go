// Package registry keeps what outlives a day: the catalog and its overrides, tokens, settings, and the audit of every
// change to them. It owns the interface [Registry] and the words that go with it; package sqlregistry implements it,
// and package registrytest holds what every implementation must do.
package registry

import (
	"context"
)

// Registry is the store. Each method is safe for concurrent use, by many nodes too; each change is one transaction,
// durable when the method returns, and lands in the audit within it. Errors are those of package fault;
// [fault.Unavailable] means that the store cannot be reached or written at the moment.
type Registry interface {
	// IssueToken keeps a new token and returns it under a fresh id. [fault.Invalid] as in [NewToken.Validate];
	// [fault.NotFound] where the catalog has no such application; [fault.Conflict] where the hash was issued before.
	IssueToken(context.Context, NewToken) (Token, error)
	// RevokeToken ends a token for good. [fault.NotFound] where there is none of that id, [fault.Conflict] where it was revoked before.
	RevokeToken(ctx context.Context, id, actor string) error
	// Tokens returns the tokens of an application, expired and revoked ones too, in the order in which they were issued.
	// [fault.NotFound] where the catalog has no such application.
	Tokens(ctx context.Context, application string) ([]Token, error)
	// TokenByHash returns the token that was issued with hash, expired or not. [fault.NotFound] where there is none or it
	// was revoked.
	TokenByHash(ctx context.Context, hash Hash) (Token, error)
	// Revocations returns entries of the log of revoked tokens that follow the position since, oldest first, at most
	// a few thousand of them, and the position after the last: to be given as since the next time. Where none follow, next is
	// since. A negative since asks for the log's end alone. An entry stays at least as long as the token could be used.
	Revocations(ctx context.Context, since int64) (revoked []Revocation, next int64, err error)

	// Setting returns what was set under key, and false where nothing was. Settings are few and small: the ledger's id, the rule of
	// the day, the hash of the operator's key.
	Setting(ctx context.Context, key string) (value string, ok bool, err error)
	// SetSetting sets key to value. The audit records that it was set, not the value.
	SetSetting(ctx context.Context, key, value string) error

	// Close lets go of the store. Nothing may be called after it.
	Close() error
}
