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

// benchCalls returns a call of each member to each endpoint.
func benchCalls(limits quota.Limits) []Call {
	calls := make([]Call, benchCounters)
	var endpoints [benchEndpoints]string
	for e := range endpoints {
		endpoints[e] = "/v1/ep" + strconv.Itoa(e)
	}
	var applications [benchApplications]string
	for a := range applications {
		applications[a] = "app" + strconv.Itoa(a)
	}
	for i := range calls {
		m := i / benchEndpoints
		calls[i] = Call{
			Application: applications[m%benchApplications],
			Endpoint:    endpoints[i%benchEndpoints],
			Member:      "member" + strconv.Itoa(m),
			Limits:      limits,
			Cost:        1,
		}
	}
	return calls
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
func (b *Book) stock(calls []Call, n int64) {
	e := b.current.Load()
	for _, c := range calls {
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
	calls := benchCalls(quota.Limits{Application: 1 << 40, Member: 1 << 40})
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
			if d, err := book.Take(ctx, calls[r.IntN(len(calls))]); err != nil || !d.Admitted() {
				b.Error("refused", d, err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(book.Stats().Asks-before)/float64(b.N), "borrows/op")
}
