// Command size shows what perdiem needs for many members: each is called once in a day, and then are measured the memory and
// the disk that it took, how soon a node serves again after it was killed, and what it costs to drop that day.
//
//	go run ./size                    # 10,000,000 members: some minutes
//	go run ./size -members 100000    # for a glance
//
// The node runs in a process of its own, without doors: a book over a ledger in a folder, as `perdiem serve` opens them and under
// the memory limit that it sets itself. The exit status is 1 when a promise, which is made for ten million members, is not met.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/bench/internal/disk"
	"github.com/perdiem/perdiem/bench/internal/machine"
	"github.com/perdiem/perdiem/bench/internal/program"
	"github.com/perdiem/perdiem/bench/internal/trial"
	"github.com/perdiem/perdiem/lease/embedledger"
)

// What cmd/perdiem tells the garbage collector.
const (
	memoryLimit = "560MiB"
	garbage     = "400"
)

// The promises.
const (
	mostResident = 640 << 20        // bytes
	mostDisk     = 512 << 20        // bytes
	mostRestart  = 3 * time.Second  // from the start of the process to the first answer
	mostGiveBack = 5 * time.Second  // from the drop until the day's files are gone
	mostSlower   = 3.0              // p99 while a day is dropped, by the p99 before
	mostFill     = 60 * time.Minute // a fill that takes longer is given up
)

func main() {
	members := flag.Int("members", 10_000_000, "members that are called once each")
	durability := flag.String("durability", "disk", "disk or process")
	out := flag.String("out", "out", "folder on a disk for the ledger, which is removed at the end")
	role := flag.String("role", "", "what the node's process does; for the program's own use")
	dir := flag.String("dir", "", "the ledger's folder; for the program's own use")
	flag.Parse()
	kinds := map[string]embedledger.Durability{"disk": embedledger.Disk, "process": embedledger.Process}
	kind, known := kinds[*durability]
	if !known || *members < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	trial.Main("size", func(ctx context.Context) (met bool, err error) {
		switch *role {
		case "":
			b := bench{members: *members, durability: *durability}
			return b.run(ctx, *out)
		case "fill":
			return true, fill(ctx, *dir, kind, *members)
		case "restart":
			return true, restart(ctx, *dir, kind, *members)
		case "drop":
			return true, drop(ctx, *dir, kind, *members)
		default:
			return false, errors.New("no such role")
		}
	})
}

// bench is one run of the program; the ledger is in its folder.
type bench struct {
	*trial.Trial
	members    int
	durability string
}

func (b *bench) run(ctx context.Context, out string) (met bool, err error) {
	if b.Trial, err = trial.Begin(os.Stdout, "size", out); err != nil {
		return false, err
	}
	defer b.End()
	kind, err := disk.Durable(b.Dir)
	if err != nil {
		return false, err
	}
	synced, err := disk.SyncTime(b.Dir)
	if err != nil {
		return false, err
	}
	if err := errors.Join(os.Setenv("GOMEMLIMIT", memoryLimit), os.Setenv("GOGC", garbage)); err != nil { // for the node's process
		return false, err
	}
	fmt.Printf("%d members, durability %s, %s, %v a sync, memory limit %s\n", b.members, b.durability, kind, synced, memoryLimit)
	for _, step := range []func(context.Context) error{b.fill, b.restart, b.drop} {
		if err := step(ctx); err != nil {
			return false, err
		}
		b.Flush()
	}
	return b.Met(), nil
}

// start starts a node's process and waits until it prints what it has measured.
func (b *bench) start(ctx context.Context, role string, measured any) (*program.Program, error) {
	p, line, err := program.Start(ctx, os.Stderr, b.Self,
		"-role", role, "-dir", filepath.Join(b.Dir, "ledger"), "-durability", b.durability, "-members", fmt.Sprint(b.members))
	if err != nil {
		return nil, err
	}
	if err := read(line, measured); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// atMost notes a figure and the most that is promised of it.
func (b *bench) atMost(name, figure, most string, met bool) {
	b.Promise(name, figure, "at most "+most, met)
}

// fill calls each member once, and kills the node while it serves on.
func (b *bench) fill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, mostFill)
	defer cancel()
	peak, stop := watchPeak(b.Dir)
	defer stop()
	var f filled
	p, err := b.start(ctx, "fill", &f)
	if err != nil {
		return err
	}
	defer p.Kill()
	memory, err := machine.MemoryOf(p.PID())
	if err != nil {
		return err
	}
	taken, err := disk.Usage(b.Dir)
	if err != nil {
		return err
	}
	b.Row("decisions/s", fmt.Sprintf("%.0f", float64(b.members)/f.Took.Seconds()))
	b.Row("borrows a decision", fmt.Sprintf("%.3f", float64(f.Asks)/float64(b.members)))
	b.Row("p99", f.P99.String())
	b.atMost("resident memory, most", mib(memory.Peak), mib(mostResident), memory.Peak <= mostResident)
	b.Row("resident memory, at the end", mib(memory.Resident))
	b.atMost("ledger on disk, most", mib(max(peak(), taken)), mib(mostDisk), max(peak(), taken) <= mostDisk)
	b.Row("ledger on disk, at the end", mib(taken))
	return nil
}

// restart starts a node over what the killed one left.
func (b *bench) restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	begun := time.Now()
	var r restarted
	p, err := b.start(ctx, "restart", &r)
	took := time.Since(begun)
	if err != nil {
		return err
	}
	defer p.Kill()
	if r.Lost > 0 {
		return fmt.Errorf("%d of %d members' calls were forgotten by the kill", r.Lost, r.Looked)
	}
	b.atMost("restart after kill -9", took.Round(time.Millisecond).String(), mostRestart.String(), took <= mostRestart)
	b.Row("opening of the ledger, of it", r.Opened.Round(time.Millisecond).String())
	return nil
}

// drop drops the day while calls of the next one come.
func (b *bench) drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var d dropped
	p, err := b.start(ctx, "drop", &d)
	if err != nil {
		return err
	}
	p.Kill()
	slower := float64(d.Hurt) / float64(d.Steady)
	b.Row("load", fmt.Sprintf("%d calls/s", load))
	b.Row("p99 before the day is dropped", d.Steady.String())
	b.Row("p99 of the 5 s after", d.Hurt.String())
	b.atMost("slower by", fmt.Sprintf("%.2f", slower), fmt.Sprint(mostSlower), slower <= mostSlower)
	b.Row("ledger on disk before", mib(d.Before))
	b.Row("ledger on disk after", mib(d.After))
	b.atMost("until the disk had its space back", d.Back.Round(10*time.Millisecond).String(), mostGiveBack.String(), d.Back <= mostGiveBack)
	return nil
}

func mib(bytes int64) string { return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20)) }

// watchPeak measures a folder again and again until stop. peak returns the most that it took on disk so far, in bytes.
func watchPeak(dir string) (peak func() int64, stop func()) {
	var most atomic.Int64
	quit, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(250 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				if taken, err := disk.Usage(dir); err == nil {
					most.Store(max(most.Load(), taken))
				}
			}
		}
	}()
	return most.Load, func() { close(quit); <-stopped }
}
