package lease

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdiem/perdiem/quota"
)

// The population of the benchmarks: that of bench/libbench, where the floors are measured.
const (
	benchMembers      = 100_000
	benchApplications = 20
	benchEndpoints    = 10
	benchCounters     = benchMembers * benchEndpoints
)

// benchCalls are a call of each member to each endpoint. They are kept as small as the floors keep theirs, which are two strings: a call that
// comes in has just been read, and is in the processor's cache.
type benchCalls struct {
	limits       quota.Limits
	applications [benchApplications]string
	endpoints    [benchEndpoints]string
	members      []string // by call
}

func newBenchCalls(limits quota.Limits) *benchCalls {
	c := &benchCalls{limits: limits, members: make([]string, benchCounters)}
	for a := range c.applications {
		c.applications[a] = "app" + strconv.Itoa(a)
	}
	for e := range c.endpoints {
		c.endpoints[e] = "/v1/ep" + strconv.Itoa(e)
	}
	for i := range c.members {
		c.members[i] = "member" + strconv.Itoa(i/benchEndpoints)
	}
	return c
}

func (c *benchCalls) call(i int) Call {
	return Call{
		Application: c.applications[i/benchEndpoints%benchApplications],
		Endpoint:    c.endpoints[i%benchEndpoints],
		Member:      c.members[i],
		Limits:      c.limits,
		Cost:        1,
	}
}

func openBench(tb testing.TB, l Ledger) *Book {
	rule, err := quota.NewDayRule("UTC", "00:00")
	if err != nil {
		tb.Fatal(err)
	}
	b, err := Open(Options{Ledger: l, Rule: rule, Day: rule.At(time.Now())})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close(context.Background()) })
	return b
}

// stock puts calls into the hand of every account, as if they had been borrowed.
func (b *Book) stock(calls *benchCalls, n int64) {
	e := b.current.Load()
	for i := range benchCounters {
		c := calls.call(i)
		app := e.application(name{c.Application, c.Endpoint})
		for _, k := range []struct {
			app *applicationAccount
			key MemberKey
			n   int64
		}{{app, MemberKey{}, benchMembers * n}, {nil, app.hasher.key(c.Member), n}} {
			a, unlock := e.lock(k.app, k.key)
			if !a.known {
				*a = account{known: true, granted: k.n, have: k.n}
			}
			unlock()
		}
	}
}

// BenchmarkTakeWarm is a decision for which both accounts hold enough: no I/O.
func BenchmarkTakeWarm(b *testing.B) {
	calls := newBenchCalls(quota.Limits{Application: 1 << 40, Member: 1 << 40})
	book := openBench(b, newModelLedger())
	book.sweeper.halt() // it would return what was not borrowed by the block policy
	book.stock(calls, 1<<20)
	before := book.Stats().Asks
	var seed atomic.Uint64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		r := rand.New(rand.NewPCG(seed.Add(1), 7))
		ctx := context.Background()
		for pb.Next() {
			if d, err := book.Take(ctx, calls.call(r.IntN(benchCounters))); err != nil || !d.Admitted() {
				b.Error("refused", d, err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(book.Stats().Asks-before)/float64(b.N), "borrows/op")
}
