// Package identity finds out who makes a request: an application, and the member for whom it acts, if any.
//
// A [Chain] asks its sources in order. A [Source] looks for one sort of credential: it does not find its own, and
// the next is asked; or it recognises one, and then its answer is final, be it a [Caller] or a rejection. There are
// [Tokens], which perdiem issues itself, [JWT], which an issuer signs, [Introspection], for tokens that only their issuer can read, and
// [Headers], which a trusted proxy sets. Before a request goes upstream,
// [Chain.Strip] takes off it what only perdiem was meant to read.
//
// Nothing is guessed. Two different credentials, or an identity header with two different values, are
// refused as [fault.Invalid] instead of one being picked. A header spelt with "_" for "-" identifies nobody, and is taken off
// as the other spelling is: many an upstream cannot tell the two apart. A query never identifies anybody.
//
// Whether the application exists and is not suspended is for the catalog to say, not for this package.
//
// People sign in to the Developer Portal elsewhere, and otherwise: [SignIns] lets them in by email and password, which [Passwords] keeps as
// hashes, and [OIDC] where an issuer vouches for their email.
package identity

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/perdiem/perdiem/fault"
)

// Caller is who makes a request.
type Caller struct {
	Application string // 1 to 256 bytes of UTF-8 without control characters
	Member      string // the same; empty: the application acts for itself
	TokenID     string // the id of the token that said so; empty: no token of perdiem's did
	Vouched     bool   // an issuer's valid token names the application, which perdiem may never have heard of
}

// Request is what a source may look at.
type Request struct {
	Header http.Header // names in canonical form, as net/http delivers them
	Peer   netip.Addr  // the other end of the TCP connection; the zero Addr is trusted by nobody
}

// Source recognises one sort of credential. It is safe for concurrent use.
type Source interface {
	// Identify returns the caller and true when the request carries a credential of this sort that holds, and false
	// when it carries none. The error, of kind [fault.Unauthorized], [fault.Invalid], [fault.Unavailable] or
	// [fault.Exhausted], ends the search: the credential is of this sort and does not hold, or cannot be checked.
	Identify(context.Context, Request) (Caller, bool, error)
	// Strip deletes from h what a client or a proxy sent for this source's eyes alone.
	Strip(h http.Header)
}

// Chain is a list of sources in the order in which they are asked. It is safe for concurrent use.
type Chain struct {
	sources []Source
	nobody  error // of a request that no source recognises
}

// New returns the chain of the given sources. A chain of none identifies nobody.
func New(sources ...Source) *Chain {
	c := &Chain{sources: sources, nobody: errNoHeaders}
	for _, s := range sources {
		if _, byProxy := s.(*Headers); !byProxy {
			c.nobody = errNoCredential
		}
	}
	return c
}

// Identify returns who makes the request: the answer of the first source that recognises a credential. The error is
// that source's, or [fault.Unauthorized] when no source recognises one.
func (c *Chain) Identify(ctx context.Context, r Request) (Caller, error) {
	for _, s := range c.sources {
		caller, found, err := s.Identify(ctx, r)
		if err != nil {
			return Caller{}, err
		}
		if found {
			return caller, nil
		}
	}
	return Caller{}, c.nobody
}

// Strip deletes from h whatever identifies a caller to perdiem and is of no use to the upstream: identity headers, also
// those spelt with "_", and perdiem's own tokens. Credentials that others issued, such as JWTs, stay. It is to be
// called for each request that goes upstream, from whomever it came.
func (c *Chain) Strip(h http.Header) {
	for _, s := range c.sources {
		s.Strip(h)
	}
}

// What a request is told that identifies nobody: where tokens are taken, and where a proxy in front alone says who calls.
var (
	errNoCredential = fault.New(fault.Unauthorized, "The request carries no valid credential: send the header Authorization: Bearer with a token of an application.")
	errNoHeaders    = fault.New(fault.Unauthorized, "Nobody says which application this request is of: the proxy in front of this gateway does, by a header that is missing here, or came from elsewhere.")
)

// single returns the one value of the header called name, which is in canonical form; a value repeated word for word counts
// as one. The error is [fault.Invalid] where two values differ.
func single(h http.Header, name string) (value string, found bool, err error) {
	values := h[name]
	if len(values) == 0 {
		return "", false, nil
	}
	for _, v := range values[1:] {
		if v != values[0] {
			return "", false, fault.New(fault.Invalid, "The header %s is given more than once, with different values.", name)
		}
	}
	return values[0], true, nil
}

// stripNamed deletes the headers called name, in every spelling that an upstream may take for it: in any case, and with "_" for
// "-".
func stripNamed(h http.Header, name string) {
	for key := range h {
		if sameName(key, name) {
			delete(h, key)
		}
	}
}

// sameName reports whether a and b name the same header to a reader that does not tell "_" from "-".
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldNameByte(a[i]) != foldNameByte(b[i]) {
			return false
		}
	}
	return true
}

func foldNameByte(b byte) byte {
	switch {
	case b == '_':
		return '-'
	case 'A' <= b && b <= 'Z':
		return b + 'a' - 'A'
	default:
		return b
	}
}
