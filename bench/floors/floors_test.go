// Package floors holds what perdiem's figures are compared with: things that do less than perdiem, as fast as they can
// be had. A figure counts only beside its floor in the same run, on a quiet machine.
//
// The benchmarks count two counters an operation, the application's and the member's at one endpoint, of 1,000,000 members' counters
// that are all filled beforehand, in parallel. Package lease measures its own decisions over the same population.
package floors

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sethvargo/go-limiter/memorystore"
)

const (
	members      = 100_000
	applications = 20
	endpoints    = 10
	counters     = members * endpoints
	limit        = 1 << 40
)

// pair is what one operation counts, by key.
type pair struct{ application, member string }

var pairs []pair

// TestMain builds the keys once: they are no part of a store's figures.
func TestMain(m *testing.M) {
	pairs = make([]pair, counters)
	var applicationKeys [applications][endpoints]string
	for a := range applicationKeys {
		for e := range applicationKeys[a] {
			applicationKeys[a][e] = "app" + strconv.Itoa(a) + "|/v1/ep" + strconv.Itoa(e)
		}
	}
	for i := range pairs {
		member, e := i/endpoints, i%endpoints
		a := member % applications
		pairs[i] = pair{
			application: applicationKeys[a][e],
			member:      "app" + strconv.Itoa(a) + "|member" + strconv.Itoa(member) + "|/v1/ep" + strconv.Itoa(e),
		}
	}
	os.Exit(m.Run())
}

// store counts. check takes one from both counters and reports whether both allowed it.
type store interface{ check(pair) bool }

func bench(b *testing.B, s store) {
	for i := range pairs {
		if !s.check(pairs[i]) {
			b.Fatal("refused while it was being filled")
		}
	}
	var seed atomic.Uint64
	var refused atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		r := rand.New(rand.NewPCG(seed.Add(1), 7))
		for pb.Next() {
			if !s.check(pairs[r.IntN(counters)]) {
				refused.Add(1)
			}
		}
	})
	b.StopTimer()
	if n := refused.Load(); n > 0 {
		b.Fatalf("%d refused", n)
	}
	runtime.KeepAlive(s)
}

// sharded is 256 maps of counters by key, each with its lock. It forgets yesterday; its two counters are not taken as one, and nothing
// is durable.
type sharded struct {
	seed   maphash.Seed
	shards [256]shard
}

type shard struct {
	mu       sync.RWMutex
	counters map[string]*atomic.Int64
	day      int64
	_        [24]byte
}

func (s *sharded) counter(key string, day int64) *atomic.Int64 {
	sh := &s.shards[maphash.String(s.seed, key)&255]
	sh.mu.RLock()
	var c *atomic.Int64
	if sh.day == day {
		c = sh.counters[key]
	}
	sh.mu.RUnlock()
	if c != nil {
		return c
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.day != day {
		sh.day, sh.counters = day, map[string]*atomic.Int64{}
	}
	c = sh.counters[key]
	if c == nil {
		c = new(atomic.Int64)
		sh.counters[key] = c
	}
	return c
}

func (s *sharded) check(p pair) bool {
	day := time.Now().Unix() / 86400
	application, member := s.counter(p.application, day), s.counter(p.member, day)
	if application.Add(1) > limit {
		application.Add(-1)
		return false
	}
	if member.Add(1) > limit {
		member.Add(-1)
		application.Add(-1)
		return false
	}
	return true
}

// BenchmarkFloorShardedMap is the floor of a decision: sharded maps of atomic numbers.
func BenchmarkFloorShardedMap(b *testing.B) {
	bench(b, &sharded{seed: maphash.MakeSeed()})
}

// sethvargo is sethvargo/go-limiter, the fastest of the peers' libraries, asked twice.
type sethvargo struct {
	store interface {
		Take(ctx context.Context, key string) (tokens, remaining, reset uint64, ok bool, err error)
	}
}

func (s sethvargo) check(p pair) bool {
	_, _, _, application, _ := s.store.Take(context.Background(), p.application)
	_, _, _, member, _ := s.store.Take(context.Background(), p.member)
	return application && member
}

// BenchmarkSethvargoMemorystore is the peer to be faster than.
func BenchmarkSethvargoMemorystore(b *testing.B) {
	s, err := memorystore.New(&memorystore.Config{Tokens: limit, Interval: 24 * time.Hour, SweepInterval: time.Hour, SweepMinTTL: 24 * time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close(context.Background()) })
	bench(b, sethvargo{s})
}
