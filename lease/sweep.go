package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

const (
	// sweepEvery is how often each account is looked at. An account then holds at most twice what it used in the second before,
	// which with the time to the next sweep, and for the return itself, stays within two seconds.
	sweepEvery = 500 * time.Millisecond
	// stripes are the parts of a sweep, which are done evenly spaced, so that returns come as a trickle.
	stripes = 8
	// returnBatch is how many counters one return names: few, because a borrow may wait behind it in the ledger.
	returnBatch = 128
	// keptIdle is how many accounts a shard keeps although they are idle and hold nothing, for what they know: a member
	// remembered as used up is refused without asking.
	keptIdle = 1024
	// borrowAhead is how long before the reset tomorrow's first leases are borrowed.
	borrowAhead = 10 * time.Second
	// returnOver is the time over which a day's leases go back after its end.
	returnOver = 30 * time.Second
	// jump is by how much the clock may cross a reset by being set, before the node says it is not ready, for jumpMuted.
	jump      = 5 * time.Second
	jumpMuted = time.Minute
)

var errStopping = fault.New(fault.Unavailable, "This node is stopping. Try again.")

// sweeper returns what is not used, notes refusals and last calls in the ledger, borrows ahead before the reset, and lets go of
// accounts that are idle. It sends returns on a lane of its own: they never delay a borrow by more than one batch.
type sweeper struct {
	book     *Book
	log      *slog.Logger
	returned atomic.Int64
	accounts atomic.Int64
	jumpedAt atomic.Pointer[time.Time]
	halting  sync.Once
	quit     chan struct{}
	stopped  chan struct{}

	// notes is held from the moment something is taken out of an account until the ledger has it: who reads usage
	// in between would miss it.
	notes   sync.Mutex
	returns []Return   // guarded by notes
	from    []noted    // guarded by notes: by return
	day     *epoch     // guarded by notes: of the returns
	ahead   []tomorrow // guarded by notes: to borrow for in the next day
	failing bool       // guarded by notes: the last return failed

	// What follows is the loop's own.
	stripe int
	sweep  uint8
	found  int64     // accounts seen in the sweep under way
	last   time.Time // the clock's reading at the last step
	ticked time.Time // the ticker's at the last step
	end    time.Time // the end of the day that was running at the last step
}

// noted is the account that a return came from.
type noted struct {
	app *applicationAccount // nil: the member's of the counter
}

// tomorrow is an account to borrow for ahead.
type tomorrow struct {
	app   *applicationAccount // nil: the member's of key
	key   MemberKey
	limit quota.Limit
	upTo  int64
}

func newSweeper(b *Book, log *slog.Logger) *sweeper {
	return &sweeper{book: b, log: log, quit: make(chan struct{}), stopped: make(chan struct{})}
}

func (s *sweeper) loop() {
	defer close(s.stopped)
	ticker := time.NewTicker(sweepEvery / stripes)
	defer ticker.Stop()
	for {
		select {
		case <-s.quit:
			return
		case tick := <-ticker.C:
			s.step(tick)
		}
	}
}

// step does one stripe of a sweep. The ticker's time carries a reading of the monotonic clock.
func (s *sweeper) step(ticked time.Time) {
	b := s.book
	now := b.now()
	s.watchClock(now, ticked)
	today := b.epoch(now)
	if b.lane.down.Load() != nil {
		b.lane.poke() // to find out whether it is up again
	}
	left := today.day.End.Sub(now)
	s.sweepStripe(today, ahead(left), nothing)

	b.mu.Lock()
	over := b.over
	b.mu.Unlock()
	for _, e := range over {
		if s.stripe == 0 {
			e.sweeps, e.held = e.sweeps+1, 0
		}
		elapsed := time.Duration(e.sweeps) * sweepEvery // by whole sweeps, however the clock is set meanwhile
		s.sweepStripe(e, nothing, due(elapsed))
		if s.stripe == stripes-1 && e.held == 0 && elapsed > returnOver {
			s.close(e)
		}
	}
	if s.stripe++; s.stripe == stripes {
		s.stripe = 0
		s.sweep++
		s.accounts.Store(s.found)
		s.found = 0
	}
}

// share says which accounts something is done for, as a number of slots out of slots: it grows to all of them.
type share int

const (
	slots         = 64
	nothing share = 0
	all     share = slots
)

func (p share) has(k MemberKey) bool { return k.spread(slots) < uint32(p) }

// ahead returns the share of accounts for which leases are borrowed ahead when so much of the day is left: all in the last second.
func ahead(left time.Duration) share {
	if left > borrowAhead || left <= 0 {
		return nothing
	}
	return min(all, 1+share(slots*(borrowAhead-left)/(borrowAhead-time.Second)))
}

