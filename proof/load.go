package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// loadOptions are how hard a node is called while its day ends.
type loadOptions struct {
	rate       int // calls a second
	durability string
}

// The load is the same in every run: most calls are made for members of one application, drawn so that some reach their limit
// soon; the others for an application that reaches its own. A third application warms connections up, on an endpoint of its own.
const (
	mainApplication  = "main"
	spentApplication = "spent"
	warmApplication  = "warm"
	loadMembers      = 2000
	mainLimit        = 1_000_000
	spentLimit       = 200
	loadMemberLimit  = 100
)

// applicationLimits are the limits of the two applications whose days are looked at.
var applicationLimits = map[string]int64{mainApplication: mainLimit, spentApplication: spentLimit}

var loadCatalog = fmt.Sprintf(`endpoints:
  - {id: posts.create, match: POST /rest/posts, application: %d, member: %d}
  - {id: warm, match: POST /warm}
catch_all: {application: 0, member: 0}
applications:
  - {id: %s, name: Main}
  - {id: %s, name: Spent, overrides: {posts.create: {application: %d}}}
  - {id: %s, name: Warm}
`, mainLimit, loadMemberLimit, mainApplication, spentApplication, spentLimit, warmApplication)

// load is a number of connections that call a node at a steady rate.
type load struct {
	conns []*conn
	rate  int
}

// warmCalls is how many calls each connection makes before the load begins. They make the node open its connections to the upstream;
// they touch none of the counters that the load does.
const warmCalls = 20

// connect opens connections and warms them up.
func connect(ctx context.Context, address string, rate int) (*load, error) {
	l := &load{conns: make([]*conn, clientCount), rate: rate}
	err := each(ctx, clientCount, func(i int) (err error) {
		if l.conns[i], err = dial(address); err != nil {
			return err
		}
		for range warmCalls {
			k := call{application: warmApplication}
			if err := l.conns[i].post(&k, "/warm"); err != nil {
				return err
			}
			if !k.admitted() {
				return fmt.Errorf("a call to warm a connection up was answered %d", k.answer.status)
			}
		}
		return nil
	})
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *load) close() {
	for _, c := range l.conns {
		c.close()
	}
}

// run calls from an instant to another, and returns the calls in no order. Each connection has a timetable of its own. A call that
// cannot be sent when it is due, because the one before is not answered yet, is sent after it, and its time counts from when it was
// due: whoever holds up one call holds up those behind it.
func (l *load) run(ctx context.Context, from, until time.Time) ([]call, error) {
	calls := make([][]call, len(l.conns))
	interval := time.Second * time.Duration(len(l.conns)) / time.Duration(l.rate)
	err := each(ctx, len(l.conns), func(i int) error {
		pick := newPicker(uint64(i))
		due := from.Add(interval * time.Duration(i) / time.Duration(len(l.conns)))
		for n := uint64(1); due.Before(until); n++ {
			waited := time.Until(due) > 0
			if err := sleep(ctx, time.Until(due)); err != nil {
				return err
			}
			k := call{id: uint64(i)<<32 | n, due: due}
			k.application, k.member = pick.next()
			if err := l.conns[i].post(&k, "/rest/posts"); err != nil {
				return fmt.Errorf("a call of %s %s: %w", k.application, k.member, err)
			}
			if waited {
				k.due = k.sent // that a timer fired late is not the node's doing
			}
			calls[i] = append(calls[i], k)
			due = due.Add(interval)
		}
		return nil
	})
	var all []call
	for _, c := range calls {
		all = append(all, c...)
	}
	return all, err
}

// took returns how long the call's client waited.
func (c *call) took() time.Duration { return c.ended.Sub(c.due) }

// waits returns how long the clients of the calls that were due in [from, until) waited.
func waits(calls []call, from, until time.Time) []time.Duration {
	var d []time.Duration
	for i := range calls {
		if c := &calls[i]; !c.due.Before(from) && c.due.Before(until) {
			d = append(d, c.took())
		}
	}
	return d
}

// picker draws who makes the next call.
type picker struct {
	random *rand.Rand
	zipf   *rand.Zipf
}

func newPicker(seed uint64) picker {
	random := rand.New(rand.NewPCG(seed, 2))
	return picker{random: random, zipf: rand.NewZipf(random, 1.1, 20, loadMembers-1)}
}

func (p picker) next() (application, member string) {
	if p.random.IntN(10) == 0 {
		return spentApplication, ""
	}
	return mainApplication, loadMember(p.zipf.Uint64())
}

func loadMember(n uint64) string { return "m-" + strconv.FormatUint(n, 10) }
