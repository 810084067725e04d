package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	application      = "acme"
	applicationLimit = 10_000
	memberLimit      = 37
	memberCount      = 400
	clientCount      = 64
	killCount        = 10
	leastInFlight    = 20
	// share is the part of the application's limit that goes from one kill to the next: a twelfth, forfeits included, so that
	// about a sixth is left at the last kill.
	share = applicationLimit / 12
	// eager members make a sixth of all calls, so that they reach their limit before the last kill; quiet ones make none
	// before it, so that theirs is reached afterwards, in order.
	eager = 20
	quiet = 20
)

// proveExactness kills a node ten times under load and counts.
func proveExactness(ctx context.Context, b *lab) error {
	for _, durability := range []string{"disk", "process"} {
		for _, cost := range []int64{1, 2} {
			b.title("exactness: durability %s, cost %d: %d clients, limits %d (application) and %d (member), %d members, %d kills",
				durability, cost, clientCount, applicationLimit, memberLimit, memberCount, killCount)
			if err := exact(ctx, b, durability, cost); err != nil {
				return fmt.Errorf("durability %s, cost %d: %w", durability, cost, err)
			}
		}
	}
	return nil
}

// exact besieges one node.
func exact(ctx context.Context, b *lab, durability string, cost int64) error {
	up, err := startUpstream()
	if err != nil {
		return err
	}
	defer up.close()
	catalog := fmt.Sprintf(`endpoints:
  - {id: posts.create, match: POST /rest/posts, application: %d, member: %d, cost: %d}
catch_all: {application: 0, member: 0}
applications:
  - {id: %s, name: Acme}
`, applicationLimit, memberLimit, cost, application)
	// The day began an hour ago: no reset comes in between.
	site, err := newSite(b, settings{upstream: up.address, durability: durability, starts: time.Now().Add(-time.Hour), catalog: catalog})
	if err != nil {
		return err
	}
	s := &siege{report: b.report, cost: cost, site: site, up: up, accounting: newAccounting(applicationLimit, memberLimit, cost)}
	for i := range memberCount {
		s.members = append(s.members, "m-"+strconv.Itoa(i))
	}
	// The upstream is slow enough that most clients wait for it at any time, and that the last two seconds of a counter mean something: some
	// 300 calls charged a second.
	latency := 200 * time.Millisecond * time.Duration(cost)
	up.latency.Store(int64(latency))
	s.pace.Store(int64(latency))
	return s.run(ctx)
}

// run kills the node as often as it has to be, spends what is left, and closes the account.
func (s *siege) run(ctx context.Context) (err error) {
	if s.node, err = s.site.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.node.kill()) }()

	hammering, stopHammering := context.WithCancel(ctx)
	defer stopHammering()
	hammered, probed := make(chan error, 1), make(chan error, 1)
	go func() { probed <- s.fsyncs.probe(hammering, s.site.folder) }()
	s.target.Store(&target{address: s.node.address})
	go func() {
		hammered <- each(ctx, clientCount, func(i int) error { return s.hammer(hammering, uint64(i)) })
	}()
	var kills []killed
	for i := range killCount {
		k, err := s.kill(ctx, i)
		if err != nil {
			return fmt.Errorf("kill %d: %w", i+1, err)
		}
		kills = append(kills, k)
	}
	walls := len(s.refusedMembers())
	stopHammering()
	if err := errors.Join(<-hammered, <-probed); err != nil {
		return err
	}
	s.tellKills(kills)
	s.promise(walls > 0, "not in vain: %d members had reached their limit before the last kill", walls)

	s.up.latency.Store(0)
	s.pace.Store(0)
	if err := s.spendTheRest(ctx); err != nil {
		return err
	}
	return s.settle(ctx, kills)
}

// tellKills prints the kills, and whether what they forfeited is within bounds.
func (s *siege) tellKills(kills []killed) {
	var rows [][]string
	inFlight, bounded, small := true, true, 0
	for i, k := range kills {
		inFlight = inFlight && k.unanswered >= leastInFlight
		var members int64
		for counter, l := range k.losses {
			bounded = bounded && l.within()
			if counter != "" {
				members += l.calls
				small++
			}
		}
		app, worst := k.losses[""], ""
		if member, l := worstMember(k.losses); member != "" {
			worst = fmt.Sprintf("%s: %d (%d; %d)", member, l.calls, l.inFlight, l.bound)
		}
		if app.bound == 0 {
			app.bound = forfeitBound(applicationLimit, s.cost, applicationLimit)
		}
		rows = append(rows, []string{
			strconv.Itoa(i + 1), strconv.Itoa(k.unanswered), strconv.FormatInt(k.left, 10),
			fmt.Sprintf("%d (%d; %d)", app.calls, app.inFlight, app.bound), strconv.FormatInt(members, 10), worst, milliseconds(k.fsync),
		})
	}
	s.note("forfeited by each kill, in calls; in parentheses: calls in flight that did not reach the upstream; the bound on the rest")
	s.table([]string{"kill", "in flight", "left", "application", "all members", "worst member", "slowest fsync, ms"}, rows)
	s.tellOverdue(kills)
	last := kills[len(kills)-1]
	s.promise(inFlight, "not in vain: at least %d calls in flight at each kill", leastInFlight)
	s.promise(last.left > 0, "not in vain: calls were left at the last kill (%d)", last.left)
	s.promise(bounded, "what a kill forfeits is within max(cost, min(2 x the last two seconds' use, the block cap)), besides calls in flight (%d losses of members)", small)
	s.promise(s.accounting.understated == 0, "no counter ever showed less than had been admitted (%d did)", s.accounting.understated)
}

