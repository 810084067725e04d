package lease

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/perdiem/perdiem/quota"
)

// epoch holds the accounts of one day. At the reset the book swaps in the next one; nothing is zeroed.
//
// Locks are taken in the order: a member's shard, then the application's account. No two of a kind are held together.
type epoch struct {
	day quota.Day
	*accounts

	// Of a day that is over, the sweeper's: the sweeps since then, and how many accounts the one under way has found to hold
	// something.
	sweeps int
	held   int

	toldTo int // guarded by the book's telling: the accounts of list before it were told of in the round under way
}

// accounts outlive an epoch's day only where a changed rule makes the running day longer.
type accounts struct {
	secret       [16]byte
	applications *xsync.Map[name, *applicationAccount]
	shards       [shardCount]shard

	mu   sync.Mutex
	list []*applicationAccount            // guarded by mu: all of them, in order of creation, for the sweep
	by   map[string][]*applicationAccount // guarded by mu: by application
}

const shardCount = 256

// name names an application's counter.
type name struct{ application, endpoint string }

// applicationAccount is the account of an application at one endpoint. It stays for its day.
//
// Its fields lie in cache lines of a processor by who changes them, since all processors decide its members' calls: a call that is admitted, or refused for
// its member, changes the second line alone, and one that is refused at the wall the fourth.
type applicationAccount struct {
	name
	hasher hasher
	slot   MemberKey // spreads what is done for all accounts over time, as a member's key does

	mu            sync.Mutex // guards what follows up to refusedForMember, and notedCall
	outcomes      outcomes
	memberRefused uint32 // calls refused for a member's limit and not booked yet
	account       account

	refusedForMember uint32       // since the last note
	lastCall         atomic.Int64 // Unix seconds

	// What a call is refused by without mu, so that the callers of an application that is used up, who come most and try again, do not queue
	// for it. What is used never falls in a day, so a count that reached the limit once does as long as the limit is no higher. The one exception is
	// undo, which forgets the wall: a call decided after its day's end, whose accounts a day made longer still uses.
	wall        atomic.Int64  // calls used when a call was last refused with nothing left; 0 before
	wallRefused atomic.Uint32 // calls refused by it and not booked yet
	notedCall   int64         // the lastCall that the ledger knows, or is being told

	_ [48]byte // to whole lines
}

// called notes that a call was decided at now.
func (a *applicationAccount) called(now time.Time) {
	at := now.Unix()
	for last := a.lastCall.Load(); last < at; last = a.lastCall.Load() {
		if a.lastCall.CompareAndSwap(last, at) {
			return
		}
	}
}

// bookRefused books what was refused for members' limits, and at the wall. The caller holds mu, and calls it before it reads what was refused.
func (a *applicationAccount) bookRefused() {
	members := a.memberRefused
	refused := members
	if a.wallRefused.Load() > 0 {
		refused += a.wallRefused.Swap(0)
	}
	a.memberRefused = 0
	a.account.refused += refused
	a.refusedForMember += members
	a.outcomes.refused += int64(refused)
	a.outcomes.refusedForMember += int64(members)
}

// shard is a part of the members' accounts.
type shard struct {
	mu    sync.Mutex // guards the table
	table table
	owing int      // guarded by mu: accounts that were made to owe calls since the last sweep, and those that it found owing
	_     [16]byte // keeps two shards' locks off one cache line
}

func newEpoch(day quota.Day, secret [16]byte) *epoch {
	return &epoch{day: day, accounts: &accounts{
		secret:       secret,
		applications: xsync.NewMap[name, *applicationAccount](),
		by:           map[string][]*applicationAccount{},
	}}
}

// application returns the account of an application at an endpoint, making it when there is none.
func (e *epoch) application(n name) *applicationAccount {
	if a, ok := e.applications.Load(n); ok {
		return a
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if a, ok := e.applications.Load(n); ok {
		return a
	}
	a := &applicationAccount{name: n, hasher: newHasher(e.secret, n.application, n.endpoint)}
	a.slot = a.hasher.key("")
	e.list = append(e.list, a)
	e.by[n.application] = append(e.by[n.application], a)
	e.applications.Store(n, a)
	return a
}

// of returns an application's accounts.
func (e *epoch) of(application string) []*applicationAccount {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clip(e.by[application])
}

func (e *epoch) shard(k MemberKey) *shard { return &e.shards[k[0]] }

// lock locks and returns an application's account or, where app is nil, the member's of key, which is made when there is none.
func (e *epoch) lock(app *applicationAccount, key MemberKey) (a *account, unlock func()) {
	if app != nil {
		app.mu.Lock()
		return &app.account, app.mu.Unlock
	}
	s := e.shard(key)
	s.mu.Lock()
	return s.table.insert(key), s.mu.Unlock
}

// each visits all accounts, one after the other, with its lock held.
func (e *epoch) each(visit func(a *account, app *applicationAccount, key MemberKey)) {
	for i := range e.shards {
		s := &e.shards[i]
		s.mu.Lock()
		for j := range s.table.slots {
			if sl := &s.table.slots[j]; sl.full {
				visit(&sl.account, nil, sl.key)
			}
		}
		s.mu.Unlock()
	}
	e.mu.Lock()
	list := e.list
	e.mu.Unlock()
	for _, app := range list {
		app.mu.Lock()
		visit(&app.account, app, app.slot)
		app.mu.Unlock()
	}
}
