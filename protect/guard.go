package protect

import (
	"math"
	"time"
)

// What a guard goes by. The simulations in guard_test.go and `make bench-overload` are what these figures were tried against.
const (
	// leastCrowd is how many calls must wait before late ones are taken for an overload.
	leastCrowd = 16
	// busy is by how much a timer of the node's own may go off late until late answers say nothing of the upstream: a call waits for the node's
	// processors about eight times.
	busy = 50 * time.Millisecond
	// roomier is how many calls are let in for each that the upstream can work on at a time, and roomMore how many more: enough that it
	// never waits for one, and few enough that an answer takes about twice as long as it would alone, at the most.
	roomier  = 1.75
	roomMore = 1
	// unsteady is a time that answers of a quick upstream may take more or less, without it being quicker or slower: there is room for the calls
	// that come in it, so that the upstream does not wait for them.
	unsteady = 5 * time.Millisecond
	// firstProbe and lastProbe bound the first probe's limit; later ones have a third of the limit, half of what the upstream can work on.
	firstProbe, lastProbe = 2, 8
	// leastSamples and mostSamples bound how many answers end a probe.
	leastSamples, mostSamples = 4, 16
	// probeEvery is how often the upstream's latency is probed while the limit is met.
	probeEvery = 5 * time.Second
	// windowCalls and mostCalls bound how many calls a window has while there is a limit; in between it has as many as the limit, and in any case those
	// of windowTime. openCalls is how many it has while there is none, where it is only shown.
	windowCalls, mostCalls = 8, 64
	windowTime             = 100 * time.Millisecond
	openCalls              = 64
	// slower is how many times the latency of a probe a window's may be before it is probed again, and jitter what is allowed besides.
	slower = 2.5
	jitter = 25 * time.Millisecond
	// quicker is the part of a probe's latency below which a window's is believed instead.
	quicker = 0.5
	// shrink is by what the limit falls where the upstream fails, and wary how long it rises slowly afterwards.
	shrink = 0.7
	wary   = 10 * time.Second
	// pause is how long a probe waits after a failure.
	pause = 100 * time.Millisecond
	// calm is how long nothing must have been refused until the limit is lifted, and idle the same for a probe to which nobody comes.
	calm, idle = 3 * time.Second, 10 * time.Second
	// stuck is how long nothing must have been answered until one call more is tried.
	stuck = time.Second
)

// guard decides how many calls may wait for the upstream at a time. It is pure: what it knows of the time it is told, as the time since
// it was made, and it is not safe for concurrent use. Time must not run backwards.
//
// A guard begins open: all calls are let in, up to the most that are allowed, and it only learns what is usual of each endpoint. When calls go on
// being late, it probes: it lets in but a few at a time, and so learns how long an answer takes when it need not queue (free), and,
// from the calls that were waiting, how many answers the upstream gives in a second. By Little's law the product is how many calls the upstream can
// work on at a time; the limit is a little more. From then on the limit follows each window of answers, and probes follow each other at long
// intervals, or when answers become slow. A limit that nobody met for a while is lifted.
type guard struct {
	least, most int
	tolerance   time.Duration

	lateness
	endpoints map[string]*usual
	era       uint32 // of what is usual; raised when all is to be learned anew

	mode     mode
	limit    int // of calls that wait at a time
	waiting  int
	round    uint32 // raised with each probe, and after it: says under which limit a call was let in
	admitted int64
	refused  int64

	refusedAt time.Duration // the last refusal; the time at which the limiting began where there is none yet
	probeAt   time.Duration // when to probe again
	busyUntil time.Duration // until when late answers say nothing
	waryUntil time.Duration // until when the limit rises slowly
	holdUntil time.Duration // until when a probe lets nobody in
	extra     time.Duration // when a call was last let in though the limit was reached: see [guard.hopeful]
	extraOut  bool          // it is not answered yet
	extras    window        // of extra calls since answered
	answered  time.Duration // the last answer, but of extra calls

	excess  time.Duration // free latency beyond what is usual; may be below 0
	window  window        // of the running round
	before  window        // of calls from before the running probe, of which only those count that found crowd waiting
	crowd   int
	latest  time.Duration // mean latency of the last window
	typical time.Duration // mean of what is usual for the last window's calls
}

// mode is what a guard is about.
type mode uint8

const (
	open     mode = iota // nothing is wrong: only the most that are allowed is a limit
	probing              // a few calls at a time are let in, to learn
	limiting             // the limit holds that follows from what was learned
)

