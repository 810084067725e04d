package embedledger

import (
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// Return implements [lease.Ledger]. It returns [fault.Invalid] for a day that was dropped. It goes on while the disk
// is too full for grants, and returns [fault.Unavailable] when it is fuller still.
func (l *Ledger) Return(ctx context.Context, day quota.Day, returns []lease.Return) error {
	if err := checkReturns(returns); err != nil {
		return err
	}
	if err := l.begin(ctx); err != nil {
		return err
	}
	defer l.end()
	if len(returns) == 0 {
		return nil
	}
	if err := l.hasRoom(l.space.min / 4); err != nil {
		return err
	}
	err := l.change(func(w *pebble.Batch) error {
		if err := l.meta.retains(day.Date); err != nil {
			return err
		}
		b := &l.work
		b.reset()
		for i := range returns {
			b.add(day.Date, &returns[i].Counter)
		}
		if err := b.sort(); err != nil {
			return err
		}
		return b.apply(l.db, w, l.cacheLocked(day.Date), func(i int, r *lease.Record, found bool) (changed, soon bool) {
			return takeBack(&returns[i], r, found), false
		})
	})
	if err != nil {
		return err
	}
	l.stats.returns.Add(1)
	return nil
}

// takeBack applies one return to its counter's record.
func takeBack(back *lease.Return, r *lease.Record, found bool) (changed bool) {
	was := *r
	if found {
		r.Granted = max(0, r.Granted-back.Calls)
	}
	r.Refused = addCalls(r.Refused, back.Refused)
	r.RefusedForMember = addCalls(r.RefusedForMember, back.RefusedForMember)
	r.LastCall = max(r.LastCall, back.LastCall)
	return *r != was
}

func checkReturns(returns []lease.Return) error {
	if len(returns) > lease.MaxBatch {
		return fault.New(fault.Invalid, "%d returns: at most %d", len(returns), lease.MaxBatch)
	}
	for i := range returns {
		r := &returns[i]
		if err := checkCounter(&r.Counter); err != nil {
			return err
		}
		for _, n := range [...]int64{r.Calls, r.Refused, r.RefusedForMember, r.LastCall} {
			if n < 0 || n > maxCalls {
				return fault.New(fault.Invalid, "a return is out of range: %+v", *r)
			}
		}
	}
	return nil
}
