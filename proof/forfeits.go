package main

import (
	"slices"
	"time"
)

// blockCap is the most calls that a node may hold of a counter beyond what waits for them: 1 % of the limit, or up to 8 where
// a sixteenth of the limit allows it.
func blockCap(limit int64) int64 { return max(limit/100, min(8, limit/16)) }

// forfeitBound is the most calls of a counter that a kill may forfeit besides those in flight, where the counter's last two seconds
// used recent calls.
func forfeitBound(limit, cost, recent int64) int64 {
	return max(cost, min(2*recent, blockCap(limit)))
}

// accounting follows what kills forfeit of the counters of one application at one endpoint. Counters are named by
// their member, the application's own by "". All numbers are calls, that is requests times their cost.
type accounting struct {
	limit       map[bool]int64 // by whether the counter is a member's
	cost        int64
	forfeited   map[string]int64 // so far
	understated int              // counters that showed less than was admitted: grants that were lost
}

func newAccounting(application, member, cost int64) *accounting {
	return &accounting{limit: map[bool]int64{false: application, true: member}, cost: cost, forfeited: map[string]int64{}}
}

// moment is how things stood around a kill.
type moment struct {
	used     map[string]int64 // by what the next node says, before anything else was called
	admitted map[string]int64 // all that reached the upstream until then
	recent   map[string]int64 // what was used from two seconds before the kill on, calls in flight included
	inFlight map[string]int64 // calls that were sent, not answered, and did not reach the upstream
}

// loss is what a kill forfeited of a counter.
type loss struct {
	calls    int64
	inFlight int64 // calls that may have been charged and did not get to the upstream any more
	bound    int64 // on what is beyond those
}

// within reports whether the loss is within its bound.
func (l loss) within() bool { return l.calls >= 0 && l.calls-l.inFlight <= l.bound }

// kill enters a kill and returns what it forfeited by counter; counters that lost nothing are left out.
func (a *accounting) kill(m moment) map[string]loss {
	losses := map[string]loss{}
	for counter, used := range m.used {
		total := used - m.admitted[counter]
		if total < 0 {
			a.understated++
		}
		if calls := total - a.forfeited[counter]; calls != 0 {
			losses[counter] = loss{
				calls:    calls,
				inFlight: m.inFlight[counter],
				bound:    forfeitBound(a.limit[counter != ""], a.cost, m.recent[counter]),
			}
		}
		a.forfeited[counter] = total
	}
	return losses
}

// worstMember returns the member whose loss is the nearest to its bound, or the furthest beyond it; empty when no member lost anything.
func worstMember(losses map[string]loss) (member string, worst loss) {
	for counter, l := range losses {
		if counter == "" {
			continue
		}
		room, least := l.bound-(l.calls-l.inFlight), worst.bound-(worst.calls-worst.inFlight)
		if member == "" || room < least || room == least && (l.calls > worst.calls || l.calls == worst.calls && counter < member) {
			member, worst = counter, l
		}
	}
	return member, worst
}

// recentWindow is the time before a kill whose use bounds what the kill may forfeit.
const recentWindow = 2 * time.Second

// usedSince returns what arrivals after an instant were charged, by counter.
func usedSince(arrivals []arrival, from time.Time, cost int64) map[string]int64 {
	i := len(arrivals)
	for i > 0 && arrivals[i-1].at.After(from) {
		i--
	}
	return charged(arrivals[i:], cost)
}

// lastUse returns when a counter was last charged; the zero time when it never was.
func lastUse(arrivals []arrival, counter string) time.Time {
	for _, a := range slices.Backward(arrivals) {
		if counter == "" || a.member == counter {
			return a.at
		}
	}
	return time.Time{}
}
