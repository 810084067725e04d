// Package protect is infrastructure protection: it bounds how many calls wait for the upstream at a time, when the upstream is in trouble.
//
//	var permit protect.Permit
//	err := limiter.Enter("posts.create", &permit) // of kind fault.Exhausted: refused
//	defer permit.Release()
//	…                                             // the call goes upstream
//	permit.Answered(failed)                       // with the first byte of the answer; or
//	permit.Unreached()                            // when there was no connection
//
// An upstream that is well never meets a limit but the most that is allowed, however many callers it has and however long its
// answers take by nature. A [Limiter] learns what is usual of each endpoint. Only when calls go on being later than that, by
// twice and by a tolerance, or go on failing, does it limit (an endpoint that fails as a rule says nothing of the upstream; that it cannot be reached
// always does): it finds out how many the upstream can work on at a time, lets in a few more than
// that, and refuses the others at once. There is no queue: who would have waited in it is told to come again. It lifts the limit when nobody
// has met it for some seconds.
//
// Latency is the time from when it is the upstream's turn to the first byte of its answer. So a long answer, a stream and a WebSocket
// take part until they begin, and an upload only while it is not its client that is waited for ([Permit.Pause]).
//
// Answers that are late because the node itself has too little of the machine's processors are told from those by a timer of its own, which is late then too.
//
// What a limiter cannot do: call back what it has let in before it noticed (it takes about a second, and two where there was trouble from the first call on), or tell an upstream that is down
// from one that is slow for one application.
package protect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/perdiem/perdiem/fault"
)

// Options are what a [Limiter] goes by. A zero is the default.
type Options struct {
	// Least is how many calls may wait at a time at the least, whatever the upstream does: 1 unless told.
	Least int
	// Most is how many may wait at the most, also while the upstream is well: 10,000 unless told. It is not below Least.
	Most int
	// Tolerance is by how much more than twice what is usual an answer may take before it is late: 500 ms unless told.
	Tolerance time.Duration
	// Now is the clock; time.Now unless told.
	Now func() time.Time
	// Log is told when the limiting begins, and when it ends; nil: nobody is.
	Log *slog.Logger
}

// The defaults of [Options]; the first two are calls.
const (
	DefaultLeast     = 1
	DefaultMost      = 10_000
	DefaultTolerance = 500 * time.Millisecond
)

// Limiter lets calls in, or refuses them. It is safe for concurrent use.
type Limiter struct {
	now   func() time.Time
	log   *slog.Logger
	began time.Time

	mu    sync.Mutex
	last  time.Duration // guarded by mu: the time does not run backwards for what follows
	guard *guard        // guarded by mu
	beats *time.Timer   // guarded by mu: goes off each tick while calls wait; nil: none has yet
	due   time.Duration // guarded by mu: when it is to; 0: it is not wound
	told  bool          // guarded by mu: the log knows that there is a limit,
	since time.Duration // guarded by mu: since when,
	count int64         // guarded by mu: and how many calls had been refused when the last one ended
}

// New returns a Limiter. The error says which option is wrong.
func New(o Options) (*Limiter, error) {
	if o.Least == 0 {
		o.Least = DefaultLeast
	}
	if o.Most == 0 {
		o.Most = max(DefaultMost, o.Least)
	}
	if o.Tolerance == 0 {
		o.Tolerance = DefaultTolerance
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Least < 0:
		return nil, fmt.Errorf("protect: at least %d calls: must be 1 or more", o.Least)
	case o.Most < o.Least:
		return nil, fmt.Errorf("protect: at most %d calls, which is below the least, %d", o.Most, o.Least)
	case o.Tolerance < 0:
		return nil, errors.New("protect: the tolerance must be more than 0")
	}
	return &Limiter{now: o.Now, log: o.Log, began: o.Now(), guard: newGuard(o.Least, o.Most, o.Tolerance)}, nil
}

// lock locks the guard, and returns the time for it.
func (l *Limiter) lock() time.Duration {
	now := l.now().Sub(l.began)
	l.mu.Lock()
	l.last = max(l.last, now)
	return l.last
}

