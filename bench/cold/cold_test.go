package cold

import (
	"flag"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdiem/perdiem/bench/internal/disk"
	"github.com/perdiem/perdiem/bench/internal/node"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/quota"
)

var (
	held = flag.Int("held", 10_000_000, "counters that the ledger holds before the calls come")
	out  = flag.String("out", "../out", "folder on a disk in which the ledger is kept for the next time")
)

func call(member string) lease.Call {
	return lease.Call{
		Application: application, Endpoint: endpoint, Member: member, Cost: 1,
		Limits: quota.Limits{Application: quota.MaxLimit, Member: 150},
	}
}

// BenchmarkCold makes each call for a member that the ledger does not hold. It reports decisions a second, and beside them
// what the disk would allow: of the goroutines, 0.4 a sync.
func BenchmarkCold(b *testing.B) {
	from, err := prefilled(*out, *held)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		durability embedledger.Durability
		goroutines int
	}{
		{"process/goroutines=64", embedledger.Process, 64},
		{"disk/goroutines=64", embedledger.Disk, 64},
		{"disk/goroutines=512", embedledger.Disk, 512},
	} {
		b.Run(c.name, func(b *testing.B) {
			kind, err := disk.Durable(*out)
			if err != nil {
				b.Fatal(err)
			}
			dir, err := os.MkdirTemp(*out, "cold-")
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { os.RemoveAll(dir) })
			if err := clone(from, dir); err != nil {
				b.Fatal(err)
			}
			synced, err := disk.SyncTime(*out)
			if err != nil {
				b.Fatal(err)
			}
			n, err := node.Open(dir, c.durability, clock())
			if err != nil {
				b.Fatalf("%v (what was made by an older perdiem may be deleted: %s)", err, from)
			}
			begun := time.Now()
			if _, err := n.Take(b.Context(), call(memberID(0))); err != nil {
				b.Fatal(err)
			}
			for n.Ledger.Stats().Reading { // what it held when it was opened: seconds, after each start
				time.Sleep(10 * time.Millisecond)
			}
			read := time.Since(begun)
			before := n.Stats()
			members := make([]string, b.N)
			for i := range members {
				members[i] = memberID(*held + i)
			}
			var next atomic.Int64
			took := make([][]time.Duration, c.goroutines)
			var callers sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for g := range c.goroutines {
				callers.Go(func() {
					for {
						i := int(next.Add(1)) - 1
						if i >= b.N {
							return
						}
						begun := time.Now()
						d, err := n.Take(b.Context(), call(members[i]))
						took[g] = append(took[g], time.Since(begun))
						if err != nil || !d.Admitted() {
							b.Errorf("not admitted after %v: %v %v", time.Since(begun), d.Refused, err)
							next.Store(int64(b.N)) // the others stop too
							return
						}
					}
				})
			}
			callers.Wait()
			b.StopTimer()
			stats := n.Stats()
			all := slices.Concat(took...)
			slices.Sort(all)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
			b.ReportMetric(float64(stats.Asks-before.Asks)/float64(stats.Requests-before.Requests), "asks/request")
			b.ReportMetric(read.Seconds(), "read-ahead-s")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(all[len(all)-1].Microseconds()), "max-µs")
			b.ReportMetric(float64(synced.Microseconds()), "sync-µs")
			if c.durability == embedledger.Disk {
				b.ReportMetric(0.4*float64(c.goroutines)/synced.Seconds(), "disk-allows/s")
			}
			if b.N > 1 {
				b.Logf("%s, %v a sync", kind, synced)
			}
			if err := n.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
