// Package lease spends daily allowances from memory and borrows them in blocks from a ledger.
//
// A counter's truth is one number in the [Ledger]: the calls granted today. A node never spends what was not granted to it
// first, so for each day and counter
//
//	calls admitted ≤ calls granted ≤ the highest limit in force that day
//
// whatever crashes: a lost answer or a killed node only forfeits calls, and blocks are small, so few. The one
// exception is the operator's own choice, [Options.AdmitWhenDown].
//
// [Book] is the whole interface. [Book.Take] decides a call for both its limits as one: charged to both or to neither. When what
// it needs is in hand it touches memory alone; otherwise it waits while the book borrows, together with all else that waits. Calls
// not used are returned when a counter has been idle for about a second, when the day ends, and at [Book.Close].
//
// A crash forfeits, for each counter, the calls in flight and at most the larger of one request's cost and the smaller of twice what the
// last two seconds used and the block cap (1 % of the limit; up to 8 for limits below 800; none up to 31).
//
// The README beside this file walks through an example.
package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/quota"
)

// Options are what a [Book] is made of. Ledger, Rule and Day are required.
type Options struct {
	Ledger Ledger
	Rule   quota.DayRule // of the days to come
	Day    quota.Day     // the day to begin with, as [quota.DayRule.Resume] returns it
	// AdmitWhenDown admits calls that cannot be borrowed while the ledger is down or does not answer, within what the node knows to be
	// left. They are owed, and charged when the ledger is back; a node that ends before then loses them. Otherwise such calls are
	// answered with an error.
	AdmitWhenDown bool
	// Wait is how long a call may wait for the ledger: 5 s unless told.
	Wait time.Duration
	// Near is told when a member has come to a higher percentage of its limit, from 50 on, or to another limit; nil: nobody is. It is told on the member's call, which
	// waits for it, by many calls at a time, and it must not call the book.
	Near   func(Near)
	Now    func() time.Time // time.Now unless told
	Logger *slog.Logger     // slog.Default() unless told
}

// Book holds a node's leases and decides its calls. It is safe for concurrent use.
type Book struct {
	ledger  Ledger
	rule    quota.DayRule
	wait    time.Duration
	near    func(Near)
	now     func() time.Time
	started time.Time
	secret  [16]byte
	lane    *lane
	sweeper *sweeper

	current atomic.Pointer[epoch]
	mu      sync.Mutex // held while the day changes
	next    *epoch     // guarded by mu: tomorrow's accounts, while the reset is near
	over    []*epoch   // guarded by mu: days that have ended and hold leases still

	telling sync.Mutex   // held while accounts are told of in turn: see [Book.Decided]
	untold  atomic.Int64 // calls

	stopping atomic.Bool
	waiters  sync.Pool
}

