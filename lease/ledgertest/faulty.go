package ledgertest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// Op is a method of a ledger that may be given a [Fault].
type Op uint8

// The ops.
const (
	Borrow Op = iota
	Return
	OpenDay
	Read
	ReadMembers
)

// String returns the method's name.
func (o Op) String() string {
	return [...]string{"Borrow", "Return", "OpenDay", "Read", "ReadMembers"}[o]
}

// ErrFault is what failing calls return when their fault names no other error.
var ErrFault = errors.New("ledgertest: a fault, as planned")

// Fault is what goes wrong with one call; the zero Fault is nothing. What a good client of a ledger must live with are
// errors and delays. Twice is a defect that no ledger may have.
type Fault struct {
	Before error         // returned instead of doing anything
	Delay  time.Duration // passes before it is done
	Twice  bool          // it is done twice; the answer is the second one's
	Late   time.Duration // passes after it was done
	After  error         // returned although it was done
}

// Plan says what goes wrong with the n-th call of a ledger, counted from 0 over all ops. It is asked once for each call,
// from many goroutines, and should answer the same for the same n and op.
type Plan func(n int64, op Op) Fault

// Faulty is a ledger to whose calls faults happen as planned. A call that is delayed ends early when its context does:
// before it was done with nothing done, after it with the context's error.
type Faulty struct {
	Ledger lease.Ledger
	Plan   Plan

	calls atomic.Int64
}

var _ lease.Ledger = (*Faulty)(nil)

// do does one call with whatever is planned for it.
func (f *Faulty) do(ctx context.Context, op Op, do func() error) error {
	fault := f.Plan(f.calls.Add(1)-1, op)
	if fault.Before != nil {
		return fault.Before
	}
	if err := wait(ctx, fault.Delay); err != nil {
		return err
	}
	err := do()
	if fault.Twice && err == nil {
		err = do()
	}
	if e := wait(ctx, fault.Late); err == nil {
		err = e
	}
	if err == nil {
		err = fault.After
	}
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Borrow implements [lease.Ledger].
func (f *Faulty) Borrow(ctx context.Context, day quota.Day, asks []lease.Ask, grants []lease.Grant) error {
	return f.do(ctx, Borrow, func() error { return f.Ledger.Borrow(ctx, day, asks, grants) })
}

// OpenDay implements [lease.Ledger].
func (f *Faulty) OpenDay(ctx context.Context, day quota.Day) error {
	return f.do(ctx, OpenDay, func() error { return f.Ledger.OpenDay(ctx, day) })
}

// Return implements [lease.Ledger].
func (f *Faulty) Return(ctx context.Context, day quota.Day, returns []lease.Return) error {
	return f.do(ctx, Return, func() error { return f.Ledger.Return(ctx, day, returns) })
}

// Read implements [lease.Ledger].
func (f *Faulty) Read(ctx context.Context, date quota.Date, application string) (records []lease.Record, err error) {
	err = f.do(ctx, Read, func() (err error) {
		records, err = f.Ledger.Read(ctx, date, application)
		return err
	})
	return records, err
}

// ReadMembers implements [lease.Ledger].
func (f *Faulty) ReadMembers(ctx context.Context, date quota.Date, members []lease.MemberKey) (records []lease.Record, err error) {
	err = f.do(ctx, ReadMembers, func() (err error) {
		records, err = f.Ledger.ReadMembers(ctx, date, members)
		return err
	})
	return records, err
}

// HashKey implements [lease.Ledger]. Nothing ever goes wrong with it.
func (f *Faulty) HashKey() [16]byte { return f.Ledger.HashKey() }

// None plans nothing.
func None(int64, Op) Fault { return Fault{} }

// Every plans fault for every n-th call of op: the calls numbered n-1, 2n-1 and so on, if they are of that op.
func Every(n int64, op Op, fault Fault) Plan {
	return func(call int64, o Op) Fault {
		if o == op && call%n == n-1 {
			return fault
		}
		return Fault{}
	}
}

// First plans, of several plans, what the first has that plans anything.
func First(plans ...Plan) Plan {
	return func(n int64, op Op) Fault {
		for _, plan := range plans {
			if f := plan(n, op); f != (Fault{}) {
				return f
			}
		}
		return Fault{}
	}
}
