package embedledger_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/lease/ledgertest"
	"github.com/perdiem/perdiem/quota"
)

var (
	counters = flag.Int("counters", 100_000, "members' counters that the ledger of a benchmark holds before it begins")
	keep     = flag.String("keep", "", "folder in which that ledger is kept for the next benchmark; none: it is made each time")
)

const benchDate = quota.Date(20_780)

// memberKey returns the n-th of a sequence of keys that look like hashes.
func memberKey(n uint64) (key lease.MemberKey) {
	for i := range 2 {
		x := (2*n + uint64(i) + 1) * 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(key[8*i:], x^x>>31)
	}
	return key
}

// fill borrows for n members, batch by batch.
func fill(l *embedledger.Ledger, date quota.Date, from, n int) error {
	asks, grants := make([]lease.Ask, lease.MaxBatch), make([]lease.Grant, lease.MaxBatch)
	for i := from; i < from+n; i += len(asks) {
		asks = asks[:min(len(asks), from+n-i)]
		for j := range asks {
			asks[j] = lease.Ask{Counter: lease.Counter{Member: memberKey(uint64(i + j))}, Limit: 150, Least: 1, Most: 8}
		}
		if err := l.Borrow(context.Background(), ledgertest.Day(date), asks, grants[:len(asks)]); err != nil {
			return err
		}
	}
	return nil
}

// prefilled returns the folder of a ledger that holds -counters counters of members. It is a benchmark's own.
func prefilled(b *testing.B) string {
	b.Helper()
	kept := *keep
	if kept == "" {
		kept = b.TempDir()
	}
	kept = filepath.Join(kept, fmt.Sprint(*counters))
	if _, err := os.Stat(kept); err != nil {
		making := kept + ".making"
		if err := os.RemoveAll(making); err != nil {
			b.Fatal(err)
		}
		l, err := embedledger.Open(embedledger.Options{Dir: making, Durability: embedledger.Process})
		if err != nil {
			b.Fatal(err)
		}
		begun := time.Now()
		if err := fill(l, benchDate, 0, *counters); err != nil {
			b.Fatal(err)
		}
		b.Logf("%d counters made in %s", *counters, time.Since(begun).Round(time.Millisecond))
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		if err := os.Rename(making, kept); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	if err := os.CopyFS(dir, os.DirFS(kept)); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkBorrowAbsent borrows for members that the ledger does not hold, one batch after the other.
func BenchmarkBorrowAbsent(b *testing.B) {
	for _, durability := range []string{"process", "disk"} {
		for _, batch := range []int{64, 512} {
			b.Run(fmt.Sprintf("%s/batch=%d", durability, batch), func(b *testing.B) {
				l := open(b, embedledger.Options{Dir: prefilled(b), Durability: durabilities[durability]})
				asks, grants := make([]lease.Ask, batch), make([]lease.Grant, batch)
				var took []time.Duration
				next := uint64(*counters)
				b.ReportAllocs()
				for b.Loop() {
					for i := range asks {
						asks[i] = lease.Ask{Counter: lease.Counter{Member: memberKey(next)}, Limit: 150, Least: 1, Most: 8}
						next++
					}
					// The application's own counter travels in every batch.
					asks[0].Counter = lease.Counter{Application: "acme", Endpoint: "posts.create"}
					asks[0].Limit = quota.MaxLimit
					begun := time.Now()
					if err := l.Borrow(context.Background(), ledgertest.Day(benchDate), asks, grants); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(begun))
				}
				slices.Sort(took)
				b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "borrows/s")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			})
		}
	}
}

// BenchmarkReopen opens a ledger of -counters counters after kill -9 of a process that was borrowing for a tenth more, and
// borrows for 1,000 members.
func BenchmarkReopen(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		dir := prefilled(b)
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childFolder+"="+dir, childMembers+"="+fmt.Sprint(*counters, *counters/10))
		child.Stderr = os.Stderr
		if _, err := child.StdinPipe(); err != nil {
			b.Fatal(err)
		}
		out, err := child.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := child.Start(); err != nil {
			b.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", child.Process.Pid))
		if err == nil {
			var kB float64
			if _, rss, ok := strings.Cut(string(status), "VmRSS:"); ok {
				_, _ = fmt.Sscan(rss, &kB) // else it is 0
			}
			b.ReportMetric(kB/1024, "MiB-resident-before-kill")
		}
		if err := child.Process.Kill(); err != nil {
			b.Fatal(err)
		}
		_ = child.Wait() // it was killed
		b.ReportMetric(float64(size(b, dir)>>20), "MiB-disk")

		b.StartTimer()
		begun := time.Now()
		l, err := embedledger.Open(embedledger.Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(begun).Seconds()*1000, "open-ms")
		if err := fill(l, benchDate, 2**counters, 1000); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(begun).Seconds()*1000, "open-and-1000-ms")
		b.StopTimer()
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkDrop drops a day of -counters counters while members of the next day borrow, and tells how long it takes until
// the disk has its space back, and what it does to the others' waits.
func BenchmarkDrop(b *testing.B) {
	for _, durability := range []string{"process", "disk"} {
		b.Run(durability, func(b *testing.B) {
			for b.Loop() {
				dir := prefilled(b)
				l := open(b, embedledger.Options{Dir: dir, Durability: durabilities[durability]})
				asks, grants := make([]lease.Ask, 64), make([]lease.Grant, 64)
				next := uint64(*counters)
				pace := time.NewTicker(2 * time.Millisecond) // 32,000 borrows a second
				defer pace.Stop()
				// load borrows for some time and returns the 99th percentile of the waits.
				load := func(d time.Duration) time.Duration {
					var took []time.Duration
					for begun := time.Now(); time.Since(begun) < d; {
						<-pace.C
						for i := range asks {
							asks[i] = lease.Ask{Counter: lease.Counter{Member: memberKey(next)}, Limit: 150, Least: 1, Most: 8}
							next++
						}
						asked := time.Now()
						if err := l.Borrow(context.Background(), ledgertest.Day(benchDate+1), asks, grants); err != nil {
							b.Fatal(err)
						}
						took = append(took, time.Since(asked))
					}
					slices.Sort(took)
					return took[len(took)*99/100]
				}
				load(2 * time.Second)
				steady := load(5 * time.Second)
				before := size(b, dir)
				begun := time.Now()
				if err := l.Drop(benchDate + 1); err != nil {
					b.Fatal(err)
				}
				dropped := time.Since(begun)
				var back time.Duration
				var after int64
				watched := make(chan struct{})
				go func() {
					defer close(watched)
					for look := time.NewTicker(20 * time.Millisecond); back < 30*time.Second; <-look.C {
						back = time.Since(begun)
						if after = size(b, dir); after < before/2 {
							return
						}
					}
				}()
				hurt := load(5 * time.Second)
				<-watched
				b.ReportMetric(float64(before>>20), "MiB-before")
				b.ReportMetric(float64(after>>20), "MiB-after")
				b.ReportMetric(dropped.Seconds()*1000, "drop-ms")
				b.ReportMetric(back.Seconds(), "s-until-back")
				b.ReportMetric(float64(steady.Microseconds()), "steady-p99-µs")
				b.ReportMetric(float64(hurt.Microseconds()), "p99-µs")
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// size returns the bytes that a folder takes on disk.
func size(tb testing.TB, dir string) (bytes int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it is gone already
			bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
	}
	return bytes
}