// due returns the share of accounts whose leases have to go back so long after their day's end.
func due(elapsed time.Duration) share {
	return max(nothing, min(all, share(slots*elapsed/(returnOver-time.Second))))
}

// sweepStripe looks at an eighth of the accounts of a day.
func (s *sweeper) sweepStripe(e *epoch, borrow, giveBack share) {
	s.notes.Lock()
	defer s.notes.Unlock()
	s.day = e
	over := e != s.book.current.Load()
	var chores []errand
	visit := func(a *account, app *applicationAccount, key MemberKey) {
		give, upTo := a.excess(), int64(0)
		if over {
			give = 0
			if giveBack.has(key) {
				give = a.have
			}
		} else if !a.topping {
			upTo = a.topUp()
		}
		if a.recent() > 0 && borrow.has(key) {
			s.ahead = append(s.ahead, tomorrow{app: app, key: key, limit: a.limit, upTo: max(1, min(a.recent(), blockCap(a.limit)))})
		}
		a.mark[0], a.mark[1] = uint32(a.used()), a.mark[0]
		switch {
		case s.book.lane.down.Load() != nil || a.waiting > 0 || a.noting || a.topping && a.ask > 0:
		case a.owed > 0:
			a.waiting++
			chores = append(chores, errand{epoch: e, app: app, key: key})
		case upTo > 0:
			a.topping = true
			chores = append(chores, errand{epoch: e, app: app, key: key, upTo: upTo, asked: s.book.tick()})
			s.take(a, app, key, 0)
		default:
			s.take(a, app, key, give)
		}
		if a.have > 0 || a.waiting > 0 || a.noting || a.topping || a.owed > 0 {
			e.held++
		}
	}
	for i := s.stripe; i < shardCount; i += stripes {
		s.sweepShard(&e.shards[i], over, visit)
		if len(s.returns) >= returnBatch {
			_ = s.send() // it has logged what failed
		}
	}
	e.mu.Lock()
	list := e.list
	e.mu.Unlock()
	for i := s.stripe; i < len(list); i += stripes {
		app := list[i]
		app.mu.Lock()
		visit(&app.account, app, app.slot)
		app.mu.Unlock()
		if len(s.returns) >= returnBatch {
			_ = s.send() // it has logged what failed
		}
	}
	_ = s.send()
	if len(s.ahead) > 0 {
		chores = append(chores, s.borrowAhead()...)
	}
	if len(chores) > 0 {
		s.book.lane.run(chores...)
	}
}

// sweepShard visits the accounts of a shard and drops those that hold nothing and know nothing worth keeping.
func (s *sweeper) sweepShard(sh *shard, over bool, visit func(*account, *applicationAccount, MemberKey)) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := &sh.table
	sh.owing = 0
	for i := 0; i < len(t.slots); {
		sl := &t.slots[i]
		if !sl.full || sl.sweep == s.sweep {
			i++
			continue
		}
		sl.sweep = s.sweep
		idle := sl.recent() == 0
		visit(&sl.account, nil, sl.key)
		if sl.owed > 0 {
			sh.owing++
		}
		empty := sl.have == 0 && sl.owed == 0 && sl.waiting == 0 && sl.refused == 0 && !sl.noting && !sl.topping
		if empty && (over || !sl.known || idle && t.count > keptIdle) {
			t.removeAt(i) // which may move another account here
			continue
		}
		i++
	}
	s.found += int64(t.count)
	t.fit()
}

// take takes out of an account, whose lock is held, what goes to the ledger.
func (s *sweeper) take(a *account, app *applicationAccount, key MemberKey, give int64) {
	if app != nil {
		app.bookRefused()
	}
	r := Return{Counter: Counter{Member: key}, Calls: give, Refused: int64(a.refused)}
	if app != nil {
		r.Counter = Counter{Application: app.application, Endpoint: app.endpoint}
		r.RefusedForMember = int64(app.refusedForMember)
		if last := app.lastCall.Load(); last != app.notedCall {
			r.LastCall = last
		}
	}
	if r.Calls == 0 && r.Refused == 0 && r.LastCall == 0 {
		return
	}
	// The account is emptied before the return is sent: what may be back in the ledger can be spent no more.
	a.have -= give
	a.granted -= give
	a.refused = 0
	a.noting = true
	if app != nil {
		app.refusedForMember = 0
		app.notedCall = max(app.notedCall, r.LastCall)
	}
	s.returns = append(s.returns, r)
	s.from = append(s.from, noted{app: app})
}

