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
	own     map[string]*standing // its own limits, by endpoint
	members map[string]*crowd    // its members' limits, by endpoint
	waiting [2]ranks             // what waits to be told of: its own limits, and its members'
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
	now       int64 // the limit that holds, while it is counted who is left
}

// standing is where a limit has come to.
type standing struct {
	endpoint, member string // member is empty for the application's own limit
	percent          int
	limit            int64  // of which the percentage is; of a member's, 0: not known
	used             int64  // of the application's own
	told             int    // the highest threshold that was told of; 0: none was
	crowd            *crowd // a member's
	place            int    // in its rank, from 1 on, while it waits to be told of; else 0
}

func (s *standing) kind() int { return min(len(s.member), 1) }

// ranks are limits that wait, by percent, so that the nearest and the farthest are found without a look at all: members' calls wait meanwhile.
type ranks struct {
	of  map[int][]*standing // by percent, 1 to 100; none is empty
	len int
}

func (r *ranks) add(s *standing) {
	if r.of == nil {
		r.of = map[int][]*standing{}
	}
	rank := append(r.of[s.percent], s)
	r.of[s.percent] = rank
	s.place = len(rank)
	r.len++
}

// remove takes a limit out, whose place the last of its rank takes.
func (r *ranks) remove(s *standing) {
	rank := r.of[s.percent]
	last := len(rank) - 1
	rank[s.place-1], rank[last].place = rank[last], s.place
	rank[last], s.place = nil, 0
	if r.of[s.percent] = rank[:last]; last == 0 {
		delete(r.of, s.percent)
	}
	r.len--
}

// farthest returns one of those that are the farthest from their limits; nil where none waits.
func (r *ranks) farthest() *standing {
	for percent := 1; r.len > 0 && percent <= 100; percent++ {
		if rank := r.of[percent]; len(rank) > 0 {
			return rank[len(rank)-1]
		}
	}
	return nil
}

func newAlertDay(date quota.Date) *alertDay {
	return &alertDay{date: date, applications: map[string]*watched{}}
}

func (d *alertDay) application(name string) *watched {
	w := d.applications[name]
	if w == nil {
		w = &watched{
			name: strings.Clone(name), own: map[string]*standing{}, members: map[string]*crowd{}, pause: firstPause, // a call's names may be parts of something larger
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
	c.standings[s.member], s.crowd = s, c
}

// forget forgets a limit of which nothing was told.
func (w *watched) forget(s *standing) {
	if s.member == "" {
		delete(w.own, s.endpoint)
		return
	}
	delete(s.crowd.standings, s.member)
	s.crowd.floor = 0
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
			d.waiting -= w.waiting[memberLimits].len
		}
	}
	d.queue = slices.DeleteFunc(d.queue, func(w *watched) bool { return d.applications[w.name] != w })
}

// come takes up where a limit has come to, which is at one of its application's thresholds or beyond.
func (d *alertDay) come(application string, to standing, thresholds []int) {
	to.percent = min(to.percent, 100)
	w := d.application(application)
	if w.closed && to.kind() == memberLimits {
		return
	}
	s := w.find(to.endpoint, to.member)
	if s != nil {
		if s.place > 0 {
			if to.percent >= s.percent || to.limit != s.limit && to.limit != 0 {
				waiting := &w.waiting[s.kind()]
				waiting.remove(s)
				s.percent, s.limit, s.used = to.percent, to.limit, to.used
				waiting.add(s)
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
	if w.waiting[memberLimits].len < maxWaiting/(len(d.queue)+1) {
		from = slices.MaxFunc(d.queue, func(a, b *watched) int {
			return cmp.Compare(a.waiting[memberLimits].len, b.waiting[memberLimits].len)
		})
	}
	far := from.waiting[memberLimits].farthest()
	if far == nil || from == w && far.percent >= percent {
		return false
	}
	d.waitNoMore(from, far)
	if far.told == 0 {
		from.forget(far)
	}
	return true
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
	if s.place > 0 {
		return
	}
	w.waiting[s.kind()].add(s)
	d.waiting += s.kind()
	if !w.queued {
		w.queued = true
		d.queue = append(d.queue, w)
	}
}

func (d *alertDay) waitNoMore(w *watched, s *standing) {
	w.waiting[s.kind()].remove(s)
	d.waiting -= s.kind()
}

// memberLimit is as the Limit of [AlertOptions].
type memberLimit func(application, endpoint string) (limit quota.Limit, known bool)

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
		for _, s := range d.due(w, kind, at, limit) {
			d.waitNoMore(w, s)
			t := telling{standing: *s, of: s, threshold: highest(at, s.percent), before: s.told}
			s.told = t.threshold
			tellings = append(tellings, t)
		}
		if kind == memberLimits && over {
			more = w.left(at, limit)
		}
	}
	if w.waiting[ownLimits].len+w.waiting[memberLimits].len > 0 {
		w.queued = true
		d.queue = append(d.queue, w)
	}
	slices.SortFunc(tellings, telling.compare)
	return w, tellings, more
}

// due returns those of the application's limits of a kind that wait and of which something is to be told, the nearest first, up to toldAtOnce. Those
// that it meets of which nothing is any more, since the thresholds or the members' limit were changed, wait no more.
func (d *alertDay) due(w *watched, kind int, thresholds []int, limit memberLimit) (due []*standing) {
	waiting := &w.waiting[kind]
	for percent := 100; percent > 0 && len(due) < min(toldAtOnce, waiting.len); percent-- {
		threshold, rank := highest(thresholds, percent), waiting.of[percent]
		for i := len(rank) - 1; i >= 0 && len(due) < toldAtOnce; i-- { // from the end, so that who takes the place of another was looked at
			s := rank[i]
			if threshold > s.told && (kind == ownLimits || s.holds(limit.of(w.name, s.endpoint))) {
				due = append(due, s)
				continue
			}
			d.waitNoMore(w, s)
			if s.told == 0 {
				w.forget(s)
			}
		}
	}
	return due
}

// left returns of how many of the members who wait something is to be told. It asks for a limit once for each endpoint.
func (w *watched) left(thresholds []int, limit memberLimit) (left int) {
	for endpoint, c := range w.members {
		c.now = limit.of(w.name, endpoint)
	}
	for percent, rank := range w.waiting[memberLimits].of {
		threshold := highest(thresholds, percent)
		for _, s := range rank {
			if threshold > s.told && s.holds(s.crowd.now) {
				left++
			}
		}
	}
	return left
}

// of returns the limit that holds; below 0 where there is none, and 0 where it is not known.
func (l memberLimit) of(application, endpoint string) int64 {
	if l == nil {
		return 0
	}
	if now, known := l(application, endpoint); known && now > 0 {
		return int64(now)
	}
	return -1
}

// holds reports whether the percentage is one of the limit that holds, as far as they are known.
func (s *standing) holds(now int64) bool { return now == 0 || s.limit == 0 || s.limit == now }

// takeBack has what could not be told of wait again.
func (d *alertDay) takeBack(w *watched, tellings []telling) {
	for _, t := range tellings {
		t.of.told = t.before
		d.wait(w, t.of)
		if c := t.of.crowd; c != nil {
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
	d.waiting -= w.waiting[memberLimits].len
	w.waiting[memberLimits], w.members = ranks{}, nil
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
