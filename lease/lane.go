package lease

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

// lane borrows for the calls that wait. All that wait at one time share one request to the ledger; while it is under way the next
// fills. One goroutine does it all, so a counter never has two unresolved borrows.
type lane struct {
	ledger Ledger
	admit  bool // what cannot be borrowed is owed, rather than refused
	log    *slog.Logger
	ticks  func() tick
	now    func() time.Time

	mu       sync.Mutex
	arrived  []*waiter // guarded by mu: in order of arrival
	errands  []errand  // guarded by mu: what nobody waits for
	stopping bool      // guarded by mu
	wake     chan struct{}
	stopped  chan struct{}

	down   atomic.Pointer[error] // why the last request to the ledger failed; nil when it did not
	began  atomic.Int64          // the tick at which the request under way began, plus one; 0: none is
	counts struct{ requests, asks, unbacked atomic.Int64 }

	// What follows is the goroutine's own.
	waiting []*waiter
	opened  quota.Day
	epoch   *epoch // of the asks
	asks    []Ask
	grants  [MaxBatch]Grant
	askers  []asker // by ask
}

// waiter is a call that waits for the lane.
type waiter struct {
	call
	done    chan struct{} // receives once, when the lane has answered
	answer  quota.Decision
	err     error
	state   atomic.Int32
	counted [2]bool // as waiting: in the application's account, in the member's
	asked   bool    // something was asked for it in the request under way
}

// The states of a waiter: who moves it on from unanswered is the one to say what becomes of the call.
const (
	unanswered int32 = iota
	answered
	abandoned
)

// asker is the account for which an ask was made.
type asker struct {
	app     *applicationAccount // nil: the member's of key
	key     MemberKey
	settled bool  // nothing else was on its way to the ledger when it was asked
	lack    int64 // calls to ask for; not above 0 when there are enough in hand
}

// errand is a borrow for which no call waits.
type errand struct {
	epoch *epoch
	app   *applicationAccount // nil: the member's of key
	key   MemberKey
	upTo  int64 // calls to have in hand; 0: only what is owed is charged
	asked tick  // when the sweep asked for that
	ahead bool  // for tomorrow: to be kept until the day has begun
}

// isTopUp reports whether the errand is marked in its account by topping. Every other counts as waiting there.
func (e *errand) isTopUp() bool { return e.upTo > 0 && !e.ahead }

// errandBatch is how many errands are run at once, so that calls that wait are not held up for long.
const errandBatch = 64

// errDayOver answers a call that waited past its day's end: it is to be decided in the next one.
var errDayOver = errors.New("the day ended while the call waited")

var errLedgerDown = fault.New(fault.Unavailable, "Usage cannot be counted at the moment. Try again later.")

