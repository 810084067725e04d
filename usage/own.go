package usage

import (
	"context"
	"net/http"
	"net/url"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
)

// Question is a caller's question for its own usage.
type Question struct {
	Application string // the caller's
	Member      string // the caller's; empty: it is the application itself
	TokenID     string // of the credential that says so; empty: it has no id
	Header      http.Header
	RawQuery    string
}

// Own returns today's report to a caller that asks with its own credential. A member sees its own usage. The application sees
// that of the member whom it names by the query parameter member or by the header X-Member-Id, or of none.
//
// The error is [fault.Exhausted] when a credential asks more than ten times in a second, [fault.Forbidden] when a member
// asks for another's usage or members may not ask at all, [fault.Invalid] when the question is malformed, and otherwise as
// [Reader.Today] has it.
func (r *Reader) Own(ctx context.Context, q Question) (*Report, error) {
	asker := q.TokenID
	if asker == "" {
		// An application's id has no control characters, so the two cannot run into each other.
		asker = q.Application + "\x00" + q.Member
	}
	if !r.guard.allow(asker, r.now()) {
		return nil, fault.New(fault.Exhausted, "Usage can be read %d times a second.", perSecond)
	}
	if r.applicationOnly && q.Member != "" {
		return nil, fault.New(fault.Forbidden, "Usage is told to the application, not to its members: ask with the application's own token.")
	}
	member, err := askedMember(q)
	if err != nil {
		return nil, err
	}
	return r.Today(ctx, q.Application, member)
}

// askedMember returns the member whose usage the question is for: the caller itself where that is a member, else the one that it names, and ""
// where it names none.
func askedMember(q Question) (string, error) {
	query, err := url.ParseQuery(q.RawQuery)
	if err != nil {
		return "", fault.New(fault.Invalid, "The query cannot be read: separate its parameters by & and escape the rest.")
	}
	member := q.Member
	for _, named := range append(query["member"], q.Header["X-Member-Id"]...) {
		switch {
		case !catalog.ValidID(named):
			return "", fault.New(fault.Invalid, "A member's id is 1 to 256 bytes of UTF-8 without control characters.")
		case named == member || named == q.Application: // an application is no member of itself
		case q.Member != "":
			return "", fault.New(fault.Forbidden, "A member's token shows that member's usage and no other's.")
		case member != "":
			return "", fault.New(fault.Invalid, "Two different members are named: name one, by ?member= or by X-Member-Id.")
		default:
			member = named
		}
	}
	return member, nil
}
