package protect

import (
	"math"
	"time"
)

const (
	// learnCalls and learnTime are what has to be seen of an endpoint before its calls are judged.
	learnCalls = 16
	learnTime  = time.Second
	// learnLevel is how many may wait, a call included, for it to teach what is usual beyond the first learnCalls: where more do, an upstream that is
	// overloaded from the start would pass for a slow one, for seconds in which everything is let in.
	learnLevel = 16
	// usualWindow is how often an endpoint's usual latency moves at the most.
	usualWindow = time.Second
	// usualRise and usualFall are the factors by which it moves: up for each second that passed, down for each window. It rises slowly, so
	// that an overload does not soon pass for what is usual.
	usualRise = 1.02
	usualFall = 0.75
	// longestRise is the most seconds that a rise is reckoned for.
	longestRise = 10
)

// usual is what is known of an endpoint: the latency that three of four of its answers stay below, and how many are failures.
type usual struct {
	latency time.Duration
	failing float64 // the share of failures, 0 to 1

	era   uint32        // the guard's when this was learned; another: to be learned anew
	first time.Duration // when learning began
	seen  int           // successes since, up to learnCalls

	opened time.Duration // the running window
	calls  int           // answers in it, failures included
	failed int
	above  int // successes that took longer than latency
}

// learned reports whether calls can be judged by it.
func (u *usual) learned(era uint32, now time.Duration) bool {
	return u.era == era && u.seen >= learnCalls && now-u.first >= learnTime
}

// record notes an answer to a call that, when it was let in, found level waiting, itself included.
func (u *usual) record(era uint32, now, latency time.Duration, level int, failed bool) {
	if u.era != era {
		*u = usual{era: era, failing: u.failing, first: now, opened: now}
	}
	u.calls++
	switch {
	case failed:
		u.failed++
	case !u.learned(era, now): // the longest so far: rather too patient than too strict
		if u.seen < learnCalls || level <= learnLevel {
			u.latency = max(u.latency, latency)
		}
		u.seen = min(u.seen+1, learnCalls)
	case latency > u.latency:
		u.above++
	}
	if passed := now - u.opened; passed >= usualWindow {
		u.move(passed)
		u.opened, u.calls, u.failed, u.above = now, 0, 0, 0
	}
}

// move lets what is usual follow the window that has passed.
func (u *usual) move(passed time.Duration) {
	seconds := min(passed.Seconds(), longestRise)
	share := float64(u.failed) / float64(u.calls)
	if u.seen < learnCalls {
		u.failing = share
	}
	u.failing += (share - u.failing) * (1 - math.Pow(usualRise, -seconds))
	switch answered := u.calls - u.failed; {
	case answered == 0 || u.seen < learnCalls:
	case 4*u.above < answered:
		u.latency = time.Duration(float64(u.latency) * usualFall)
	default:
		u.latency = time.Duration(float64(u.latency) * math.Pow(usualRise, seconds))
	}
}
