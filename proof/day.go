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
	var d day
	var end time.Time
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
