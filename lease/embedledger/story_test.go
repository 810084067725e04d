package embedledger_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/lease/ledgertest"
	"github.com/perdiem/perdiem/quota"
)

var seed = flag.Uint64("seed", 1, "what stories, crashes and damages are drawn from")

// newRNG returns one of the seed's sequences.
func newRNG(sequence uint64) *rand.Rand { return rand.New(rand.NewPCG(*seed, sequence)) }

// state is what a ledger must hold at some moment.
type state struct {
	model ledgertest.Model
	last  quota.Date // the last day opened; 0: none
}

// differs returns how a ledger differs from the state, or an empty string.
func (s state) differs(l *embedledger.Ledger) string {
	day, ok := l.LastDay()
	if ok != (s.last != 0) || ok && day.Date != s.last {
		return fmt.Sprintf("the last day is %s, want %s", day.Date, s.last)
	}
	return s.model.Check(l)
}

// story is a life of a ledger: days begin, calls are borrowed and returned, days are dropped. With
// the same seed it has the same steps, the last quietEnd of which neither begin nor drop a day; states[i] is what holds before steps[i].
type story struct {
	steps  []func(*embedledger.Ledger) error
	states []state
}

func newStory(length int) story {
	rng := newRNG(1)
	ctx := context.Background()
	counter := func() lease.Counter {
		if rng.IntN(2) == 0 {
			return lease.Counter{Member: lease.MemberKey{byte(rng.IntN(20)), 15: 1}}
		}
		return lease.Counter{Application: string(rune('a' + rng.IntN(3))), Endpoint: string(rune('a' + rng.IntN(3)))}
	}
	distinct := func(n int) []lease.Counter {
		var counters []lease.Counter
		seen := map[lease.Counter]bool{}
		for range n {
			if c := counter(); !seen[c] {
				seen[c] = true
				counters = append(counters, c)
			}
		}
		return counters
	}

	now := state{model: ledgertest.Model{}}
	var s story
	add := func(step func(*embedledger.Ledger) error) {
		s.steps = append(s.steps, step)
	}
	date := quota.Date(20_000)
	for len(s.steps) < length {
		s.states = append(s.states, state{now.model.Clone(), now.last})
		on := date - quota.Date(rng.IntN(2))
		kind := rng.IntN(20)
		if len(s.steps) == 0 {
			kind = 0
		} else if len(s.steps) >= length-quietEnd {
			kind = 2 + rng.IntN(18)
		}
		switch {
		case kind == 0: // a day begins
			date++
			day := ledgertest.Day(date)
			add(func(l *embedledger.Ledger) error { return l.OpenDay(ctx, day) })
			now.last = date
			now.model.Drop(date - storyRetention)
		case kind == 1: // an old day is dropped
			before := date - 1
			add(func(l *embedledger.Ledger) error { return l.Drop(before) })
			now.model.Drop(before)
		case kind < 15:
			var asks []lease.Ask
			for _, c := range distinct(1 + rng.IntN(8)) {
				asks = append(asks, lease.Ask{Counter: c, Limit: quota.Limit(50 + rng.IntN(100)), Least: 1, Most: 1 + rng.Int64N(20), LastCall: rng.Int64N(100)})
			}
			want := now.model.Borrow(on, asks)
			add(func(l *embedledger.Ledger) error {
				grants := make([]lease.Grant, len(asks))
				if err := l.Borrow(ctx, ledgertest.Day(on), asks, grants); err != nil {
					return err
				}
				for i := range grants {
					if grants[i] != want[i] {
						return fmt.Errorf("ask %d: %+v, want %+v", i, grants[i], want[i])
					}
				}
				return nil
			})
		default:
			var returns []lease.Return
			for _, c := range distinct(1 + rng.IntN(8)) {
				returns = append(returns, lease.Return{Counter: c, Calls: rng.Int64N(10), Refused: rng.Int64N(3)})
			}
			add(func(l *embedledger.Ledger) error { return l.Return(ctx, ledgertest.Day(on), returns) })
			now.model.Return(on, returns)
		}
	}
	s.states = append(s.states, now)
	return s
}

const (
	storyFolder    = "data/node/ledger" // neither it nor those above it exist
	quietEnd       = 30                 // steps
	storyRetention = 2                  // days
)
