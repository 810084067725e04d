package protect

import "time"

const (
	// tick is the grain in which time is told here.
	tick = 50 * time.Millisecond
	// horizon is how many ticks ahead a call may be due; what is due later is not judged. It is a power of two.
	horizon = 2048
	// remembered is for how many ticks tallies are kept.
	remembered = 40
)

// lateness counts the calls that were answered in time, and those that were not: a call is late when its time is over, not only when
// its answer comes at last, so that an upstream that answers nothing is found out as soon as one that answers slowly.
type lateness struct {
	now     int64             // in ticks
	due     [horizon]int32    // calls that wait, by the last tick in which they are in time
	tallies [remembered]tally // by tick
}

// tally is what happened in a tick.
type tally struct{ late, inTime, failed, answered, refused int }

// advance brings the time to now. It reports whether a tick has passed.
func (l *lateness) advance(now time.Duration) bool {
	to := int64(now / tick)
	if to <= l.now {
		return false
	}
	if to-l.now > horizon { // nothing can be waiting to be judged any more
		l.now = to - horizon
	}
	for l.now < to {
		over := &l.due[l.now%horizon]
		late := *over
		*over = 0
		l.now++
		l.tallies[l.now%remembered] = tally{late: int(late)}
	}
	return true
}

// expect notes a call that is in time until due, and returns the tick by which to [lateness.drop] it; 0 when it is not judged.
func (l *lateness) expect(due time.Duration) int64 {
	at := int64(due / tick)
	if at <= l.now || at-l.now >= horizon {
		return 0
	}
	l.due[at%horizon]++
	return at
}

// drop takes back a call that was expected at a tick. It reports whether the call was judged, and still in time.
func (l *lateness) drop(at int64) bool {
	if at < l.now || at == 0 {
		return false
	}
	l.due[at%horizon]--
	return true
}

// tally returns the tally of the running tick.
func (l *lateness) tally() *tally { return &l.tallies[l.now%remembered] }

// What has to be seen before the upstream is said to be in trouble. Calls have to become late in several ticks: those of callers that wait
// for their answers do so at one time, when the upstream pauses, and no further ones follow.
const (
	lateTicks   = 10 // the latest ticks, of which
	lateInTicks = 4  // so many must have late calls, or refused ones,
	leastLate   = 8  // which must be so many at least, and twice as many as those in time
	failInTicks = 30 // of all the ticks that are remembered must have failures,
	leastFailed = 50 // which must be so many at least, and twice as many as the other answers
)

// trouble reports whether calls go on being late, or failing, or being more than the most that are allowed.
func (l *lateness) trouble() (late, others bool) {
	var recent, all tally
	recentTicks, refusedTicks, failTicks := 0, 0, 0
	for i := range int64(remembered) {
		t := l.tallies[(l.now+remembered-i)%remembered]
		if i < lateTicks {
			recent.late += t.late
			recent.inTime += t.inTime
			if t.late > 0 {
				recentTicks++
			}
			if t.refused > 0 {
				refusedTicks++
			}
		}
		all.failed += t.failed
		all.answered += t.answered
		if t.failed > 0 {
			failTicks++
		}
	}
	late = recentTicks >= lateInTicks && recent.late >= max(leastLate, 2*recent.inTime)
	failing := failTicks >= failInTicks && all.failed >= max(leastFailed, 2*all.answered)
	return late, failing || refusedTicks >= lateInTicks
}

// forget starts the tallies anew.
func (l *lateness) forget() { l.tallies = [remembered]tally{} }