// window sums up the answers to a number of calls that were let in one after the other. It is complete when nearly all are answered: to sum up what
// was answered within a time would leave out the slow ones.
type window struct {
	opened  time.Duration
	wanted  int           // calls, or more that come within windowTime
	entered int           // so far
	since   time.Duration // sum of when those that are not answered yet were let in
	calls   int           // answered
	failed  int           // besides
	level   int           // sum of how many were waiting when each of calls was let in, itself included
	latency time.Duration // sum
	usual   time.Duration // sum
	refused int
}

// wants reports whether a call that is let in now is one of the window's.
func (w *window) wants(now time.Duration) bool {
	return w.entered < w.wanted || now-w.opened < windowTime
}

// complete reports whether seven of eight are answered.
func (w *window) complete(now time.Duration) bool {
	return !w.wants(now) && 8*(w.calls+w.failed) >= 7*w.entered && w.entered > 0
}

// mean returns the mean latency of the calls, and of what is usual for them. Those that still wait count with the time that they have waited.
func (w *window) mean(now time.Duration) (latency, usual time.Duration) {
	n := time.Duration(max(1, w.calls))
	open := time.Duration(w.entered - w.calls - w.failed)
	return (w.latency + max(0, open*now-w.since)) / n, w.usual / n
}

// add adds an answer.
func (w *window) add(t *ticket, latency time.Duration) {
	w.calls++
	w.level += t.level
	w.latency += latency
	w.usual += t.endpoint.latency
}

// perSecond returns how many answers the upstream gives in a second, by Little's law: a call that finds itself to be the tenth waits for ten.
func (w *window) perSecond(now time.Duration) float64 {
	mean, _ := w.mean(now)
	if mean <= 0 || w.calls == 0 {
		return 0
	}
	return float64(w.level) / float64(w.calls) / mean.Seconds()
}

// ticket is a call that was let in.
type ticket struct {
	endpoint *usual
	since    time.Duration // since when it is the upstream's turn
	due      int64         // for lateness
	level    int           // how many were waiting then, itself included
	round    uint32        // in which it was let in
	sampled  bool          // its round's window counts it
	stage    stage
	extra    bool
}

type stage uint8

const (
	nowhere stage = iota // not let in, or over
	waits                // it is the upstream's turn
	paused               // it is the client's turn, which has not sent all yet
)

func newGuard(least, most int, tolerance time.Duration) *guard {
	g := &guard{least: least, most: most, tolerance: tolerance, endpoints: map[string]*usual{}, limit: most, era: 1}
	g.begin(0, openCalls)
	return g
}

// mostEndpoints bounds what is remembered: beyond what a catalog may have, endpoints of earlier ones are forgotten, all at once.
const mostEndpoints = 16_384

func (g *guard) endpoint(id string) *usual {
	u := g.endpoints[id]
	if u == nil {
		if len(g.endpoints) >= mostEndpoints {
			clear(g.endpoints)
		}
		u = &usual{}
		g.endpoints[id] = u
	}
	return u
}

// enter lets a call of an endpoint in, or refuses it.
func (g *guard) enter(now time.Duration, endpoint string) (ticket, bool) {
	if g.advance(now) {
		g.review(now)
	}
	t := ticket{endpoint: g.endpoint(endpoint), round: g.round}
	switch {
	case g.mode == probing && now < g.holdUntil, g.waiting >= g.limit && !g.hopeful(now, &t):
		g.refused++
		g.refusedAt = now
		g.window.refused++
		g.tally().refused++
		return ticket{}, false
	}
	g.admitted++
	g.wait(now, &t)
	t.level = g.waiting
	g.sample(now, &t)
	return t, true
}

// sample lets the window count a call, if it wants more.
func (g *guard) sample(now time.Duration, t *ticket) {
	if g.mode == limiting && 5*t.level < 4*g.limit {
		return // it found less of a queue than there is room for, and says nothing of how much would be too much
	}
	if w := &g.window; !t.extra && w.wants(now) {
		w.entered++
		w.since += now
		t.sampled = true
	}
}

// forsake takes a call that will not be measured out of its window.
func (g *guard) forsake(t *ticket) {
	if t.sampled && t.round == g.round {
		g.window.entered--
		g.window.since -= t.since
	}
	t.sampled = false
}

// hopeful reports whether one call more may be tried though the limit is reached. Calls may hang whose answers never come, though the upstream is
// well again: where nothing is answered for a second a call is let in besides, and the next one when that is answered, or a
// second later.
func (g *guard) hopeful(now time.Duration, t *ticket) bool {
	if g.mode == open || g.waiting >= g.most || now-g.answered < max(stuck, 2*g.latest) || g.extraOut && now-g.extra < stuck {
		return false
	}
	g.extra, g.extraOut = now, true
	t.extra = true
	return true
}

