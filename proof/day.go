package main

import (
	"fmt"
	"net/http"
	"time"
)

// day tells the two days around a reset apart.
type day uint8

const (
	unknownDay day = iota
	oldDay
	newDay
)

// reset is the instant at which the proof's day ends. The day after it has 24 hours.
type reset struct{ at time.Time }

// nextReset returns the first whole second that is at least d away, which is how exactly a configuration can name it.
func nextReset(now time.Time, d time.Duration) reset {
	at := now.Add(d).Truncate(time.Second)
	if at.Sub(now) < d {
		at = at.Add(time.Second)
	}
	return reset{at: at}
}

// dayOf returns the day to which a call was charged, or for which it was refused, by what its answer says of the next reset. The error says that
// the answer fits neither day, or that its parts contradict each other.
func (r reset) dayOf(c *call) (day, error) {
	if c.answer.status != http.StatusOK && c.answer.status != http.StatusTooManyRequests {
		return unknownDay, nil
	}
	// The node read its clock, and rounded up, between the sending of the call and the end of its answer.
	in := time.Duration(c.answer.resetsIn) * time.Second
	fits := func(end time.Time) bool {
		return c.answer.resetsIn >= 0 && in > end.Sub(c.ended)-time.Millisecond && in < end.Sub(c.sent)+time.Second+time.Millisecond
	}
	tomorrow := r.at.Add(24 * time.Hour)
	d, end := unknownDay, time.Time{}
	switch {
	case fits(tomorrow):
		d, end = newDay, tomorrow
	case fits(r.at):
		d, end = oldDay, r.at
	default:
		return unknownDay, fmt.Errorf("call %d was sent %v before the reset, and its answer says that the next is in %v", c.id, r.at.Sub(c.sent), in)
	}
	if c.refused() && !c.answer.resetsAt.Equal(end) {
		return unknownDay, fmt.Errorf("call %d: the refusal says that the reset is at %v, and in %v", c.id, c.answer.resetsAt, in)
	}
	return d, nil
}

// findings are what calls around a reset show, in calls unless it is said otherwise.
type findings struct {
	oldAdmitted, oldRefused         int
	newAdmitted, newRefused         int
	lateCharged, lateRefused        int           // sent after the reset and charged to the old day, or refused for it
	early                           int           // answered before the reset for the new day
	crossedToOld, crossedToNew      int           // under way at the reset
	lastOld                         time.Duration // from the reset to the last answer of the old day; 0 when all came before it
	refusedBefore                   map[counter]bool
	reopened, shut                  int // counters used up in the old day whose first call sent after the reset was admitted, or not
	unreadable                      int // answers that fit neither day
	example                         string
	oldUsed, newUsed, newRefusedFor map[counter]int64 // by counter, in calls
	leastLeft                       map[string]int64  // by application: the least that an answer of the old day said was left
}

// counter names an application's counter, or its member's.
type counter struct{ application, member string }

// examine sorts calls by their day. They have ended.
func examine(calls []call, r reset) *findings {
	f := &findings{
		refusedBefore: map[counter]bool{}, oldUsed: map[counter]int64{}, newUsed: map[counter]int64{}, newRefusedFor: map[counter]int64{},
		leastLeft: map[string]int64{},
	}
	first := map[counter]*call{} // sent after the reset
	for i := range calls {
		c := &calls[i]
		d, err := r.dayOf(c)
		if err != nil {
			f.unreadable++
			f.example = err.Error()
			continue
		}
		f.enter(c, d, r)
		if c.sent.Before(r.at) {
			continue
		}
		for _, n := range c.counters() {
			if first[n] == nil || c.sent.Before(first[n].sent) {
				first[n] = c
			}
		}
	}
	for n := range f.refusedBefore {
		switch c := first[n]; {
		case c == nil: // nobody asked again
		case c.admitted():
			f.reopened++
		default:
			f.shut++
		}
	}
	return f
}

// counters returns the counters that the call is charged to.
func (c *call) counters() []counter {
	if c.member == "" {
		return []counter{{c.application, ""}}
	}
	return []counter{{c.application, ""}, {c.application, c.member}}
}

// refusedCounter returns the counter whose limit refused the call.
func (c *call) refusedCounter() counter {
	if c.answer.refusedBy == "member" {
		return counter{c.application, c.member}
	}
	return counter{c.application, ""}
}

// enter counts a call of a day.
func (f *findings) enter(c *call, d day, r reset) {
	after, before := !c.sent.Before(r.at), c.ended.Before(r.at)
	switch {
	case d == oldDay && c.admitted():
		f.oldAdmitted++
		for _, n := range c.counters() {
			f.oldUsed[n]++
		}
		if least, told := f.leastLeft[c.application]; !told || c.answer.left.application < least {
			f.leastLeft[c.application] = c.answer.left.application
		}
		if after {
			f.lateCharged++
		}
	case d == oldDay:
		f.oldRefused++
		f.refusedBefore[c.refusedCounter()] = true
		if after {
			f.lateRefused++
		}
	case d == newDay && c.admitted():
		f.newAdmitted++
		for _, n := range c.counters() {
			f.newUsed[n]++
		}
	case d == newDay:
		f.newRefused++
		f.newRefusedFor[c.refusedCounter()]++
	}
	switch {
	case d == newDay && before:
		f.early++
	case d == oldDay && !before && !after:
		f.crossedToOld++
		f.lastOld = max(f.lastOld, c.ended.Sub(r.at))
	case d == newDay && !before && !after:
		f.crossedToNew++
	}
}