// unlock unlocks the guard, and has logged what that has changed.
func (l *Limiter) unlock(now time.Duration) {
	g := l.guard
	limiting := g.mode != open
	if limiting == l.told {
		l.mu.Unlock()
		return
	}
	waiting, limit, latency, usual := g.waiting, g.limit, g.latest, g.typical
	lasted, refused := now-l.since, g.refused-l.count
	if l.told, l.since = limiting, now; !limiting {
		l.count = g.refused
	}
	l.mu.Unlock()
	if limiting {
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "the upstream is in trouble: the calls to it are limited",
			slog.Int("waiting", waiting), slog.Int("limit", limit), slog.Duration("latency", latency), slog.Duration("usual_latency", usual))
		return
	}
	l.log.LogAttrs(context.Background(), slog.LevelInfo, "the calls to the upstream are limited no longer",
		slog.Duration("lasted", lasted.Round(time.Millisecond)), slog.Int64("refused", refused))
}

// windLocked lets the timer go off in a tick.
func (l *Limiter) windLocked(now time.Duration) {
	l.due = now + tick
	if l.beats == nil {
		l.beats = time.AfterFunc(tick, l.beat)
	} else {
		l.beats.Reset(tick)
	}
}

// beat measures how late the timer goes off: by as much as the node itself is too busy.
func (l *Limiter) beat() {
	now := l.lock()
	defer l.unlock(now)
	l.guard.beat(now, now-l.due)
	if l.due = 0; l.guard.waiting > 0 {
		l.windLocked(now)
	}
}

// refusal is the error of every call that is refused.
var refusal = fault.New(fault.Exhausted, "The upstream is overloaded.")

// Enter lets a call of an endpoint in, and gives it p, which must be zero; or it returns an error of kind [fault.Exhausted].
func (l *Limiter) Enter(endpoint string, p *Permit) error {
	now := l.lock()
	t, ok := l.guard.enter(now, endpoint)
	if ok && l.due == 0 {
		l.windLocked(now)
	}
	l.unlock(now)
	if !ok {
		return refusal
	}
	p.limiter, p.ticket = l, t
	return nil
}

// State is what a limiter shows of itself.
type State struct {
	Limiting     bool          // the upstream is in trouble
	Limit        int           // how many calls may wait at a time
	Waiting      int           // how many do
	Admitted     int64         // calls let in so far
	Refused      int64         // calls refused so far
	Latency      time.Duration // mean to the first byte, of the last few answers; 0: there were none yet
	UsualLatency time.Duration // what is usual for the endpoints of these: three of four answers stay below
}

// State returns the state.
func (l *Limiter) State() State {
	now := l.lock()
	defer l.unlock(now)
	g := l.guard
	if g.advance(now) {
		g.review(now)
	}
	return State{
		Limiting: g.mode != open, Limit: g.limit, Waiting: g.waiting, Admitted: g.admitted, Refused: g.refused,
		Latency: g.latest, UsualLatency: g.typical,
	}
}

// Permit is a call's place before the upstream. The zero Permit is none, and everything may be done to it. Its methods are for one goroutine; Pause and
// Resume may be for another until Answered, Unreached or Release is called, and not any more from then on.
type Permit struct {
	limiter *Limiter
	ticket  ticket // guarded by the limiter's mu
}

// Pause notes that the upstream waits for the call's client, to send on.
func (p *Permit) Pause() {
	if l := p.limiter; l != nil {
		now := l.lock()
		l.guard.pause(now, &p.ticket)
		l.unlock(now)
	}
}

// Resume ends a Pause.
func (p *Permit) Resume() {
	if l := p.limiter; l != nil {
		now := l.lock()
		l.guard.resume(now, &p.ticket)
		l.unlock(now)
	}
}

// Answered gives the place back with the first byte of the upstream's answer, or when there is none. failure says that the upstream did not answer in
// time or to the end, or said that it was overloaded.
func (p *Permit) Answered(failure bool) {
	how := well
	if failure {
		how = failed
	}
	p.leave(how)
}

// Unreached gives the place back because there was no connection to send the call on: none could be made, or none that could be trusted.
func (p *Permit) Unreached() { p.leave(unreached) }

func (p *Permit) leave(how outcome) {
	if l := p.limiter; l != nil {
		now := l.lock()
		l.guard.leave(now, &p.ticket, how)
		l.unlock(now)
		p.limiter = nil
	}
}

// Release gives the place back unmeasured: the call did not go upstream, or its client is gone. It does nothing after Answered or Unreached.
func (p *Permit) Release() {
	if l := p.limiter; l != nil {
		now := l.lock()
		l.guard.release(now, &p.ticket)
		l.unlock(now)
		p.limiter = nil
	}
}
