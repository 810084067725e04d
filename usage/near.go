package usage

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

const (
	// NearPercent is the share of its limit, in percent, from which on a member is near it.
	NearPercent = 75
	// MaxNear is how many members are kept by name for an application and endpoint: those that are nearest to the limit.
	MaxNear = 100

	// maxNearLists is for how many applications and endpoints members are kept by name, so that their memory is bounded: some 100 MB.
	maxNearLists  = 10_000
	keepNearEvery = 5 * time.Second
	// nearListsAtOnce is how many lists are written at a time.
	nearListsAtOnce = 100
)

// Near says that a member has come to another percentage of its limit.
type Near struct {
	Day         quota.Date
	Application string
	Endpoint    string
	Member      string
	Limit       quota.Limit // of which the percentage is; 0: not known
	Percent     int         // of the limit that is used, rounded down: up to 100; 100, too, where a call was refused for it
}

// NearMember is a member who was near its limit.
type NearMember struct {
	ID      string `json:"id"`
	Percent int    `json:"percent"` // as it was last told
}

// NearList are the members of an application who were near their limit for an endpoint on a day.
type NearList struct {
	Application string
	Endpoint    string
	Limit       quota.Limit  // of the members; 0: not known
	Members     []NearMember // up to [MaxNear], in any order
}

// NearStore keeps lists over a restart. Implementations are safe for concurrent use; errors are of package fault. Package registrytest holds
// what each of them must do.
type NearStore interface {
	// KeepNear keeps lists of a day, each in place of the one of the same names, and removes all of earlier days. Of applications that the catalog does
	// not have it keeps none: they may have been removed a moment ago.
	KeepNear(ctx context.Context, day quota.Date, lists []NearList) error
	// NearOn returns the lists of a day.
	NearOn(ctx context.Context, day quota.Date) ([]NearList, error)
}

// NearOptions are what [OpenNear] needs. All but Limit are required.
type NearOptions struct {
	Store NearStore
	Day   func() quota.Day // the day that is running
	Log   *slog.Logger
	// Members returns the counts of members at an endpoint, in their order.
	Members func(ctx context.Context, application, endpoint string, members []string) ([]MemberCounts, error)
	// Limit returns the limit that an application's members have for an endpoint now, 0 where there is no such endpoint; and whether there is such an
	// application: those who were near in one that was removed are forgotten. nil: limits are what they were noted with, and all applications stay.
	Limit func(application, endpoint string) (limit quota.Limit, known bool)
}

// NearMembers keeps, until the day ends, the members who are near their limits by name: for each application and endpoint the nearest. It keeps
// them in the store too, within seconds: a crash forgets those who came near in the last of them until their next call. It is safe for
// concurrent use.
type NearMembers struct {
	o NearOptions

	mu      sync.Mutex
	day     quota.Date             // guarded by mu: of the lists
	lists   map[nearName]*nearList // guarded by mu
	changed []nearName             // guarded by mu: lists that changed since they were last kept
	full    bool                   // guarded by mu: there was no room for a list
}

type nearName struct{ application, endpoint string }

// nearList is kept small enough to be searched from end to end.
type nearList struct {
	name    nearName
	members []NearMember
	limit   quota.Limit // of the members; 0: not known
	least   int         // the lowest percentage in a list that is full
	changed bool        // since it was last kept
}

// OpenNear returns what the store has of the running day.
func OpenNear(ctx context.Context, o NearOptions) (*NearMembers, error) {
	if o.Store == nil || o.Day == nil || o.Log == nil || o.Members == nil {
		return nil, errors.New("usage: NearOptions need a Store, Day, Log and Members")
	}
	n := &NearMembers{o: o, day: o.Day().Date, lists: map[nearName]*nearList{}}
	kept, err := o.Store.NearOn(ctx, n.day)
	if err != nil {
		return nil, err
	}
	for _, list := range kept {
		for _, m := range list.Members {
			n.Note(Near{Day: n.day, Application: list.Application, Endpoint: list.Endpoint, Member: m.ID, Limit: list.Limit, Percent: m.Percent})
		}
	}
	for _, list := range n.lists {
		list.changed = false
	}
	n.changed = nil
	return n, nil
}

