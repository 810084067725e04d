// Package decision measures decisions as a node makes them: leases borrowed in blocks, by the policy that production has, from a
// ledger on disk. What memory alone costs is measured in package lease.
package decision

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/perdiem/perdiem/bench/internal/node"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/quota"
)

// The population is that of bench/floors: 1,000,000 members' counters.
const (
	members      = 100_000
	applications = 20
	endpoints    = 10
	counters     = members * endpoints
)

// callers is how many calls are under way at a time for each processor: one that waits for the ledger holds up no other.
const callers = 32

// call returns the i-th counter's call.
func call(i int, limits quota.Limits) lease.Call {
	member := i / endpoints
	return lease.Call{
		Application: applicationID(member),
		Endpoint:    endpointID(i % endpoints),
		Member:      memberID(member),
		Limits:      limits,
		Cost:        1,
	}
}

func applicationID(member int) string { return "app" + strconv.Itoa(member%applications) }
func endpointID(e int) string         { return "ep" + strconv.Itoa(e) }
func memberID(member int) string      { return fmt.Sprintf("member-%08d-of-somebodys-platform", member) }

// calls returns the first n counters' calls.
func calls(n int, limits quota.Limits) []lease.Call {
	list := make([]lease.Call, n)
	for i := range list {
		list[i] = call(i, limits)
	}
	return list
}

// openNode opens a node over an empty ledger.
func openNode(b *testing.B) *node.Node {
	b.Helper()
	n, err := node.Open(b.TempDir(), embedledger.Disk, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := n.Close(); err != nil {
			b.Error(err)
		}
	})
	return n
}

// run makes b.N calls, each of the counter that a draw yields; made does one and says what refused it.
func run(b *testing.B, n *node.Node, draw func(*rand.Rand) func() int, made func(i int) (quota.Kind, error)) {
	b.Helper()
	before := n.Stats()
	var seed atomic.Uint64
	var refused [3]atomic.Int64 // by kind
	b.SetParallelism(callers)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		next := draw(rand.New(rand.NewPCG(seed.Add(1), 7)))
		for pb.Next() {
			kind, err := made(next())
			if err != nil {
				b.Error(err)
				return
			}
			refused[kind].Add(1)
		}
	})
	b.StopTimer()
	after := n.Stats()
	b.ReportMetric(float64(after.Asks-before.Asks)/float64(b.N), "borrows/op")
	b.ReportMetric(float64(refused[quota.Application].Load()+refused[quota.Member].Load())/float64(b.N), "refused/op")
}

// uniform draws each of n counters as often as any other.
func uniform(n int) func(*rand.Rand) func() int {
	return func(r *rand.Rand) func() int { return func() int { return r.IntN(n) } }
}

// zipf draws some of n counters far more often than most, as members' calls come.
func zipf(n int) func(*rand.Rand) func() int {
	return func(r *rand.Rand) func() int {
		z := rand.NewZipf(r, 1.1, 1, uint64(n-1))
		return func() int { return int(z.Uint64()) }
	}
}