// send sends what was taken to the ledger. The caller holds notes.
func (s *sweeper) send() error {
	var errs []error
	for start := 0; start < len(s.returns); start += returnBatch {
		end := min(start+returnBatch, len(s.returns))
		err := s.book.ledger.Return(context.Background(), s.day.day, s.returns[start:end])
		if err != nil {
			errs = append(errs, err)
		}
		s.noteFailing(err)
		for i := start; i < end; i++ {
			s.sent(&s.returns[i], s.from[i].app, err)
		}
	}
	s.returns, s.from = s.returns[:0], s.from[:0]
	return errors.Join(errs...)
}

// noteFailing logs when returns begin to fail, and when they no longer do.
func (s *sweeper) noteFailing(err error) {
	if failing := err != nil; failing != s.failing {
		s.failing = failing
		if failing {
			s.log.Warn("the ledger takes nothing back: leases are forfeited and refusals are noted later", "error", err)
		} else {
			s.log.Info("the ledger takes leases back again")
		}
	}
}

// sent enters into the account what became of a return.
func (s *sweeper) sent(r *Return, app *applicationAccount, err error) {
	a, unlock := s.day.lock(app, r.Counter.Member)
	defer unlock()
	a.noting = false
	if err == nil {
		s.returned.Add(r.Calls)
		return
	}
	// The calls may or may not be back: they must not be spent again, and only the ledger knows what is left. What was only
	// noted can be noted again.
	a.granted += r.Calls
	a.known = a.known && r.Calls == 0
	a.refused += uint32(r.Refused)
	if app != nil {
		app.refusedForMember += uint32(r.RefusedForMember)
		app.notedCall = 0
	}
}

// borrowAhead returns the errands for the accounts that are to hold leases when tomorrow begins, and do not yet.
func (s *sweeper) borrowAhead() []errand {
	defer func() { s.ahead = s.ahead[:0] }()
	next := s.book.tomorrow()
	if next == nil {
		return nil
	}
	var errands []errand
	for _, t := range s.ahead {
		if t.app != nil {
			t.app = next.application(t.app.name)
		}
		a, unlock := next.lock(t.app, t.key)
		if !a.known && a.waiting == 0 {
			a.waiting++
			a.limit = t.limit
			errands = append(errands, errand{epoch: next, app: t.app, key: t.key, upTo: t.upTo, ahead: true})
		}
		unlock()
	}
	return errands
}

// close lets a day go whose leases are all back.
func (s *sweeper) close(e *epoch) {
	b := s.book
	b.mu.Lock()
	for i, o := range b.over {
		if o == e {
			b.over = append(b.over[:i:i], b.over[i+1:]...)
			break
		}
	}
	b.mu.Unlock()
	if calls := e.untold(); calls > 0 {
		b.untold.Add(calls)
		s.log.Error("what became of calls was not recorded before their day was let go: it is lost to the history", "calls", calls, "day", e.day.Date)
	}
}

// halt ends the loop, and returns when it has ended.
func (s *sweeper) halt() {
	s.halting.Do(func() { close(s.quit) })
	<-s.stopped
}

// stop ends the loop and returns all leases of all days.
func (s *sweeper) stop(ctx context.Context) error {
	s.halt()
	s.notes.Lock()
	defer s.notes.Unlock()
	var errs []error
	for _, e := range s.book.epochs() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.day = e
		var lost int64
		e.each(func(a *account, app *applicationAccount, key MemberKey) {
			lost += a.owed
			s.take(a, app, key, a.have)
		})
		if lost > 0 {
			s.log.Error("calls that were admitted while the ledger was down could not be charged: they are lost", "calls", lost, "day", e.day.Date)
		}
		errs = append(errs, s.send())
	}
	return errors.Join(errs...)
}

// watchClock notices when the clock is set across a reset: the wall clock and the monotonic one then part.
func (s *sweeper) watchClock(now, ticked time.Time) {
	if !s.ticked.IsZero() {
		set := now.Round(0).Sub(s.last.Round(0)) - ticked.Sub(s.ticked)
		if set > jump && now.Sub(s.end) > jump {
			s.log.Error("the clock was set over a reset: check it", "by", set)
			s.jumpedAt.Store(&now)
		}
	}
	s.last, s.ticked = now, ticked
	s.end = s.book.epoch(now).day.End
}

// jumped returns an error while the clock is not to be trusted.
func (s *sweeper) jumped() error {
	now := s.book.now()
	if at := s.jumpedAt.Load(); at != nil && now.Sub(*at) < jumpMuted {
		return errors.New("the clock was set over a reset: check it")
	}
	if day := s.book.current.Load().day; day.Start.Sub(now) > jump {
		return fmt.Errorf("the clock says %s, before the running day's start %s: set it right", now.UTC().Format(time.RFC3339), day.Start.UTC().Format(time.RFC3339))
	}
	return nil
}
