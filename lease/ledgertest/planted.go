package ledgertest

import (
	"context"
	"sync"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// The ledgers in this file have a defect each. A test of those who use a ledger is worth something when it fails on
// all of them.

// ReturnsTwice is a ledger that applies each return twice.
func ReturnsTwice(l lease.Ledger) lease.Ledger {
	return &Faulty{Ledger: l, Plan: Every(1, Return, Fault{Twice: true})}
}

// ChargesRefusals is a ledger that charges what it refuses: an ask that is granted nothing raises the counter by what it
// wanted at least.
type ChargesRefusals struct{ lease.Ledger }

// Borrow implements [lease.Ledger], wrongly.
func (c ChargesRefusals) Borrow(ctx context.Context, day quota.Day, asks []lease.Ask, grants []lease.Grant) error {
	if err := c.Ledger.Borrow(ctx, day, asks, grants); err != nil {
		return err
	}
	var charges []lease.Ask
	for i, a := range asks {
		if grants[i].Calls == 0 && a.Most > 0 {
			charges = append(charges, lease.Ask{Counter: a.Counter, Limit: a.Limit, Least: 1, Owed: a.Least})
		}
	}
	return c.Ledger.Borrow(ctx, day, charges, make([]lease.Grant, len(charges)))
}

// Unsynced is a ledger that answers before its grants are durable: a [Unsynced.Crash] forgets those of the last calls.
type Unsynced struct {
	lease.Ledger
	Calls int // of Borrow, that a crash forgets

	mu     sync.Mutex
	recent []borrowed // guarded by mu
}

type borrowed struct {
	day     quota.Day
	returns []lease.Return
}

// Borrow implements [lease.Ledger], too early.
func (u *Unsynced) Borrow(ctx context.Context, day quota.Day, asks []lease.Ask, grants []lease.Grant) error {
	if err := u.Ledger.Borrow(ctx, day, asks, grants); err != nil {
		return err
	}
	b := borrowed{day: day}
	for i, g := range grants {
		if g.Calls > 0 {
			b.returns = append(b.returns, lease.Return{Counter: asks[i].Counter, Calls: g.Calls})
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.recent = append(u.recent, b)
	u.recent = u.recent[max(0, len(u.recent)-u.Calls):]
	return nil
}

// Crash forgets what was granted last, as a loss of power would.
func (u *Unsynced) Crash(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, b := range u.recent {
		if err := u.Ledger.Return(ctx, b.day, b.returns); err != nil {
			return err
		}
	}
	u.recent = nil
	return nil
}