// Note takes up that a member has come near its limit.
func (n *NearMembers) Note(m Near) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.Day != n.day {
		if m.Day < n.day {
			return
		}
		n.beginLocked(m.Day)
	}
	name := nearName{m.Application, m.Endpoint}
	list := n.lists[name]
	if list == nil {
		if len(n.lists) >= maxNearLists {
			if !n.full {
				n.full = true
				n.o.Log.Warn("members near their limits are kept by name for so many applications and endpoints, and for no more", "lists", maxNearLists)
			}
			return
		}
		list = &nearList{name: nearName{strings.Clone(m.Application), strings.Clone(m.Endpoint)}}
		n.lists[list.name] = list
	}
	if list.note(m) && !list.changed {
		list.changed = true
		n.changed = append(n.changed, list.name)
	}
}

// beginLocked begins with a day: the names of the one before are forgotten.
func (n *NearMembers) beginLocked(day quota.Date) {
	n.day, n.lists, n.changed, n.full = day, map[nearName]*nearList{}, nil, false
}

// note enters a member, in place of the one that is the farthest from its limit where the list is full, and reports whether that changed the list. When
// the limit changes, the percentages are those of another one: all are forgotten, and come again with their next calls.
func (l *nearList) note(m Near) bool {
	if m.Limit != l.limit && m.Limit != 0 {
		if l.limit != 0 {
			l.members = nil
		}
		l.limit = m.Limit
	}
	full := len(l.members) == MaxNear
	at := slices.IndexFunc(l.members, func(k NearMember) bool { return k.ID == m.Member })
	switch {
	case at >= 0 && l.members[at].Percent == m.Percent, at < 0 && full && m.Percent <= l.least:
		return false
	case at < 0 && full:
		at = slices.IndexFunc(l.members, func(k NearMember) bool { return k.Percent == l.least })
	case at < 0:
		l.members = append(l.members, NearMember{})
		at = len(l.members) - 1
	}
	if l.members[at].ID != m.Member {
		l.members[at].ID = strings.Clone(m.Member) // the call's may be a part of something larger
	}
	l.members[at].Percent = m.Percent
	if len(l.members) == MaxNear {
		l.least = slices.MinFunc(l.members, func(a, b NearMember) int { return cmp.Compare(a.Percent, b.Percent) }).Percent
	}
	return true
}

// Tell tells of everybody who is kept and whose limit is still what it was.
func (n *NearMembers) Tell(tell func(Near)) {
	n.mu.Lock()
	day := n.day
	names := slices.Collect(maps.Keys(n.lists))
	n.mu.Unlock()
	for _, name := range names {
		list := n.copy(day, name)
		if n.o.Limit != nil {
			if limit, known := n.o.Limit(name.application, name.endpoint); !known || limit != list.Limit {
				continue
			}
		}
		for _, m := range list.Members {
			tell(Near{Day: day, Application: name.application, Endpoint: name.endpoint, Member: m.ID, Limit: list.Limit, Percent: m.Percent})
		}
	}
}

// copy returns a copy of a day's list, which has no members where there is none. Members' calls wait for the lock, so it is taken for one list at a time.
func (n *NearMembers) copy(day quota.Date, name nearName) NearList {
	n.mu.Lock()
	defer n.mu.Unlock()
	if list := n.lists[name]; list != nil && n.day == day {
		return list.copy()
	}
	return NearList{}
}

