package usage

import (
	"slices"
	"strings"
	"time"

	"github.com/perdiem/perdiem/quota"
)

// alertDay is what was told of a day's limits, and what waits to be told of. Its memory is bounded: of members, [MaxNear] are kept for each
// application and endpoint, and up to maxWaiting limits wait in all. Whoever has one guards it.
type alertDay struct {
	date         quota.Date
	day          quota.Day // of date; zero until it is known
	applications map[string]*watched
	queue        []*watched // of whose limits some wait, those first that were not looked at for the longest
	waiting      int        // limits, of all applications
	dropped      int        // limits for which there was no room
}

// watched is an application of whose limits something was told, or waits to be.
type watched struct {
	name    string
	own     map[string]*standing      // its own limits, by endpoint
	members map[string]*crowd         // its members' limits, by endpoint
	waiting [2]map[*standing]struct{} // what waits to be told of: its own limits, and its members'
	queued  bool
	paused  time.Time     // until when nothing is told of members
	pause   time.Duration // the next one's length
}

// The indices of watched.waiting.
const (
	ownLimits = iota
	memberLimits
)

// crowd are members at one endpoint who were told of or wait to be, by id: up to [MaxNear].
type crowd struct {
	standings map[string]*standing
	floor     int // in a crowd that is full nobody enters who is at no more than this; 0: not known
}

// standing is where a limit has come to.
type standing struct {
	endpoint, member string // member is empty for the application's own limit
	percent          int
	limit, used      int64 // of the application's own
	told             int   // the highest threshold that was told of; 0: none was
}

func (s *standing) kind() int { return min(len(s.member), 1) }

func newAlertDay(date quota.Date) *alertDay {
	return &alertDay{date: date, applications: map[string]*watched{}}
}

func (d *alertDay) application(name string) *watched {
	w := d.applications[name]
	if w == nil {
		w = &watched{
			name: strings.Clone(name), own: map[string]*standing{}, members: map[string]*crowd{}, pause: firstPause, // a call's names may be parts of something larger
			waiting: [2]map[*standing]struct{}{{}, {}},
		}
		d.applications[w.name] = w
	}
	return w
}

func (w *watched) find(endpoint, member string) *standing {
	if member == "" {
		return w.own[endpoint]
	}
	if c := w.members[endpoint]; c != nil {
		return c.standings[member]
	}
	return nil
}

func (w *watched) enter(s *standing) {
	if s.member == "" {
		w.own[s.endpoint] = s
		return
	}
	c := w.members[s.endpoint]
	if c == nil {
		c = &crowd{standings: map[string]*standing{}}
		w.members[s.endpoint] = c
	}
	c.standings[s.member] = s
}

// forget forgets a limit of which nothing was told.
func (w *watched) forget(s *standing) {
	if s.member == "" {
		delete(w.own, s.endpoint)
		return
	}
	c := w.members[s.endpoint]
	delete(c.standings, s.member)
	c.floor = 0
}

// restore notes what was told of before.
func (d *alertDay) restore(c Crossing) {
	d.application(c.Application).enter(&standing{endpoint: c.Endpoint, member: c.Member, percent: c.Threshold, told: c.Threshold})
}

// come takes up where a limit has come to, which is at one of its application's thresholds or beyond.
func (d *alertDay) come(application string, to standing, thresholds []int) {
	w := d.application(application)
	s := w.find(to.endpoint, to.member)
	if s != nil {
		if _, waits := w.waiting[s.kind()][s]; waits {
			if to.percent >= s.percent {
				s.percent, s.limit, s.used = to.percent, to.limit, to.used
			}
			return
		}
		if highest(thresholds, to.percent) <= s.told {
			return
		}
	}
	if d.waiting >= maxWaiting {
		d.dropped++
		return
	}
	if s == nil {
		if !d.makeRoom(w, to) {
			return
		}
		s = &standing{endpoint: strings.Clone(to.endpoint), member: strings.Clone(to.member)}
		w.enter(s)
	}
	s.percent, s.limit, s.used = to.percent, to.limit, to.used
	d.wait(w, s)
}

// makeRoom reports whether there is room for a limit; in a crowd that is full it takes the place of the member who is the farthest
// from the limit, if that one was not told of and is farther.
func (d *alertDay) makeRoom(w *watched, to standing) bool {
	c := w.members[to.endpoint]
	if to.member == "" || c == nil || len(c.standings) < MaxNear {
		return true
	}
	if to.percent <= c.floor {
		return false
	}
	var farthest *standing
	for _, s := range c.standings {
		if s.told == 0 && (farthest == nil || s.percent < farthest.percent) {
			farthest = s
		}
	}
	if farthest == nil {
		c.floor = 100
		return false
	}
	if to.percent <= farthest.percent {
		c.floor = farthest.percent
		return false
	}
	d.waitNoMore(w, farthest)
	w.forget(farthest)
	return true
}

func (d *alertDay) wait(w *watched, s *standing) {
	if _, waits := w.waiting[s.kind()][s]; waits {
		return
	}
	w.waiting[s.kind()][s] = struct{}{}
	d.waiting++
	if !w.queued {
		w.queued = true
		d.queue = append(d.queue, w)
	}
}

func (d *alertDay) waitNoMore(w *watched, s *standing) {
	delete(w.waiting[s.kind()], s)
	d.waiting--
}

// telling is a limit that is being told of.
type telling struct {
	standing  // as it is told of
	of        *standing
	threshold int
	before    int // the threshold that was told of before
}

// next takes the next application out of the queue and returns what is to be told of its limits now, at most toldAtOnce of either kind. That counts as told
// of: see [alertDay.takeBack]. Where nothing is, it is nil; hurry says that members' pause is over.
func (d *alertDay) next(thresholds func(application string) []int, now time.Time, hurry bool) (*watched, []telling) {
	w := d.queue[0]
	d.queue[0] = nil
	d.queue, w.queued = d.queue[1:], false
	at := thresholds(w.name)
	var tellings []telling
	for kind, waiting := range w.waiting {
		if kind == memberLimits && now.Before(w.paused) && !hurry && len(at) > 0 {
			continue
		}
		count := 0
		for s := range waiting {
			if count == toldAtOnce {
				break
			}
			d.waitNoMore(w, s)
			threshold := highest(at, s.percent)
			switch {
			case threshold > s.told:
				tellings = append(tellings, telling{standing: *s, of: s, threshold: threshold, before: s.told})
				s.told = threshold
				count++
			case s.told == 0: // the thresholds were changed
				w.forget(s)
			}
		}
	}
	if len(w.waiting[ownLimits])+len(w.waiting[memberLimits]) > 0 {
		w.queued = true
		d.queue = append(d.queue, w)
	}
	slices.SortFunc(tellings, telling.compare)
	return w, tellings
}

// takeBack has what could not be told of wait again.
func (d *alertDay) takeBack(w *watched, tellings []telling) {
	for _, t := range tellings {
		t.of.told = t.before
		d.wait(w, t.of)
		if c := w.members[t.endpoint]; c != nil {
			c.floor = 0
		}
	}
}

// hold keeps members from being told of for a while, longer each time.
func (w *watched) hold(now time.Time) {
	w.paused, w.pause = now.Add(w.pause), min(2*w.pause, lastPause)
}

// highest returns the highest of the thresholds, which ascend, that is not above percent; 0 where none is.
func highest(thresholds []int, percent int) int {
	for _, t := range slices.Backward(thresholds) {
		if t <= percent {
			return t
		}
	}
	return 0
}
