// Package admit is the one use case of perdiem: a request comes in, and it is decided whether it may go on. It finds the endpoint
// that the request meets and the caller who makes it, the limits that hold for the two, and has the call charged.
//
//	path, err := a.Path(escaped)                  // the one spelling of the path
//	decision, err := a.Admit(ctx, admit.Request{Method: r.Method, Path: path, …})
//
// Every door (the gateway, forward-auth, Envoy's rate limit service) asks here and otherwise translates, so that a request is
// decided in the same way through each of them. What a limit refuses is a [Decision]; everything else that keeps a request
// from going on is an error of package fault:
//
//	Invalid       the request or its credential could mean two things
//	Unauthorized  no credential, one that does not hold, or an application that the catalog does not know
//	Forbidden     the application is suspended, or has no access to the endpoint
//	Unavailable   the ledger or the registry is down, and the policy is to refuse
//	Exhausted     too many unknown credentials at once, too many applications that nobody knew, or infrastructure
//	              protection ([Request.Protect])
package admit

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// Options are what an [Admitter] needs. All are required but Register.
type Options struct {
	// Catalog returns the snapshot that holds now. A request is decided by the one that holds when its caller is known.
	Catalog func() *catalog.Snapshot
	// Callers finds out who makes a request.
	Callers *identity.Chain
	// Take charges a call or refuses it: [lease.Book.Take]. The error is [fault.Unavailable] when the ledger is down.
	Take func(context.Context, lease.Call) (quota.Decision, error)
	// Now is the clock by which [Decision.At] is told.
	Now func() time.Time
	// Register is told the id of an application that an issuer's valid token names ([identity.Caller.Vouched]) and the catalog does
	// not know. When it returns nil, a snapshot that has the application holds. Nil: such an application is refused as any other.
	Register func(ctx context.Context, application string) error
}

// Admitter decides requests. It is safe for concurrent use.
type Admitter struct {
	catalog func() *catalog.Snapshot
	callers *identity.Chain
	take    func(context.Context, lease.Call) (quota.Decision, error)
	now     func() time.Time

	register func(context.Context, string) error // nil: nobody is registered
}

// New returns an Admitter, or an error that says which option is missing.
func New(o Options) (*Admitter, error) {
	switch {
	case o.Catalog == nil:
		return nil, errors.New("admit: no catalog")
	case o.Callers == nil:
		return nil, errors.New("admit: nobody to identify callers")
	case o.Take == nil:
		return nil, errors.New("admit: nothing to charge calls to")
	case o.Now == nil:
		return nil, errors.New("admit: no clock")
	}
	return &Admitter{catalog: o.Catalog, callers: o.Callers, take: o.Take, now: o.Now, register: o.Register}, nil
}

// Request is what a decision depends on.
type Request struct {
	Method   string
	Path     catalog.Path // as [Admitter.Path] returns it
	RawQuery string       // without the question mark
	Header   http.Header  // names in canonical form; only what is sent on, besides credentials
	Peer     netip.Addr   // the other end of the TCP connection
	// Protect is asked by [Admitter.Admit], with its context, when the caller and the id of the endpoint are known and nothing but a limit can
	// refuse the call any more. An error ends the call uncharged. nil: nobody is asked.
	Protect func(ctx context.Context, endpoint string) error
}

// Decision is the answer to a request that nothing but a limit could refuse.
type Decision struct {
	// Decision says whether the call is admitted, and what is left. A call that was let pass because its endpoint or its application
	// is in shadow is admitted, though nothing was charged.
	quota.Decision
	// Shadowed is the limit that would have refused the call but for the shadow; None otherwise.
	Shadowed quota.Kind
	Caller   identity.Caller
	Endpoint *catalog.Endpoint
	Path     catalog.Path
	At       time.Time // when it was decided
}

// Path brings the path of a request line, without its query, into the one spelling that is matched and sent on. The error is
// [fault.Invalid] where it could mean two things.
func (a *Admitter) Path(escaped string) (catalog.Path, error) {
	return a.catalog().NormalizePath(escaped)
}

// Strip deletes from the headers of a request that goes upstream what identified its caller to perdiem.
func (a *Admitter) Strip(h http.Header) { a.callers.Strip(h) }

// Identify returns who makes a request, without a charge: a known application that is not suspended, and the member for whom
// it acts. The errors are those of [Admitter.Admit].
func (a *Admitter) Identify(ctx context.Context, r Request) (identity.Caller, error) {
	caller, _, _, err := a.identify(ctx, &r)
	return caller, err
}

// Admit decides a request, and charges it when it is admitted. A limit's refusal is no error.
func (a *Admitter) Admit(ctx context.Context, r Request) (Decision, error) {
	caller, application, snapshot, err := a.identify(ctx, &r)
	if err != nil {
		return Decision{}, err
	}
	endpoint, err := snapshot.Match(r.Path, r.Method, r.Header, r.RawQuery)
	if err != nil {
		return Decision{}, err
	}
	limits := snapshot.Limits(application, endpoint)
	if limits.Application == quota.NoAccess || caller.Member != "" && limits.Member == quota.NoAccess {
		return Decision{}, fault.New(fault.Forbidden, "Application %s has no access to %s.", caller.Application, endpoint.ID)
	}
	if r.Protect != nil {
		if err := r.Protect(ctx, endpoint.ID); err != nil {
			return Decision{}, err
		}
	}
	d := Decision{Caller: caller, Endpoint: endpoint, Path: r.Path}
	d.Decision, err = a.take(ctx, lease.Call{
		Application: caller.Application,
		Endpoint:    endpoint.ID,
		Member:      caller.Member,
		Limits:      limits,
		Cost:        endpoint.Cost,
	})
	if err != nil {
		return Decision{}, err
	}
	d.At = a.now()
	if !d.Admitted() && (endpoint.Shadow || application.Shadow) {
		d.Shadowed, d.Refused = d.Refused, quota.None
	}
	return d, nil
}

// identify finds the caller and its application, in the snapshot by which the request is to be decided.
func (a *Admitter) identify(ctx context.Context, r *Request) (identity.Caller, *catalog.Application, *catalog.Snapshot, error) {
	caller, err := a.callers.Identify(ctx, identity.Request{Header: r.Header, Peer: r.Peer})
	if err != nil {
		return identity.Caller{}, nil, nil, err
	}
	snapshot := a.catalog()
	application, known := snapshot.Application(caller.Application)
	if !known && caller.Vouched && a.register != nil {
		if err := a.register(ctx, caller.Application); err != nil {
			return identity.Caller{}, nil, nil, err
		}
		snapshot = a.catalog()
		application, known = snapshot.Application(caller.Application)
	}
	switch {
	case !known:
		return identity.Caller{}, nil, nil, fault.New(fault.Unauthorized, "There is no application %s.", caller.Application)
	case application.Suspended:
		return identity.Caller{}, nil, nil, fault.New(fault.Forbidden, "Application %s is suspended.", caller.Application)
	default:
		return caller, application, snapshot, nil
	}
}