// tellOverdue prints by how much losses are beyond their bounds: for each kill the counter that had gone unused for the longest.
func (s *siege) tellOverdue(kills []killed) {
	for i, k := range kills {
		longest := ""
		for counter, unused := range k.unused {
			if longest == "" || unused > k.unused[longest] {
				longest = counter
			}
		}
		if len(k.unused) > 0 {
			l := k.losses[longest]
			s.note("kill %d: %d losses beyond their bounds; %q lost %d (%d; %d), %v after it was last used; the slowest fsync took %v",
				i+1, len(k.unused), longest, l.calls, l.inFlight, l.bound, k.unused[longest].Round(time.Millisecond), k.fsync.Round(time.Millisecond))
		}
	}
}

// spendTheRest calls until nothing is left: for each quiet member to its own limit, then for the others to the application's.
func (s *siege) spendTheRest(ctx context.Context) error {
	to := s.target.Load()
	spent := atomic.Int64{}
	err := each(ctx, clientCount, func(i int) error {
		if i >= quiet {
			return nil
		}
		return s.spend(ctx, to, func() string { return s.members[memberCount-1-i] }, func(k *call) bool {
			if k.answer.refusedBy == "member" {
				spent.Add(1)
			}
			return k.refused()
		})
	})
	if err != nil {
		return err
	}
	s.promise(spent.Load() == quiet, "%d of %d members could then spend theirs to the limit", spent.Load(), quiet)
	return each(ctx, clientCount, func(i int) error {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		return s.spend(ctx, to, func() string { return s.members[eager+random.IntN(memberCount-eager-quiet)] }, func(k *call) bool {
			return k.answer.refusedBy == "application"
		})
	})
}

// settle looks at the books once nothing is left to spend.
func (s *siege) settle(ctx context.Context, kills []killed) error {
	used, err := readUsed(ctx, s.node.address, application, "posts.create", s.members)
	if err != nil {
		return err
	}
	s.mu.Lock()
	calls := slices.Clone(s.calls)
	s.mu.Unlock()
	arrivals := s.up.since(0)
	admitted := charged(arrivals, s.cost)
	s.note("%d calls: %v by status (0: never answered); %d reached the upstream", len(calls), statuses(calls), len(arrivals))
	s.note("application: used %d = admitted %d + forfeited %d, of a limit of %d", used[""], admitted[""], used[""]-admitted[""], applicationLimit)

	over, adrift, misrefused := 0, 0, 0
	walls := s.refusedMembers()
	for i := range calls {
		if calls[i].leftForRefusal() >= s.cost {
			misrefused++
		}
	}
	for counter, n := range used {
		limit := s.accounting.limit[counter != ""]
		if n > limit || admitted[counter] > limit {
			over++
		}
		// The node has run on since the last kill: it has forfeited nothing.
		if n-admitted[counter] != s.accounting.forfeited[counter] {
			adrift++
		}
		if walls[counter] && n+s.cost <= limit {
			misrefused++
		}
	}
	s.promise(over == 0, "admitted at the upstream <= limit, for each of %d counters (%d beyond)", len(used), over)
	join(calls, arrivals).promise(s.report)
	s.promise(used[""]+s.cost > applicationLimit, "the rest, less what the kills forfeited, was spent to the last call: used %d, limit %d", used[""], applicationLimit)
	s.promise(adrift == 0, "used = admitted + forfeited by the kills, for each counter (%d differ)", adrift)
	s.promise(misrefused == 0, "nobody was refused with a call left (%d wrongly; %d members reached their limit)", misrefused, len(walls))
	s.promise(s.unanswered(calls, kills) == 0, "each call that no kill cut off was answered (%d were not)", s.unanswered(calls, kills))
	s.promise(unexpected(calls) == "", "each answer was 200 or 429 %s", unexpected(calls))
	err = s.node.stop()
	s.promise(err == nil, "the node stops on SIGTERM with status 0 %s", orNothing(err))
	return nil
}

// orNothing returns what an error says, if there is one.
func orNothing(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