// wait begins the upstream's turn.
func (g *guard) wait(now time.Duration, t *ticket) {
	g.waiting++
	t.stage, t.since, t.due = waits, now, 0
	if t.endpoint.learned(g.era, now) {
		t.due = g.expect(now + 2*t.endpoint.latency + g.tolerance)
	}
}

// stop ends the upstream's turn. It reports whether the call was judged, and in time.
func (g *guard) stop(now time.Duration, t *ticket) bool {
	if g.advance(now) {
		g.review(now)
	}
	if t.stage != waits {
		return false
	}
	g.waiting--
	return g.drop(t.due)
}

// pause notes that the call waits for its client.
func (g *guard) pause(now time.Duration, t *ticket) {
	if t.stage == waits {
		g.stop(now, t)
		g.forsake(t)
		t.stage = paused
	}
}

// resume notes that it is the upstream's turn again. It needs no room: the upstream has the call. From here on the call is measured as one
// that was let in now: a guard whose calls all have bodies would learn nothing otherwise.
func (g *guard) resume(now time.Duration, t *ticket) {
	if t.stage != paused {
		return
	}
	g.advance(now)
	g.wait(now, t)
	t.level = g.waiting
	if t.round == g.round {
		g.sample(now, t)
	}
}

// release notes that the call is over and says nothing of the upstream.
func (g *guard) release(now time.Duration, t *ticket) {
	if t.stage != nowhere {
		g.stop(now, t)
		g.forsake(t)
		g.over(t)
	}
}

func (g *guard) over(t *ticket) {
	t.stage = nowhere
	if t.extra {
		g.extraOut = false
	}
}

// outcome is what became of a call that went upstream.
type outcome uint8

const (
	well      outcome = iota
	failed            // answered by a failure, not in time, or not to the end
	unreached         // there was no connection to send it on: a failure that is nobody's endpoint's, and never usual
)

// leave notes that the upstream answered, or failed. A call that was paused is not measured: its answer was not waited for.
func (g *guard) leave(now time.Duration, t *ticket, how outcome) {
	waited := t.stage == waits
	inTime := g.stop(now, t)
	g.over(t)
	if !waited {
		return
	}
	latency := now - t.since
	if !t.extra {
		g.answered, g.extras = now, window{}
	}
	switch tally := g.tally(); {
	case how == well:
		tally.answered++
		if inTime {
			tally.inTime++
		}
	case how == unreached || t.endpoint.failing < 0.5: // what an endpoint fails as a rule says nothing new
		tally.failed++
	}
	if g.mode == open && how != unreached { // what an upstream in trouble does is not usual
		t.endpoint.record(g.era, now, latency, t.level, how == failed)
	}
	g.measure(now, t, latency, how != well)
}

// measure adds an answer to the window that counts it, if one does, and draws conclusions when the running one is complete.
func (g *guard) measure(now time.Duration, t *ticket, latency time.Duration, failed bool) {
	var w *window
	switch {
	case t.extra:
		g.hope(now, t, latency, failed)
		return
	case t.sampled && t.round == g.round:
		w = &g.window
		w.since -= t.since
	case g.mode == probing && t.round != g.round && t.level >= g.crowd && !failed:
		w = &g.before
		w.entered++
	}
	switch {
	case w == nil:
	case failed:
		w.failed++
	default:
		w.add(t, latency)
	}
	if failed && g.mode == probing {
		g.holdUntil = now + pause
	}
	if w = &g.window; !w.complete(now) {
		return
	}
	switch g.mode {
	case open:
		if w.calls > 0 {
			g.latest, g.typical = w.mean(now)
		}
		g.begin(now, openCalls)
	case probing:
		if w.failed >= w.calls { // fewer at a time
			g.probe(now, g.limit/2, false)
			return
		}
		g.conclude(now)
	case limiting:
		g.follow(now)
	}
}

// hope notes that a call was answered that was tried though the limit was reached. A few in a row tell as much as a probe: those that keep the
// others from being let in are lost.
func (g *guard) hope(now time.Duration, t *ticket, latency time.Duration, failed bool) {
	w := &g.extras
	if failed || g.mode == open {
		*w = window{}
		return
	}
	w.entered++
	w.add(t, latency)
	if w.calls >= leastSamples {
		g.window, g.extras, g.probeAt = *w, window{}, 0
		g.conclude(now)
	}
}

