package decision

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/perdiem/perdiem/admit"
	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

// BenchmarkAdmit decides whole requests: the path brought into its one spelling, the caller found by token, the endpoint
// matched, the limits looked up, the call charged. Members are few enough to hold leases.
func BenchmarkAdmit(b *testing.B) {
	const members = 1000
	n := openNode(b)
	issued := issue(members)
	tokens, err := identity.NewTokens(identity.TokenOptions{Registry: issued, Key: issued.key})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); tokens.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	for tokens.Ready() != nil { // nothing is remembered before the log of revocations has been read
		time.Sleep(time.Millisecond)
	}
	snapshot := snapshot(b)
	a, err := admit.New(admit.Options{
		Catalog: func() *catalog.Snapshot { return snapshot },
		Callers: identity.New(tokens),
		Take:    n.Take,
		Now:     time.Now,
	})
	if err != nil {
		b.Fatal(err)
	}
	type request struct {
		admit.Request
		path string
	}
	requests := make([]request, members*endpoints)
	for i := range requests {
		requests[i] = request{
			Request: admit.Request{
				Method: http.MethodGet,
				Header: http.Header{
					"Accept":        {"application/json"},
					"Authorization": {"Bearer " + issued.secrets[i/endpoints]},
					"User-Agent":    {"bench"},
				},
				Peer: netip.MustParseAddr("127.0.0.1"),
			},
			path: "/v1/ep" + strconv.Itoa(i%endpoints) + "/urn%3Ali%3A" + strconv.Itoa(i),
		}
	}
	one := func(i int) (quota.Kind, error) {
		r := requests[i].Request
		var err error
		if r.Path, err = a.Path(requests[i].path); err != nil {
			return quota.None, err
		}
		d, err := a.Admit(b.Context(), r)
		return d.Refused, err
	}
	for i := range requests {
		if _, err := one(i); err != nil {
			b.Fatal(err)
		}
	}
	run(b, n, uniform(len(requests)), one)
}

// snapshot returns a catalog of the benchmark's endpoints and applications.
func snapshot(b *testing.B) *catalog.Snapshot {
	limits := quota.Limits{Application: 1e12, Member: 1e9}
	c := &catalog.Catalog{CatchAll: catalog.Endpoint{ID: catalog.CatchAllID, Cost: 1, Limits: limits}}
	for e := range endpoints {
		id := endpointID(e)
		c.Endpoints = append(c.Endpoints, catalog.Endpoint{ID: id, Method: http.MethodGet, Path: "/v1/" + id + "/{id}", Cost: 1, Limits: limits})
	}
	for a := range applications {
		c.Applications = append(c.Applications, catalog.Application{ID: applicationID(a)})
	}
	s, err := catalog.NewSnapshot(c, catalog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// issued are tokens in memory, none of them revoked.
type issued struct {
	secrets []string // by member
	tokens  map[registry.Hash]registry.Token
	key     *identity.TokenKey
}

func issue(members int) *issued {
	s := &issued{tokens: map[registry.Hash]registry.Token{}, key: identity.NewTokenKey()}
	for m := range members {
		secret, hash := s.key.NewToken()
		s.secrets = append(s.secrets, secret)
		s.tokens[hash] = registry.Token{ID: registry.NewTokenID(), Application: applicationID(m), Member: memberID(m), Expires: time.Now().Add(24 * time.Hour)}
	}
	return s
}

// TokenByHash implements [identity.TokenReader].
func (s *issued) TokenByHash(_ context.Context, hash registry.Hash) (registry.Token, error) {
	t, ok := s.tokens[hash]
	if !ok {
		return registry.Token{}, fault.Wrap(fault.NotFound, errors.New("never issued"), "There is no such token.")
	}
	return t, nil
}

// UseTokens implements [identity.TokenReader].
func (*issued) UseTokens(context.Context, []registry.TokenUse) error { return nil }

// Revocations implements [identity.TokenReader].
func (s *issued) Revocations(context.Context, int64) ([]registry.Revocation, int64, error) {
	return nil, 0, nil
}