func newLane(o Options, ticks func() tick) *lane {
	return &lane{ledger: o.Ledger, admit: o.AdmitWhenDown, log: o.Logger, ticks: ticks, now: o.Now, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// enqueue makes w wait for the lane, unless it can be decided after all: then the verdict says how.
func (l *lane) enqueue(w *waiter) (quota.Decision, verdict) {
	member, unlock := w.lock()
	defer unlock()
	d, v := w.enter(member, true)
	if v != short {
		return d, v
	}
	w.countWaiting(&w.app.account, member)
	l.mu.Lock()
	l.arrived = append(l.arrived, w)
	l.mu.Unlock()
	l.poke()
	return d, v
}

// claim reports whether the lane may answer the call: not when its caller has left.
func (w *waiter) claim() bool { return w.state.CompareAndSwap(unanswered, answered) }

// reply hands the answer to the caller, and w with it.
func (w *waiter) reply(d quota.Decision, err error) {
	w.answer, w.err = d, err
	w.done <- struct{}{}
}

// abandon takes the call back from the lane, which then charges nothing for it. It reports false when the answer is already there.
func (w *waiter) abandon() bool { return w.state.CompareAndSwap(unanswered, abandoned) }

// countWaiting counts the call as waiting in the accounts that cannot pay it, whose locks are held.
func (w *waiter) countWaiting(app, member *account) {
	for i, a := range [2]*account{app, member} {
		if a != nil && !w.counted[i] && a.wants(w.Cost) {
			w.counted[i] = true
			a.waiting++
		}
	}
}

// uncount ends the call's waiting in its accounts, whose locks are held.
func (w *waiter) uncount(app, member *account) {
	for i, a := range [2]*account{app, member} {
		if w.counted[i] {
			w.counted[i] = false
			a.waiting--
		}
	}
}

// run adds errands, which are run when no call is held up by them.
func (l *lane) run(errands ...errand) {
	l.mu.Lock()
	l.errands = append(l.errands, errands...)
	l.mu.Unlock()
	l.poke()
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// loop answers waiting calls until stop.
func (l *lane) loop() {
	defer close(l.stopped)
	for {
		if len(l.waiting) == 0 {
			<-l.wake
		}
		runtime.Gosched() // lets the calls that were just answered, or are about to arrive, come along
		l.mu.Lock()
		l.waiting = append(l.waiting, l.arrived...)
		clear(l.arrived)
		l.arrived = l.arrived[:0]
		n := min(len(l.errands), errandBatch)
		errands := l.errands[:n:n]
		l.errands = l.errands[n:]
		more, stopping := len(l.errands) > 0, l.stopping
		l.mu.Unlock()

		l.serve()
		l.runErrands(errands)
		if more || stopping {
			l.poke()
		}
		if stopping && !more && len(l.waiting) == 0 {
			return
		}
	}
}

// stop ends the loop once nothing waits any more, and returns then.
func (l *lane) stop() {
	l.mu.Lock()
	l.stopping = true
	l.mu.Unlock()
	l.poke()
	<-l.stopped
}

// serve decides what waits, in order, with one request to the ledger for those that need one. Those are answered at once: their
// callers may have come back by the time that the next request is made, which is the larger then.
func (l *lane) serve() {
	now := l.now()
	l.keep(func(w *waiter) bool { return !l.decide(w, now, true) })
	if len(l.asks) == 0 && (len(l.waiting) > 0 || l.down.Load() == nil) {
		return
	}
	if err := l.request(); err != nil {
		l.keep(func(w *waiter) bool { return !w.asked || !l.giveUp(w) })
		return
	}
	now = l.now()
	l.keep(func(w *waiter) bool { return !w.asked || !l.decide(w, now, false) })
}

// keep drops the waiting calls that f does not want kept.
func (l *lane) keep(f func(*waiter) bool) {
	kept := l.waiting[:0]
	for _, w := range l.waiting {
		if f(w) {
			kept = append(kept, w)
		}
	}
	clear(l.waiting[len(kept):])
	l.waiting = kept
}

// decide answers w if it can; if it cannot, it collects what to ask for, where that is wanted. It reports whether the lane is done with w.
func (l *lane) decide(w *waiter, now time.Time, collect bool) (done bool) {
	member, unlock := w.lock()
	defer unlock()
	app := &w.app.account
	d, v := w.judge(member, false)
	over := !now.Before(w.epoch.day.End)
	if v == short && !over && w.state.Load() != abandoned {
		if collect {
			w.countWaiting(app, member)
			w.asked = l.collect(w, app, member)
		}
		return false
	}
	w.uncount(app, member)
	switch {
	case !w.claim():
	case over:
		w.reply(quota.Decision{}, errDayOver)
	default:
		w.book(d, member)
		w.reply(d, nil)
	}
	return true
}

// giveUp answers w after a request for it failed. It reports that the lane is done with w.
func (l *lane) giveUp(w *waiter) bool {
	member, unlock := w.lock()
	defer unlock()
	w.uncount(&w.app.account, member)
	if w.claim() {
		w.reply(l.withoutLedger(&w.call, member))
	}
	return true
}

// withoutLedger answers a call for which the ledger cannot be asked, and whose accounts are locked.
func (l *lane) withoutLedger(c *call, member *account) (quota.Decision, error) {
	if !l.admit {
		return quota.Decision{}, errLedgerDown
	}
	d, ok := c.onCredit(member)
	if !ok {
		return quota.Decision{}, errLedgerDown
	}
	if d.Admitted() {
		l.counts.unbacked.Add(d.Cost)
	}
	return d, nil
}

// collect adds to the asks what w needs, whose accounts are locked. It reports whether there was room for it.
func (l *lane) collect(w *waiter, app, member *account) bool {
	if len(l.asks) > MaxBatch-2 || len(l.asks) > 0 && l.epoch != w.epoch {
		return false
	}
	l.epoch = w.epoch
	if app.wants(w.Cost) {
		l.ask(app, Counter{Application: w.app.application, Endpoint: w.app.endpoint}, w.app, w.Limits.Application, w)
	}
	if member != nil && member.wants(w.Cost) {
		l.ask(member, Counter{Member: w.key}, nil, w.Limits.Member, w)
	}
	return true
}

// ask adds w to what is asked for an account.
func (l *lane) ask(a *account, c Counter, app *applicationAccount, limit quota.Limit, w *waiter) {
	if a.ask == 0 {
		k := asker{app: app, key: c.Member, settled: !a.noting, lack: -a.have}
		if l.down.Load() == nil { // after a failure whole blocks might be lost again and again
			k.lack += a.block(limit, w.Cost, l.ticks())
		}
		l.asks = append(l.asks, Ask{Counter: c, Least: quota.MaxCost, Owed: a.owed})
		l.askers = append(l.askers, k)
		a.ask = uint16(len(l.asks))
	}
	lack := &l.askers[a.ask-1].lack
	*lack += w.Cost
	k := &l.asks[a.ask-1]
	k.Limit = limit
	k.Most = max(0, *lack) // with enough in hand, only what the ledger knows is asked for
	k.Least = max(1, min(k.Least, w.Cost-a.have))
	k.LastCall = max(k.LastCall, w.now.Unix())
}

// request asks the ledger for what was collected, which is nothing when it only wants to know whether the ledger is up, and
// credits the accounts with the answer.
func (l *lane) request() error {
	ctx := context.Background() // a borrow has no deadline: its answer counts whenever it comes
	l.began.Store(int64(l.ticks()) + 1)
	grants := l.grants[:len(l.asks)]
	var err error
	var day quota.Day
	if len(l.asks) > 0 {
		day = l.epoch.day
		if day.Date >= l.opened.Date && day != l.opened && day.Contains(l.now()) {
			if err = l.ledger.OpenDay(ctx, day); err == nil {
				l.opened = day
			}
		}
	}
	if err == nil {
		err = l.ledger.Borrow(ctx, day, l.asks, grants)
	}
	l.began.Store(0)
	l.noteDown(err)
	l.counts.requests.Add(1)
	l.counts.asks.Add(int64(len(l.asks)))
	for i := range l.askers {
		k := &l.askers[i]
		a, unlock := l.epoch.lock(k.app, k.key)
		a.ask = 0
		if err == nil {
			a.credit(grants[i], l.asks[i].Owed, k.settled)
		} else {
			a.known = false // something may have been granted all the same
		}
		unlock()
	}
	l.asks, l.askers, l.epoch = l.asks[:0], l.askers[:0], nil
	return err
}

// stalled reports whether the ledger has left a request unanswered for longer than wait.
func (l *lane) stalled(wait time.Duration) bool {
	began := l.began.Load()
	return began != 0 && time.Duration(int64(l.ticks())+1-began)*time.Second/ticksPerSecond > wait
}

// noteDown remembers whether the ledger can be reached, and logs when that changes.
func (l *lane) noteDown(err error) {
	was := l.down.Load()
	switch {
	case err != nil:
		l.down.Store(&err)
		if was == nil {
			l.log.Error("the ledger is down: calls are spent from leases in hand", "error", err)
		}
	case was != nil:
		l.down.Store(nil)
		l.log.Info("the ledger is up again")
	}
}

// runErrands borrows for accounts for which no call waits.
func (l *lane) runErrands(errands []errand) {
	for len(errands) > 0 {
		l.epoch = errands[0].epoch
		n := 0
		for n < len(errands) && errands[n].epoch == l.epoch {
			l.collectErrand(errands[n])
			n++
		}
		done := errands[:n]
		errands = errands[n:]
		var err error
		if len(l.asks) > 0 {
			err = l.request()
		}
		for _, e := range done {
			a, unlock := e.epoch.lock(e.app, e.key)
			if e.isTopUp() {
				a.topping = false
			} else {
				a.waiting--
			}
			if err == nil && e.ahead {
				a.markUsed(a.have)
			}
			unlock()
		}
	}
}

func (l *lane) collectErrand(e errand) {
	a, unlock := e.epoch.lock(e.app, e.key)
	defer unlock()
	c := Counter{Member: e.key}
	if e.app != nil {
		c = Counter{Application: e.app.application, Endpoint: e.app.endpoint}
	}
	if a.ask > 0 { // the counter is in this request already
		return
	}
	most, least := max(0, e.upTo-a.have), int64(1)
	if e.isTopUp() {
		now := l.ticks()
		if least = a.least(); now-e.asked > ticksPerSecond/2 { // the errand waited, and the use may have stopped meanwhile
			most = min(most, 2*a.spent()-a.have)
		}
		if most < least || !a.known || l.down.Load() != nil || !l.now().Before(e.epoch.day.End) {
			return
		}
		a.asked = now // a refill soon after it goes on doubling
	}
	l.asks = append(l.asks, Ask{Counter: c, Limit: a.limit, Least: least, Most: most, Owed: a.owed})
	l.askers = append(l.askers, asker{app: e.app, key: e.key, settled: !a.noting})
	a.ask = uint16(len(l.asks))
}