// Follow keeps the lists in the store until ctx ends. What is noted after that is [NearMembers.Close]'s to keep.
func (n *NearMembers) Follow(ctx context.Context) {
	ticker := time.NewTicker(keepNearEvery)
	defer ticker.Stop()
	kept := quota.Date(0) // so that what an earlier day left is removed at once
	failing := false
	for {
		n.forgetRemoved()
		day, lists := n.takeChanged()
		if day != kept || len(lists) > 0 {
			err := n.keep(ctx, day, lists)
			if err == nil {
				kept = day
			} else if !failing && ctx.Err() == nil {
				n.o.Log.Warn("members near their limits cannot be kept over a restart", "err", err)
			}
			failing = err != nil
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Close keeps what was noted until now.
func (n *NearMembers) Close(ctx context.Context) error {
	day, lists := n.takeChanged()
	if len(lists) == 0 {
		return nil
	}
	return n.keep(ctx, day, lists)
}

// takeChanged returns the day that is running, and copies of its lists that changed since they were last kept.
func (n *NearMembers) takeChanged() (quota.Date, []NearList) {
	today := n.o.Day().Date
	n.mu.Lock()
	if today > n.day {
		n.beginLocked(today)
	}
	day, names := n.day, n.changed
	n.changed = nil
	n.mu.Unlock()
	lists := make([]NearList, 0, len(names))
	for _, name := range names {
		if list := n.takeList(day, name); len(list.Members) > 0 {
			lists = append(lists, list)
		}
	}
	return day, lists
}

// forgetRemoved forgets who was near in applications that were removed: another may come to bear the name of one.
func (n *NearMembers) forgetRemoved() {
	if n.o.Limit == nil {
		return
	}
	n.mu.Lock()
	names := slices.Collect(maps.Keys(n.lists))
	n.mu.Unlock()
	removed := slices.DeleteFunc(names, func(name nearName) bool {
		_, known := n.o.Limit(name.application, name.endpoint)
		return known
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range removed {
		delete(n.lists, name)
	}
}

// takeList is as copy, and notes that the list is being kept.
func (n *NearMembers) takeList(day quota.Date, name nearName) NearList {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.lists[name]
	if list == nil || n.day != day {
		return NearList{}
	}
	list.changed = false
	return list.copy()
}

func (l *nearList) copy() NearList {
	return NearList{Application: l.name.application, Endpoint: l.name.endpoint, Limit: l.limit, Members: slices.Clone(l.members)}
}

func (n *NearMembers) keep(ctx context.Context, day quota.Date, lists []NearList) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	for {
		some := lists[:min(len(lists), nearListsAtOnce)]
		if err := n.o.Store.KeepNear(ctx, day, some); err != nil {
			n.keepLater(day, lists)
			return err
		}
		if lists = lists[len(some):]; len(lists) == 0 {
			return nil
		}
	}
}

// keepLater has lists kept the next time.
func (n *NearMembers) keepLater(day quota.Date, lists []NearList) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range lists {
		if list := n.lists[nearName{l.Application, l.Endpoint}]; list != nil && n.day == day && !list.changed {
			list.changed = true
			n.changed = append(n.changed, list.name)
		}
	}
}

// of returns today's lists of an application, for one endpoint or for all.
func (n *NearMembers) of(application, endpoint string) []NearList {
	today := n.o.Day().Date
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.day != today {
		return nil
	}
	if endpoint != "" {
		name := nearName{application, endpoint}
		if list := n.lists[name]; list != nil {
			return []NearList{list.copy()}
		}
		return nil
	}
	var lists []NearList
	for name, list := range n.lists {
		if name.application == application {
			lists = append(lists, list.copy())
		}
	}
	return lists
}

// MemberNear is what a member has used who is near its limit for an endpoint today.
type MemberNear struct {
	Endpoint string
	Percent  int // of the limit that is used, rounded down: [NearPercent] or more
	MemberUsage
}

// MembersNear returns the members who have used [NearPercent] percent or more of their limit for an endpoint of an application today, or for
// any of its endpoints where endpoint is empty: the nearest first, up to [MaxNear] an endpoint. The figures and limits are those of
// now. The error is [fault.NotFound] where the catalog has no such application, and [fault.Unavailable] where the counters cannot be read.
func (r *Reader) MembersNear(ctx context.Context, application, endpoint string) ([]MemberNear, error) {
	snapshot := r.catalog()
	app, known := snapshot.Application(application)
	if !known {
		return nil, fault.New(fault.NotFound, "There is no application %s.", application)
	}
	if r.near == nil {
		return nil, nil
	}
	var near []MemberNear
	for _, list := range r.near.of(application, endpoint) {
		e, known := snapshot.Endpoint(list.Endpoint)
		if !known {
			continue
		}
		limit := number(snapshot.Limits(app, e).Member)
		if limit == nil || *limit == 0 {
			continue
		}
		ids := make([]string, len(list.Members))
		for i, m := range list.Members {
			ids[i] = m.ID
		}
		counts, err := r.near.o.Members(ctx, application, list.Endpoint, ids)
		if err != nil {
			return nil, err
		}
		for i, c := range counts {
			if percent := c.Used * 100 / *limit; percent >= NearPercent {
				near = append(near, MemberNear{Endpoint: list.Endpoint, Percent: int(percent), MemberUsage: MemberUsage{
					ID: ids[i], Limit: limit, Used: c.Used, Remaining: new(max(0, *limit-c.Used)), Refused: c.Refused,
				}})
			}
		}
	}
	slices.SortFunc(near, func(a, b MemberNear) int {
		return cmp.Or(cmp.Compare(b.Percent, a.Percent), cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.ID, b.ID))
	})
	return near, nil
}
