package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// newcomers registers applications that are first met in a valid token. What an issuer names costs a write and a new snapshot each,
// so they are bounded: newcomersPerSecond begin in any second, and maxNewcomers are kept in all. It is safe for concurrent use.
type newcomers struct {
	tier string
	add  func(context.Context, registry.NewApplication) (version int64, err error)
	// reach has a snapshot of at least this version of the catalog hold when it returns.
	reach func(ctx context.Context, version int64) error
	now   func() time.Time
	log   *slog.Logger

	mu    sync.Mutex
	began [newcomersPerSecond]time.Time // guarded by mu: when the last of them began, a ring
	next  int                           // guarded by mu: where began goes on
	under map[string]*newcomer          // guarded by mu: those that are being registered, by id
}

// newcomer is an application that is being registered.
type newcomer struct {
	done chan struct{} // closed when it was
	err  error         // set before done is closed
}

const (
	newcomersPerSecond = 10
	maxNewcomers       = 10_000
	registerTime       = 5 * time.Second
)

// register returns what registers applications that the catalog does not know, or nil where the configuration refuses them. All doors have the same:
// it is the node that they may keep busy so much.
func (n *node) register() func(context.Context, string) error {
	if n.config.Identity.UnknownTier == "" {
		return nil
	}
	if n.newcomers == nil {
		n.newcomers = &newcomers{
			tier: n.config.Identity.UnknownTier, add: n.registry.AddApplication, reach: n.snapshots.reach, now: n.now, log: n.log,
			under: make(map[string]*newcomer),
		}
	}
	return n.newcomers.register
}

// register adds an application, or waits for somebody else's adding of it. It goes on when whoever asked has gone.
func (n *newcomers) register(ctx context.Context, id string) error {
	one, err := n.begin(id)
	if err != nil {
		return err
	}
	select {
	case <-one.done:
		return one.err
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, ctx.Err(), "The application could not be registered in time.")
	}
}

func (n *newcomers) begin(id string) (*newcomer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if one := n.under[id]; one != nil {
		return one, nil
	}
	now := n.now()
	if passed := now.Sub(n.began[n.next]); passed >= 0 && passed < time.Second {
		return nil, fault.New(fault.Exhausted, "Too many new applications are being registered. Try again in a moment.")
	}
	n.began[n.next] = now
	n.next = (n.next + 1) % len(n.began)
	one := &newcomer{done: make(chan struct{})}
	n.under[id] = one
	go func() {
		one.err = n.settle(id)
		n.mu.Lock()
		delete(n.under, id)
		n.mu.Unlock()
		close(one.done)
	}()
	return one, nil
}

// settle adds the application and has it hold.
func (n *newcomers) settle(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), registerTime)
	defer cancel()
	version, err := n.add(ctx, registry.NewApplication{ID: id, Tier: n.tier, Most: maxNewcomers, Actor: registry.ActorToken})
	if err == nil {
		err = n.reach(ctx, version)
	}
	if err == nil {
		n.log.Info("an application was registered when it was first met", "application", id, "tier", n.tier)
		return nil
	}
	n.log.Warn("an application that was first met cannot be registered", "application", id, "tier", n.tier, "err", err)
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Exhausted:
		return fault.Wrap(fault.KindOf(err), err, "The application cannot be registered at the moment.")
	case fault.NotFound: // the catalog has lost the tier
		return fault.Wrap(fault.Unauthorized, err, "There is no such application.")
	default:
		return err
	}
}
