package embedledger

import (
	"context"
	"runtime"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// Borrow implements [lease.Ledger]. What it granted is written, and with [Disk] synced, when it returns. It returns
// [fault.Unavailable] and grants nothing while the disk is almost full, and [fault.Invalid] for a day that was dropped.
//
// The context is looked at before the ledger begins, not after.
func (l *Ledger) Borrow(ctx context.Context, day quota.Day, asks []lease.Ask, grants []lease.Grant) error {
	if err := checkAsks(asks, grants); err != nil {
		return err
	}
	if err := l.begin(ctx); err != nil {
		return err
	}
	defer l.end()
	if err := l.hasRoom(l.space.min); err != nil {
		return err
	}
	if len(asks) == 0 {
		return nil
	}

	// The askers that the last batch woke come first: what they ask for next can then travel together.
	runtime.Gosched()
	granted := int64(0)
	err := l.change(func(w *pebble.Batch) error {
		if err := l.meta.retains(day.Date); err != nil {
			return err
		}
		if err := l.openCacheLocked(day.Date); err != nil {
			return err
		}
		b := &l.work
		b.reset()
		for i := range asks {
			b.add(day.Date, &asks[i].Counter)
		}
		if err := b.sort(); err != nil {
			return err
		}
		return b.apply(l.db, w, l.cacheLocked(day.Date), func(i int, r *lease.Record, _ bool) (changed, soon bool) {
			changed = grant(&asks[i], r, &grants[i])
			if grants[i].Calls > 0 {
				granted++
			}
			return changed, asks[i].Most > asks[i].Least // a block is borrowed for a counter in use
		})
	})
	if err != nil {
		clear(grants)
		return err
	}
	l.stats.borrows.Add(1)
	l.stats.grants.Add(granted)
	return nil
}

// grant answers one ask out of its counter's record.
func grant(a *lease.Ask, r *lease.Record, g *lease.Grant) (changed bool) {
	changed = a.Owed > 0 || a.LastCall > r.LastCall
	r.Granted = addCalls(r.Granted, a.Owed)
	r.LastCall = max(r.LastCall, a.LastCall)
	*g = lease.Grant{}
	if calls := min(a.Most, a.Limit.Left(r.Granted)); calls >= a.Least {
		r.Granted = addCalls(r.Granted, calls)
		g.Calls, changed = calls, true
	}
	g.Granted = r.Granted
	return changed
}

func checkAsks(asks []lease.Ask, grants []lease.Grant) error {
	if len(asks) > lease.MaxBatch || len(asks) != len(grants) {
		return fault.New(fault.Invalid, "%d asks and %d grants: must be equal, and at most %d", len(asks), len(grants), lease.MaxBatch)
	}
	for i := range asks {
		a := &asks[i]
		if err := checkCounter(&a.Counter); err != nil {
			return err
		}
		if a.Least < 1 || a.Most < a.Least && a.Most != 0 || a.Limit < 0 || a.Limit > quota.Unlimited || a.Owed < 0 || a.Owed > maxCalls || a.LastCall < 0 || a.LastCall > maxCalls {
			return fault.New(fault.Invalid, "an ask is out of range: %+v", *a)
		}
	}
	return nil
}
