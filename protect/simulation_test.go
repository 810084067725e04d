package protect

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"
)

// simulation is an upstream that works on so many calls at a time, and lets others wait in order of their arrival, behind a guard. It runs in a time of
// its own.
type simulation struct {
	guard   *guard
	workers int
	// serve returns how long a call is worked on that begins now, and whether it then fails.
	serve func(now time.Duration, endpoint string) (time.Duration, bool)
	// how is what a failure is: failed unless told.
	how outcome
	// sends is how long the next call's client takes to send its body; nil: calls have none.
	sends func() time.Duration
	rng   *rand.Rand

	now    time.Duration
	events events
	order  int
	busy   int
	queue  []*simulated
	most   int // calls that ever waited
	calls  []simulated
}

// simulated is a call that is over, or under way.
type simulated struct {
	endpoint       string
	arrived, ended time.Duration
	refused        bool
	failed         bool
	ticket         ticket
	done           func(*simulated)
}

type event struct {
	at    time.Duration
	order int
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func simulate(workers int, serve func(time.Duration, string) (time.Duration, bool)) *simulation {
	return &simulation{
		guard: newGuard(DefaultLeast, DefaultMost, DefaultTolerance), workers: workers, serve: serve, how: failed, rng: rand.New(rand.NewPCG(1, 2)),
	}
}

func (s *simulation) at(t time.Duration, do func()) {
	s.order++
	heap.Push(&s.events, event{t, s.order, do})
}

// run runs until a time.
func (s *simulation) run(until time.Duration) {
	for len(s.events) > 0 && s.events[0].at <= until {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
	}
	s.now = until
}

// call makes a call now; done, if any, hears when it is over.
func (s *simulation) call(endpoint string, done func(*simulated)) {
	c := &simulated{endpoint: endpoint, arrived: s.now, done: done}
	var ok bool
	if c.ticket, ok = s.guard.enter(s.now, endpoint); !ok {
		c.refused = true
		s.end(c)
		return
	}
	s.most = max(s.most, s.guard.waiting)
	if s.sends == nil {
		s.arrive(c)
		return
	}
	// As the gateway's body is read: once for what there is, and once more for its end.
	s.guard.pause(s.now, &c.ticket)
	s.at(s.now+s.sends(), func() {
		s.guard.resume(s.now, &c.ticket)
		s.guard.pause(s.now, &c.ticket)
		s.guard.resume(s.now, &c.ticket)
		s.arrive(c)
	})
}

// arrive brings a call to the upstream as a whole.
func (s *simulation) arrive(c *simulated) {
	if s.busy < s.workers {
		s.work(c)
	} else {
		s.queue = append(s.queue, c)
	}
}

func (s *simulation) work(c *simulated) {
	s.busy++
	took, fails := s.serve(s.now, c.endpoint)
	s.at(s.now+took, func() {
		s.busy--
		how := well
		if c.failed = fails; fails {
			how = s.how
		}
		s.guard.leave(s.now, &c.ticket, how)
		if len(s.queue) > 0 {
			next := s.queue[0]
			s.queue = s.queue[1:]
			s.work(next)
		}
		s.end(c)
	})
}

func (s *simulation) end(c *simulated) {
	c.ended = s.now
	s.calls = append(s.calls, *c)
	if c.done != nil {
		c.done(c)
	}
}

// load makes calls at random, so many a second, that do not wait for answers.
func (s *simulation) load(perSecond float64, until time.Duration, endpoint func() string) {
	var next func()
	next = func() {
		s.call(endpoint(), nil)
		if s.now < until {
			s.at(s.now+time.Duration(s.rng.ExpFloat64()/perSecond*1e9), next)
		}
	}
	s.at(s.now, next)
}

// callers lets so many call again and again, each when it was answered; a refused one after a while.
func (s *simulation) callers(n int, until time.Duration, endpoint func() string) {
	var again func(*simulated)
	again = func(c *simulated) {
		wait := 100 * time.Microsecond
		if c.refused {
			wait = 50 * time.Millisecond
		}
		if s.now < until {
			s.at(s.now+wait, func() { s.call(endpoint(), again) })
		}
	}
	for range n {
		s.at(s.now, func() { s.call(endpoint(), again) })
	}
}

// figures are what became of the calls that arrived, or for good ended, in a span of time.
type figures struct {
	good, refused, failed int
	p50, p99              time.Duration // of good ones that arrived in the span
}

func (s *simulation) figures(from, to time.Duration) (f figures) {
	var took []time.Duration
	for _, c := range s.calls {
		arrived := c.arrived >= from && c.arrived < to
		switch {
		case c.refused:
			if arrived {
				f.refused++
			}
		case c.failed:
			if arrived {
				f.failed++
			}
		default:
			if c.ended >= from && c.ended < to {
				f.good++
			}
			if arrived {
				took = append(took, c.ended-c.arrived)
			}
		}
	}
	slices.Sort(took)
	if n := len(took); n > 0 {
		f.p50, f.p99 = took[n/2], took[min(n-1, n*99/100)]
	}
	return f
}

func only(endpoint string) func() string { return func() string { return endpoint } }
