package main

import "time"

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

// adrift returns by how many calls what the answers of the old day said was left differs from what was admitted in it. A call that
// was under way at the reset may have been counted in the old day and taken back.
func (f *findings) adrift() int64 {
	var most int64
	for app, limit := range applicationLimits {
		least, told := f.leastLeft[app]
		if !told {
			continue
		}
		spent := limit - least
		off := max(f.oldUsed[counter{app, ""}]-spent, spent-f.oldUsed[counter{app, ""}]-int64(f.crossedToNew))
		most = max(most, off)
	}
	return most
}