// Open returns a book that is ready for calls. The caller closes it, and afterwards the ledger.
func Open(o Options) (*Book, error) {
	if o.Ledger == nil || o.Day == (quota.Day{}) || o.Rule == (quota.DayRule{}) {
		return nil, errors.New("lease: Options need a Ledger, a Rule and a Day")
	}
	if o.Wait == 0 {
		o.Wait = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Near == nil {
		o.Near = func(Near) {}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	b := &Book{
		ledger: o.Ledger, rule: o.Rule, wait: o.Wait, near: o.Near, now: o.Now, started: o.Now(), secret: o.Ledger.HashKey(),
	}
	b.waiters.New = func() any {
		return &waiter{done: make(chan struct{}, 1)}
	}
	b.current.Store(newEpoch(o.Day, b.secret))
	b.lane = newLane(o, b.tick)
	b.sweeper = newSweeper(b, o.Logger)
	go b.lane.loop()
	go b.sweeper.loop()
	return b, nil
}

func (b *Book) tick() tick {
	return tick(max(0, b.now().Sub(b.started)) * ticksPerSecond / time.Second)
}

// Take decides a call, and charges it when it is admitted: to its application's counter and to its member's, or to neither. A refusal is
// no error. The call belongs to the day that contains the instant of the decision.
//
// The error is of kind fault.Unavailable when the ledger would have to be asked and cannot be, or does not answer in time, and
// ctx's when ctx ends first; nothing is charged then.
func (b *Book) Take(ctx context.Context, c Call) (quota.Decision, error) {
	// The clock is read after the decision: one that turns out to have come after its day's end is undone.
	for e := b.current.Load(); ; e = b.epoch(b.now()) {
		k := call{Call: c, epoch: e, app: e.application(name{c.Application, c.Endpoint})}
		if c.Member != "" {
			k.key = k.app.hasher.key(c.Member)
		}
		if d, ok := k.atWall(); ok {
			if now := b.now(); now.Before(e.day.End) {
				k.app.wallRefused.Add(1)
				k.app.called(now)
				return d, nil
			}
			continue
		}
		d, v := k.take()
		now := b.now()
		if v == short {
			if !now.Before(e.day.End) {
				continue
			}
			k.now = now
			var err error
			if d, err = b.waitFor(ctx, &k); errors.Is(err, errDayOver) {
				continue
			} else if err != nil {
				return quota.Decision{}, err
			}
			now = b.now()
		}
		if now.Before(e.day.End) {
			k.app.called(now)
			if k.near > 0 {
				b.near(Near{Day: e.day.Date, Application: c.Application, Endpoint: c.Endpoint, Member: c.Member, Limit: c.Limits.Member, Percent: int(k.near)})
			}
			return d, nil
		}
		// The reset has come, perhaps while the call waited or the process was stopped. It is decided again in the new day; the old day's
		// leases get back what it was admitted from.
		k.undo(d)
	}
}

// waitFor lets the lane decide the call.
func (b *Book) waitFor(ctx context.Context, k *call) (quota.Decision, error) {
	if b.stopping.Load() {
		return quota.Decision{}, errStopping
	}
	if b.lane.stalled(b.wait) {
		return b.withoutLedger(k)
	}
	w := b.waiters.Get().(*waiter)
	w.call, w.answer, w.err = *k, quota.Decision{}, nil
	w.state.Store(unanswered)
	if d, v := b.lane.enqueue(w); v != short {
		k.near = w.near
		b.waiters.Put(w)
		return d, nil
	}
	timer := time.NewTimer(b.wait)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-ctx.Done():
		if w.abandon() {
			return quota.Decision{}, ctx.Err() // the lane still holds w: it is not used again
		}
		<-w.done
	case <-timer.C:
		if w.abandon() {
			return b.withoutLedger(k)
		}
		<-w.done
	}
	d, err := w.answer, w.err
	k.near = w.near
	w.call = call{}
	b.waiters.Put(w)
	return d, err
}

// withoutLedger answers a call for which the ledger did not answer in time.
func (b *Book) withoutLedger(k *call) (quota.Decision, error) {
	member, unlock := k.lock()
	defer unlock()
	return b.lane.withoutLedger(k, member)
}

// epoch returns the epoch of the day that contains now, or the current one when the clock was set back: a day that is over
// is not opened again.
func (b *Book) epoch(now time.Time) *epoch {
	if e := b.current.Load(); now.Before(e.day.End) {
		return e
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.current.Load()
	for !now.Before(e.day.End) {
		day := b.rule.After(e.day)
		switch {
		case day.Date == e.day.Date: // a changed rule makes the running day longer
			e = &epoch{day: day, accounts: e.accounts}
		case b.next != nil && b.next.day == day:
			b.over = append(b.over, e)
			e, b.next = b.next, nil
		default:
			b.over = append(b.over, e)
			e = newEpoch(day, b.secret)
		}
	}
	b.next = nil
	b.current.Store(e)
	return e
}

// tomorrow returns the epoch of the next day, in which leases can be borrowed ahead; nil when the running day goes on.
func (b *Book) tomorrow() *epoch {
	b.mu.Lock()
	defer b.mu.Unlock()
	today := b.current.Load().day
	if b.next == nil {
		if day := b.rule.After(today); day.Date != today.Date {
			b.next = newEpoch(day, b.secret)
		}
	}
	return b.next
}

// Day returns the day that is running.
func (b *Book) Day() quota.Day { return b.epoch(b.now()).day }

// Ready returns why the book could not decide every call now: the ledger is down, a stop is under way, or the clock has
// jumped over a reset. It returns nil when it could.
func (b *Book) Ready() error {
	if b.stopping.Load() {
		return errStopping
	}
	if err := b.lane.down.Load(); err != nil {
		return fmt.Errorf("the ledger is down: %w", *err)
	}
	if b.lane.stalled(b.wait) {
		return fmt.Errorf("the ledger has not answered for %v", b.wait)
	}
	return b.sweeper.jumped()
}

// Stats are what a node has done since it started, and what it holds.
type Stats struct {
	Requests int64 // requests to the ledger to borrow
	Asks     int64 // counters named in them
	Returns  int64 // calls returned
	Unbacked int64 // calls admitted while the ledger was down
	Accounts int64 // members' accounts in memory, at the last sweep
	Untold   int64 // calls that [Book.Decided] had not told of when their day was let go
	Down     bool  // the last request to the ledger failed
}

// Stats returns the figures as they stand.
func (b *Book) Stats() Stats {
	return Stats{
		Requests: b.lane.counts.requests.Load(),
		Asks:     b.lane.counts.asks.Load(),
		Unbacked: b.lane.counts.unbacked.Load(),
		Returns:  b.sweeper.returned.Load(),
		Accounts: b.sweeper.accounts.Load(),
		Untold:   b.untold.Load(),
		Down:     b.lane.down.Load() != nil,
	}
}

// Close returns all leases to the ledger. Calls that come after it began are answered from hand or not at all; the caller has
// stopped its doors before. Calls that are still owed are charged first; those that a ledger which is down cannot be charged are lost,
// and logged. It returns ctx's error when ctx ends first: what was not returned then is forfeited.
func (b *Book) Close(ctx context.Context) error {
	if b.stopping.Swap(true) {
		return nil
	}
	done := make(chan error, 1)
	go func() {
		b.lane.run(b.owing()...)
		b.lane.stop()
		done <- b.sweeper.stop(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// epochs returns all days that hold accounts.
func (b *Book) epochs() []*epoch {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := append([]*epoch{b.current.Load()}, b.over...)
	if b.next != nil {
		all = append(all, b.next)
	}
	return all
}

// owing returns errands that charge what is owed.
func (b *Book) owing() []errand {
	var errands []errand
	for _, e := range b.epochs() {
		e.each(func(a *account, app *applicationAccount, key MemberKey) {
			if a.owed > 0 {
				a.waiting++
				errands = append(errands, errand{epoch: e, app: app, key: key})
			}
		})
	}
	return errands
}
