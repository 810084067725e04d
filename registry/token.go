package registry

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
)

// Hash is the SHA-256 of a token's secret: all that is kept of it.
type Hash = [32]byte

// Token is what the registry knows of an opaque token. The secret itself is not kept.
type Token struct {
	ID          string // "tok_" and 16 hexadecimal digits: for people and logs, no secret
	Application string
	Member      string    // empty: the application's own token
	Created     time.Time // to the millisecond
	Expires     time.Time // to the millisecond; from then on the token is rejected. Zero: never
	Revoked     time.Time // to the millisecond; zero: it holds
	// Used is when the token was last used, as far as [Registry.UseTokens] was told; to the millisecond. Zero: never.
	Used time.Time
}

// TokenUse says that a token was used.
type TokenUse struct {
	ID string
	At time.Time
}

// NewToken is a token about to be issued.
type NewToken struct {
	Hash        Hash
	Application string    // one of the catalog's
	Member      string    // empty, or equal to Application: the application's own token
	Expires     time.Time // zero: never; otherwise later than now
	// MaxOwn is how many of the application's own tokens may hold, this one among them. 0: any number. A member's token is not counted.
	MaxOwn int
	Actor  string // who issues it, for the audit
}

// Validate reports, as [fault.Invalid], ids that break the rule of [ValidID] and an expiry that is not after now.
func (n NewToken) Validate(now time.Time) error {
	switch {
	case !ValidID(n.Application):
		return fault.New(fault.Invalid, "application %.64q: %s", n.Application, idRule)
	case n.Member != "" && !ValidID(n.Member):
		return fault.New(fault.Invalid, "member %.64q: %s", n.Member, idRule)
	case !n.Expires.IsZero() && !n.Expires.After(now):
		return fault.New(fault.Invalid, "the token would expire at %s, which has passed: give a time to come", n.Expires.UTC().Format(time.RFC3339))
	default:
		return nil
	}
}

// HoldingTokens asks for an application's tokens that hold, being neither expired nor revoked: the newest first.
type HoldingTokens struct {
	Application string
	Own         bool  // only the application's own, no member's
	Before      int64 // where to go on: what an earlier answer told as next; 0 begins with the newest. Where next is 0, no more follow
	Limit       int   // how many are told at most, 1 to [MaxTokens]
}

// NewTokenID returns a fresh random id for a token.
func NewTokenID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return "tok_" + hex.EncodeToString(b[:])
}

// Revocation is one entry of the log of revoked tokens.
type Revocation struct {
	TokenID string
	Hash    Hash
}

const idRule = "must be 1 to 256 bytes of UTF-8 without control characters"

// ValidID reports whether id may name an application or a member, as [catalog.ValidID] does.
func ValidID(id string) bool { return catalog.ValidID(id) }
