package embedledger

import (
	"github.com/perdiem/perdiem/lease"
)

// recent remembers what busy counters of one day stand at, so that the store need not be searched for them. It is bounded: what
// was not used for longest is forgotten, by generations. What it holds is what the store holds, or is about to: it is guarded by the ledger's mu, and
// forgets all when a change does not come about.
type recent struct {
	members      generations[lease.MemberKey]
	applications generations[string] // by what their keys end with
}

// numbers are a record's, without its endpoint.
type numbers struct{ granted, refused, refusedForMember, lastCall int64 }

// maxRecent is how many counters of a kind a generation holds: some 5 MB for both kinds of a day. Around the reset there are two days.
const maxRecent = 1 << 15

// newRecent returns what remembers up to bound counters of a kind in a generation.
func newRecent(bound int) recent {
	return recent{members: generations[lease.MemberKey]{bound: bound}, applications: generations[string]{bound: bound}}
}

// recall returns a counter's record, if it is known.
func (r *recent) recall(i *item) (record lease.Record, known bool) {
	var n numbers
	if member := i.member(); member != nil {
		n, known = r.members.get(*member)
	} else {
		n, known = r.applications.get(string(i.key[dayPrefixLen:]))
	}
	return lease.Record{Granted: n.granted, Refused: n.refused, RefusedForMember: n.refusedForMember, LastCall: n.lastCall}, known
}

// remember notes a counter's record.
func (r *recent) remember(i *item, record *lease.Record) {
	n := numbers{record.Granted, record.Refused, record.RefusedForMember, record.LastCall}
	if member := i.member(); member != nil {
		r.members.put(*member, n)
	} else {
		r.applications.put(string(i.key[dayPrefixLen:]), n)
	}
}

// forget forgets all.
func (r *recent) forget() { *r = newRecent(r.members.bound) }

// generations are what was put lately, in young, and what was put before that: a key in both was put again.
type generations[K comparable] struct {
	bound      int // keys in each of them
	young, old map[K]numbers
}

func (g *generations[K]) get(k K) (numbers, bool) {
	if n, ok := g.young[k]; ok {
		return n, true
	}
	n, ok := g.old[k]
	return n, ok
}

func (g *generations[K]) put(k K, n numbers) {
	if g.young == nil {
		g.young, g.old = map[K]numbers{}, map[K]numbers{}
	}
	if len(g.young) >= g.bound {
		g.young, g.old = g.old, g.young
		clear(g.young)
	}
	g.young[k] = n
}
