package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// siege is a node under load that is killed again and again.
type siege struct {
	*report
	cost       int64
	site       *site
	up         *upstream
	node       *node
	members    []string
	accounting *accounting
	fsyncs     fsyncs

	target   atomic.Pointer[target]
	pace     atomic.Int64 // nanoseconds from one call of a client to its next, at least
	ids      atomic.Uint64
	inFlight atomic.Int64 // calls that have been sent and not been entered in calls

	mu    sync.Mutex
	calls []call // guarded by mu
}

// target is the node that clients call.
type target struct {
	address string
	run     int // counted from 0
}

// killed is what is known of one kill.
type killed struct {
	at         time.Time
	unanswered int   // calls that were sent before it and never answered
	left       int64 // of the application's limit, in calls
	losses     map[string]loss
	unused     map[string]time.Duration // how long before the kill a counter whose loss is beyond its bound was last used
	fsync      time.Duration            // the slowest of the seconds before it
}

// hammer calls the endpoint for random members until ctx ends, whatever becomes of the node.
func (s *siege) hammer(ctx context.Context, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 0))
	var c *conn
	defer func() { c.close() }()
	var to *target
	for ctx.Err() == nil {
		if now := s.target.Load(); c == nil || to != now {
			c.close()
			to = now
			var err error
			if c, err = dial(to.address); err != nil {
				c = nil // the node is down
				_ = sleep(ctx, pollEvery)
				continue
			}
		}
		member := s.members[eager+random.IntN(memberCount-eager-quiet)]
		if random.IntN(6) == 0 {
			member = s.members[random.IntN(eager)]
		}
		k, err := s.call(c, to.run, member)
		if err != nil && !k.lost() {
			return err
		}
		if k.lost() {
			c.close()
			c = nil
		}
		_ = sleep(ctx, time.Until(k.sent.Add(time.Duration(s.pace.Load()))))
	}
	return nil
}

// call makes one call and keeps it.
func (s *siege) call(c *conn, run int, member string) (call, error) {
	k := call{id: s.ids.Add(1), application: application, member: member, run: run}
	s.inFlight.Add(1)
	err := c.post(&k, "/rest/posts")
	s.mu.Lock()
	s.calls = append(s.calls, k)
	s.mu.Unlock()
	s.inFlight.Add(-1)
	return k, err
}

// kill kills the node of the given run when its share of the limit is gone, starts the next, and accounts for what was lost.
func (s *siege) kill(ctx context.Context, run int) (killed, error) {
	due := int64(run+1) * share
	err := waitUntil(ctx, "the next kill", func() bool {
		return int64(s.up.count())*s.cost+s.accounting.forfeited[""] >= due && s.inFlight.Load() >= leastInFlight
	})
	if err != nil {
		return killed{}, err
	}
	at := time.Now()
	if err := s.node.kill(); err != nil {
		return killed{}, err
	}
	if !s.node.killed() {
		return killed{}, fmt.Errorf("the node ended with %v, not by SIGKILL", s.node.state)
	}
	if err := s.up.drained(ctx); err != nil {
		return killed{}, err
	}
	if err := waitUntil(ctx, "the calls in flight to fail", func() bool { return s.inFlight.Load() == 0 }); err != nil {
		return killed{}, err
	}
	next, err := s.site.start(ctx)
	if err != nil {
		return killed{}, fmt.Errorf("start after the kill: %w", err)
	}
	s.node = next
	// The clients do not know the new address yet: what the node says now is what it found in its data folder.
	used, err := readUsed(ctx, s.node.address, application, "posts.create", s.members)
	if err != nil {
		return killed{}, err
	}
	k := s.account(at, run, used)
	s.target.Store(&target{address: s.node.address, run: run + 1})
	return k, nil
}

// account works out what the kill of a run at an instant forfeited.
func (s *siege) account(at time.Time, run int, used map[string]int64) killed {
	arrivals := s.up.since(0)
	arrived := byCall(arrivals)
	k := killed{at: at, left: applicationLimit - used[""], unused: map[string]time.Duration{}, fsync: s.fsyncs.slowest(at.Add(-2*recentWindow), at)}
	lost := map[string]int64{}
	s.mu.Lock()
	for i := range s.calls {
		c := &s.calls[i]
		if c.run != run || !c.lost() {
			continue
		}
		if !c.sent.After(at) {
			k.unanswered++
		}
		if arrived[c.id] == 0 {
			lost[""] += s.cost
			lost[c.member] += s.cost
		}
	}
	s.mu.Unlock()
	recent := usedSince(arrivals, at.Add(-recentWindow), s.cost)
	for counter, n := range lost {
		recent[counter] += n
	}
	k.losses = s.accounting.kill(moment{used: used, admitted: charged(arrivals, s.cost), recent: recent, inFlight: lost})
	for counter, l := range k.losses {
		if !l.within() {
			k.unused[counter] = at.Sub(lastUse(arrivals, counter))
		}
	}
	return k
}

// refusedMembers returns the members that have been refused for their own limit.
func (s *siege) refusedMembers() map[string]bool {
	refused := map[string]bool{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.calls {
		if s.calls[i].answer.refusedBy == "member" {
			refused[s.calls[i].member] = true
		}
	}
	return refused
}

// mostCalls ends a client's calls where no refusal does.
const mostCalls = 100 * applicationLimit / clientCount

// spend calls until done says that the last call was the one that was waited for.
func (s *siege) spend(ctx context.Context, to *target, member func() string, done func(*call) bool) error {
	c, err := dial(to.address)
	if err != nil {
		return err
	}
	defer c.close()
	for range mostCalls {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		k, err := s.call(c, to.run, member())
		if err != nil {
			return err
		}
		if done(&k) {
			return nil
		}
	}
	return fmt.Errorf("%d calls, and the limit was not reached", mostCalls)
}

// unanswered counts the calls that were given up although their node was not killed.
func (s *siege) unanswered(calls []call, kills []killed) int {
	n := 0
	for i := range calls {
		if c := &calls[i]; c.lost() && (c.run >= len(kills) || c.ended.Before(kills[c.run].at)) {
			n++
		}
	}
	return n
}
