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
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/perdiem/perdiem/bench/internal/disk"
	"github.com/perdiem/perdiem/bench/internal/machine"
	"github.com/perdiem/perdiem/bench/internal/program"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := errors.New("no such role")
	met := true
	switch *role {
	case "":
		t := trial{members: *members, durability: *durability, out: *out}
		met, err = t.run(ctx)
	case "fill":
		err = fill(ctx, *dir, kind, *members)
	case "restart":
		err = restart(ctx, *dir, kind, *members)
	case "drop":
		err = drop(ctx, *dir, kind, *members)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
	}
	if err != nil || !met {
		os.Exit(1)
	}
}

// trial is one run of the program.
type trial struct {
	members    int
	durability string
	out        string

	dir  string // the ledger's
	self string // this program's file
	met  bool
	rows *tabwriter.Writer
}

func (t *trial) run(ctx context.Context) (met bool, err error) {
	if err := os.MkdirAll(t.out, 0o755); err != nil {
		return false, err
	}
	if t.dir, err = os.MkdirTemp(t.out, "size-"); err != nil {
		return false, err
	}
	defer os.RemoveAll(t.dir)
	if t.self, err = os.Executable(); err != nil {
		return false, err
	}
	kind, err := disk.Durable(t.dir)
	if err != nil {
		return false, err
	}
	synced, err := disk.SyncTime(t.dir)
	if err != nil {
		return false, err
	}
	if err := errors.Join(os.Setenv("GOMEMLIMIT", memoryLimit), os.Setenv("GOGC", garbage)); err != nil { // for the node's process
		return false, err
	}
	t.met = true
	t.rows = tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Printf("%d members, durability %s, %s, %v a sync, memory limit %s\n", t.members, t.durability, kind, synced, memoryLimit)
	for _, step := range []func(context.Context) error{t.fill, t.restart, t.drop} {
		if err := step(ctx); err != nil {
			return false, err
		}
		t.rows.Flush()
	}
	return t.met, nil
}

// start starts a node's process and waits until it prints what it has measured.
func (t *trial) start(ctx context.Context, role string, measured any) (*program.Program, error) {
	p, line, err := program.Start(ctx, os.Stderr, t.self,
		"-role", role, "-dir", filepath.Join(t.dir, "ledger"), "-durability", t.durability, "-members", fmt.Sprint(t.members))
	if err != nil {
		return nil, err
	}
	if err := read(line, measured); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// row prints a figure that nothing is promised of.
func (t *trial) row(name, figure string) { fmt.Fprintf(t.rows, "  %s\t%s\n", name, figure) }

// promise prints a figure and whether it is what was promised.
func (t *trial) promise(name, figure, most string, met bool) {
	verdict := "met"
	if !met {
		verdict, t.met = "NOT MET", false
	}
	fmt.Fprintf(t.rows, "  %s\t%s\tat most %s\t%s\n", name, figure, most, verdict)
}

// fill calls each member once, and kills the node while it serves on.
func (t *trial) fill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, mostFill)
	defer cancel()
	peak, stop := watchPeak(t.dir)
	defer stop()
	var f filled
	p, err := t.start(ctx, "fill", &f)
	if err != nil {
		return err
	}
	defer p.Kill()
	memory, err := machine.MemoryOf(p.PID())
	if err != nil {
		return err
	}
	taken, err := disk.Usage(t.dir)
	if err != nil {
		return err
	}
	t.row("decisions/s", fmt.Sprintf("%.0f", float64(t.members)/f.Took.Seconds()))
	t.row("borrows a decision", fmt.Sprintf("%.3f", float64(f.Asks)/float64(t.members)))
	t.row("p99", f.P99.String())
	t.promise("resident memory, most", mib(memory.Peak), mib(mostResident), memory.Peak <= mostResident)
	t.row("resident memory, at the end", mib(memory.Resident))
	t.promise("ledger on disk, most", mib(max(peak(), taken)), mib(mostDisk), max(peak(), taken) <= mostDisk)
	t.row("ledger on disk, at the end", mib(taken))
	return nil
}

// restart starts a node over what the killed one left.
func (t *trial) restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	begun := time.Now()
	var r restarted
	p, err := t.start(ctx, "restart", &r)
	took := time.Since(begun)
	if err != nil {
		return err
	}
	defer p.Kill()
	if r.Lost > 0 {
		return fmt.Errorf("%d of %d members' calls were forgotten by the kill", r.Lost, r.Looked)
	}
	t.promise("restart after kill -9", took.Round(time.Millisecond).String(), mostRestart.String(), took <= mostRestart)
	t.row("opening of the ledger, of it", r.Opened.Round(time.Millisecond).String())
	return nil
}

// drop drops the day while calls of the next one come.
func (t *trial) drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var d dropped
	p, err := t.start(ctx, "drop", &d)
	if err != nil {
		return err
	}
	p.Kill()
	slower := float64(d.Hurt) / float64(d.Steady)
	t.row("load", fmt.Sprintf("%d calls/s", load))
	t.row("p99 before the day is dropped", d.Steady.String())
	t.row("p99 of the 5 s after", d.Hurt.String())
	t.promise("slower by", fmt.Sprintf("%.2f", slower), fmt.Sprint(mostSlower), slower <= mostSlower)
	t.row("ledger on disk before", mib(d.Before))
	t.row("ledger on disk after", mib(d.After))
	t.promise("until the disk had its space back", d.Back.Round(10*time.Millisecond).String(), mostGiveBack.String(), d.Back <= mostGiveBack)
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
