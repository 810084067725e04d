package usage

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/perdiem/perdiem/quota"
)

// alertDay is what was told of a day's limits, and what waits to be told of. Its memory is bounded: applications' own limits are as many as
// the catalog has of them; of members, [MaxNear] are kept for each application and endpoint, and up to maxWaiting wait in all. Whoever has one
// guards it.
type alertDay struct {
	date         quota.Date
	day          quota.Day // of date; zero until it is known
	applications map[string]*watched
	queue        []*watched // of whose limits some wait, those first that were not looked at for the longest
	waiting      int        // members' limits, of all applications
	dropped      int        // members' limits for which there was no room
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
	closed  bool          // nothing more is told of members: the day is over
}

// The indices of watched.waiting.
const (
	ownLimits = iota
	memberLimits
)

// crowd are members at one endpoint who were told of or wait to be, by id: up to [MaxNear].
type crowd struct {
	standings map[string]*standing
	floor     int   // in a crowd that is full nobody enters who is at no more than this; 0: not known
	limit     int64 // of which floor is a percentage
}

// standing is where a limit has come to.
type standing struct {
	endpoint, member string // member is empty for the application's own limit
	percent          int
	limit            int64 // of which the percentage is; of a member's, 0: not known
	used             int64 // of the application's own
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

// keepOnly forgets the applications that are not among these.
func (d *alertDay) keepOnly(applications map[string]AlertSettings) {
	for name, w := range d.applications {
		if _, kept := applications[name]; !kept {
			delete(d.applications, name)
			d.waiting -= len(w.waiting[memberLimits])
		}
	}
	d.queue = slices.DeleteFunc(d.queue, func(w *watched) bool { return d.applications[w.name] != w })
}

// come takes up where a limit has come to, which is at one of its application's thresholds or beyond.
func (d *alertDay) come(application string, to standing, thresholds []int) {
	w := d.application(application)
	if w.closed && to.kind() == memberLimits {
		return
	}
	s := w.find(to.endpoint, to.member)
	if s != nil {
		if _, waits := w.waiting[s.kind()][s]; waits {
			if to.percent >= s.percent || to.limit != s.limit && to.limit != 0 {
				s.percent, s.limit, s.used = to.percent, to.limit, to.used
			}
			return
		}
		if highest(thresholds, to.percent) <= s.told {
			return
		}
	}
	if s == nil && !d.makeRoom(w, to) || to.kind() == memberLimits && !d.mayWait(w, to.percent) {
		return
	}
	if s == nil {
		s = &standing{endpoint: strings.Clone(to.endpoint), member: strings.Clone(to.member)}
		w.enter(s)
	}
	s.percent, s.limit, s.used = to.percent, to.limit, to.used
	d.wait(w, s)
}

// mayWait reports whether one more of an application's members, who is at percent, may wait. Where as many wait as may, one of the application that has
// the most waiting makes room, if this one has less than its equal share; else one of its own does, who is farther from the limit.
func (d *alertDay) mayWait(w *watched, percent int) bool {
	if d.waiting < maxWaiting {
		return true
	}
	d.dropped++
	from := w
	if len(w.waiting[memberLimits]) < maxWaiting/(len(d.queue)+1) {
		from = slices.MaxFunc(d.queue, func(a, b *watched) int {
			return cmp.Compare(len(a.waiting[memberLimits]), len(b.waiting[memberLimits]))
		})
	}
	far := from.far()
	if far == nil || from == w && far.percent >= percent {
		return false
	}
	d.waitNoMore(from, far)
	if far.told == 0 {
		from.forget(far)
	}
	return true
}

// far returns the one that is the farthest from its limit among a few members who wait; nil where none does.
func (w *watched) far() (far *standing) {
	const few = 8
	looked := 0
	for s := range w.waiting[memberLimits] {
		if far == nil || s.percent < far.percent {
			far = s
		}
		if looked++; looked == few {
			break
		}
	}
	return far
}

// makeRoom reports whether there is room for a limit; in a crowd that is full it takes the place of the member who is the farthest
// from the limit, if that one was not told of and is farther.
func (d *alertDay) makeRoom(w *watched, to standing) bool {
	c := w.members[to.endpoint]
	if to.member == "" || c == nil || len(c.standings) < MaxNear {
		return true
	}
	if to.limit != c.limit {
		c.limit, c.floor = to.limit, 0
	}
	if to.percent <= c.floor {
		return false
	}
	var farthest *standing
	least := 0
	for _, s := range c.standings {
		if s.told > 0 {
			continue
		}
		percent := s.percent
		if s.limit != to.limit {
			percent = 0 // of this one it is not known
		}
		if farthest == nil || percent < least {
			farthest, least = s, percent
		}
	}
	if farthest == nil {
		c.floor = 100
		return false
	}
	if to.percent <= least {
		c.floor = least
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
	d.waiting += s.kind()
	if !w.queued {
		w.queued = true
		d.queue = append(d.queue, w)
	}
}

func (d *alertDay) waitNoMore(w *watched, s *standing) {
	delete(w.waiting[s.kind()], s)
	d.waiting -= s.kind()
}

// memberLimit is as the Limit of [AlertOptions].
type memberLimit = func(application, endpoint string) (limit quota.Limit, known bool)

// telling is a limit that is being told of.
type telling struct {
	standing  // as it is told of
	of        *standing
	threshold int
	before    int // the threshold that was told of before
}

// next takes the next application out of the queue and returns what is to be told of its limits now, at most toldAtOnce of either kind: those that are
// the nearest. That counts as told of: see [alertDay.takeBack]. Where nothing is, it is nil. When the day is over, members' pause is, too; more is then of how
// many members nothing is told.
func (d *alertDay) next(thresholds func(application string) []int, limit memberLimit, now time.Time, over bool) (w *watched, tellings []telling, more int) {
	w = d.queue[0]
	d.queue[0] = nil
	d.queue, w.queued = d.queue[1:], false
	at := thresholds(w.name)
	for kind := range w.waiting {
		if kind == memberLimits && now.Before(w.paused) && !over && len(at) > 0 {
			continue
		}
		due := d.due(w, kind, at, limit)
		told := due[:min(len(due), toldAtOnce)]
		for _, s := range told {
			d.waitNoMore(w, s)
			t := telling{standing: *s, of: s, threshold: highest(at, s.percent), before: s.told}
			s.told = t.threshold
			tellings = append(tellings, t)
		}
		if kind == memberLimits && over {
			more = len(due) - len(told)
		}
	}
	if len(w.waiting[ownLimits])+len(w.waiting[memberLimits]) > 0 {
		w.queued = true
		d.queue = append(d.queue, w)
	}
	slices.SortFunc(tellings, telling.compare)
	return w, tellings, more
}

// due returns the application's limits of a kind that wait and of which something is to be told, the nearest first. Those of which nothing is any
// more, since the thresholds or the members' limit were changed, wait no more.
func (d *alertDay) due(w *watched, kind int, thresholds []int, limit memberLimit) (due []*standing) {
	for s := range w.waiting[kind] {
		if highest(thresholds, s.percent) > s.told && w.holds(s, limit) {
			due = append(due, s)
			continue
		}
		d.waitNoMore(w, s)
		if s.told == 0 {
			w.forget(s)
		}
	}
	slices.SortFunc(due, func(a, b *standing) int { return cmp.Compare(b.percent, a.percent) })
	return due
}

// holds reports whether a member's limit is still the one that the percentage is of.
func (w *watched) holds(s *standing, limit memberLimit) bool {
	if limit == nil || s.member == "" || s.limit == 0 {
		return true
	}
	now, known := limit(w.name, s.endpoint)
	return known && int64(now) == s.limit
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

// close ends what is told of an application's members: the day is over.
func (d *alertDay) close(w *watched) {
	w.closed = true
	for s := range w.waiting[memberLimits] {
		d.waitNoMore(w, s)
	}
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