// beat notes by how much a timer of the node's own went off late.
func (g *guard) beat(now, late time.Duration) {
	if late >= busy {
		g.busyUntil = now + lateTicks*tick
	}
}

// review looks, each tick, whether there is trouble, or no longer.
func (g *guard) review(now time.Duration) {
	switch g.mode {
	case open:
		if late, others := g.trouble(); late && g.waiting >= leastCrowd && now >= g.busyUntil || others {
			g.refusedAt, g.answered = now, now
			g.probe(now, min(max(g.waiting/8, firstProbe), lastProbe), false)
		}
	case probing:
		if now-g.refusedAt >= idle {
			g.lift(now)
		}
	case limiting:
		if now-g.refusedAt >= calm {
			g.lift(now)
		}
	}
}

// probe lets in limit calls at a time until enough of them were answered. steady says that the upstream did all the time what it does now.
func (g *guard) probe(now time.Duration, limit int, steady bool) {
	switch g.mode {
	case open: // what answers those who wait tells what the upstream can do at the most
		g.before, g.crowd = window{}, g.waiting/2
	case limiting:
		if g.before, g.crowd = g.window, math.MaxInt; !steady {
			g.before, g.crowd = window{}, g.limit*4/5
		}
	case probing: // it failed; what was known before it is as good as it was
	}
	g.mode, g.limit = probing, g.within(limit)
	g.begin(now, min(max(2*g.limit, leastSamples), mostSamples))
}

// begin begins a round, with a window of so many calls.
func (g *guard) begin(now time.Duration, calls int) {
	g.round++
	g.window = window{opened: now, wanted: calls}
}

// conclude ends a probe.
func (g *guard) conclude(now time.Duration) {
	mean, typical := g.window.mean(now)
	excess := mean - typical
	// Two probes that tell nearly the same are both right: the truth is between them.
	if known := typical + g.excess; g.probeAt > 0 && known > mean/2 && known < 2*mean {
		excess = (excess + g.excess) / 2
	}
	g.excess, g.latest, g.typical = excess, mean, typical
	rate := g.window.perSecond(now)
	if g.before.calls >= leastSamples {
		rate = max(rate, g.before.perSecond(now))
	}
	g.mode = limiting
	g.probeAt = now + max(probeEvery, 8*mean)
	g.set(now, room(rate, g.free(typical)))
}

// set sets the limit, and begins a window under it.
func (g *guard) set(now time.Duration, limit int) {
	g.limit = g.within(limit)
	g.begin(now, min(max(g.limit, windowCalls), mostCalls))
}

// free returns the latency of calls that are usually answered in typical, when they need not queue.
func (g *guard) free(typical time.Duration) time.Duration {
	return max(typical+g.excess, time.Millisecond)
}

// room returns how many calls to let in where an upstream gives so many answers a second, each after so long.
func room(perSecond float64, free time.Duration) int {
	return int(min(perSecond*(roomier*free.Seconds()+unsteady.Seconds()), 1e9)) + roomMore
}

// follow sets the limit by the window that has passed.
func (g *guard) follow(now time.Duration) {
	w := &g.window
	mean, typical := w.mean(now)
	if w.calls > 0 {
		g.latest, g.typical = mean, typical
	}
	free := g.free(typical)
	switch {
	case 4*w.failed > w.entered:
		g.waryUntil = now + wary
		g.set(now, int(shrink*float64(g.limit)))
	case float64(mean) > slower*float64(free)+float64(jitter):
		g.probe(now, g.limit/3, false)
	case w.refused > 0 && now >= g.probeAt:
		g.probe(now, g.limit/3, true)
	default:
		if float64(mean) < quicker*float64(free) {
			g.excess = mean - typical
			free = g.free(typical)
		}
		limit := room(w.perSecond(now), free)
		if now < g.waryUntil {
			limit = min(limit, g.limit+g.limit/20+1)
		}
		if w.refused == 0 { // a limit that was not met is not too high
			limit = max(limit, g.limit)
		}
		g.set(now, limit)
	}
}

// lift ends the limiting. Where answers are still slow, though the limit was not met, slow is what is usual now.
func (g *guard) lift(now time.Duration) {
	if g.latest > 2*g.typical+g.tolerance {
		g.era++
	}
	g.mode, g.limit, g.probeAt = open, g.most, 0
	g.forget()
	g.begin(now, openCalls)
}

func (g *guard) within(limit int) int { return min(max(limit, g.least), g.most) }
