package lease

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/perdiem/perdiem/quota"
)

// rememberedMembers is how many members' calls BenchmarkTake draws from: no more than a book surely remembers as used up (see
// keptIdle), and as many for admitted calls, so that all meet the same caches.
const rememberedMembers = shardCount * keptIdle / 2

// BenchmarkTake compares what a remembered refusal costs with what an admitted call costs.
func BenchmarkTake(b *testing.B) {
	const plenty = 1 << 40
	for _, c := range []struct {
		name                string
		application, member int64 // calls in hand; 0: the limit is reached
		refused             quota.Kind
	}{
		{"admitted", plenty, plenty, quota.None},
		{"refused=application", 0, plenty, quota.Application},
		{"refused=member", plenty, 0, quota.Member},
	} {
		b.Run(c.name, func(b *testing.B) {
			calls := newBenchCalls(quota.Limits{Application: plenty, Member: plenty})
			book := openBench(b, newModelLedger())
			book.sweeper.halt() // nothing is returned, so that memory alone is measured
			e := book.current.Load()
			for i := range rememberedMembers {
				call := calls.call(i)
				app := e.application(name{call.Application, call.Endpoint})
				app.account = account{known: true, granted: plenty, have: c.application}
				a, unlock := e.lock(nil, app.hasher.key(call.Member))
				*a = account{known: true, granted: plenty, have: c.member}
				unlock()
			}
			before := book.Stats().Asks
			var seed atomic.Uint64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				r := rand.New(rand.NewPCG(seed.Add(1), 7))
				ctx := context.Background()
				for pb.Next() {
					if d, err := book.Take(ctx, calls.call(r.IntN(rememberedMembers))); err != nil || d.Refused != c.refused {
						b.Error("not decided as expected", d, err)
						return
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(book.Stats().Asks-before)/float64(b.N), "borrows/op")
		})
	}
}

// BenchmarkDecidedOf is what each reading of an application's history asks, of 300,000 application accounts.
func BenchmarkDecidedOf(b *testing.B) {
	const applications, endpoints = 150_000, 2
	book := openBench(b, newModelLedger())
	book.sweeper.halt()
	var called *applicationAccount
	for a := range applications {
		for e := range endpoints {
			called = book.current.Load().application(name{fmt.Sprint("app", a), fmt.Sprint("/v1/ep", e)})
		}
	}
	told := 0
	b.ReportAllocs()
	for b.Loop() {
		called.outcomes.admitted++
		book.DecidedOf(called.application, func(Decided) { told++ })
	}
	if told == 0 {
		b.Error("told of nothing")
	}
}

// BenchmarkDecided is what the history asks each second, of 2,000 application accounts of which none was called, or each.
func BenchmarkDecided(b *testing.B) {
	const applications, endpoints = 200, 10
	for _, called := range []bool{false, true} {
		b.Run(fmt.Sprint("called=", called), func(b *testing.B) {
			book := openBench(b, newModelLedger())
			book.sweeper.halt()
			var accounts []*applicationAccount
			for a := range applications {
				for e := range endpoints {
					accounts = append(accounts, book.current.Load().application(name{fmt.Sprint("app", a), fmt.Sprint("/v1/ep", e)}))
				}
			}
			told := 0
			b.ReportAllocs()
			for b.Loop() {
				if called {
					for _, a := range accounts {
						a.outcomes.admitted++
					}
				}
				book.Decided(func(Decided) bool { told++; return true })
			}
			if (told > 0) != called {
				b.Errorf("told of %d", told)
			}
		})
	}
}
