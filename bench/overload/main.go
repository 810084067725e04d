// Command overload shows what infrastructure protection is worth. A real perdiem serve stands before an upstream that works on a few calls at
// a time. From one moment on each takes half a second there instead of 5 ms, and twenty seconds later 5 ms again. Calls come at four times the
// rate that the upstream can take, and do not wait for each other. The same is done without protection.
//
//	go run ./overload                # three minutes
//	go run ./overload -load slow     # four times what the slow upstream can do; two minutes
//	go run ./overload -load well     # four times what it can do while it is well
//
// The exit status is 1 when a promise is not met.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/perdiem/perdiem/bench/internal/load"
	"github.com/perdiem/perdiem/bench/internal/machine"
	"github.com/perdiem/perdiem/bench/internal/program"
	"github.com/perdiem/perdiem/bench/internal/serve"
)

// The promises.
const (
	leastGoodput = 0.80 // of what the slow upstream can do
	mostSlower   = 3.0  // p99 of admitted calls by the slow upstream's own
	mostRecovery = 10 * time.Second
)

// How the upstream is, and the spans of a run.
const (
	quick, slow = 5 * time.Millisecond, 500 * time.Millisecond
	slowAt      = 10 * time.Second
	settledAt   = slowAt + 5*time.Second
	wellAt      = slowAt + 20*time.Second
	endAt       = wellAt + 15*time.Second
)

// trial is a load: four times what workers can do in their slow time, or while all is well.
type trial struct {
	name    string
	workers int
	latency time.Duration
	bare    bool // it is run without protection as well
}

func (t trial) can(latency time.Duration) float64 { return float64(t.workers) / latency.Seconds() }

func (t trial) perSecond() float64 { return 4 * t.can(t.latency) }

var trials = []trial{
	{"slow", 10, slow, true},
	{"well", 4, quick, false},
}

func main() {
	only := flag.String("load", "", "slow, well, or both unless told")
	out := flag.String("out", "out", "folder for what is made")
	role := flag.String("role", "", "what this process is; for the program's own use")
	workers := flag.Int("workers", 0, "of the upstream; for the program's own use")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	met := true
	switch {
	case *role == "upstream":
		err = serveUpstream(*workers)
	case flag.NArg() > 0 || *only != "" && !slices.ContainsFunc(trials, func(t trial) bool { return t.name == *only }):
		flag.Usage()
		os.Exit(2)
	default:
		met, err = run(ctx, *out, *only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "overload:", err)
	}
	if err != nil || !met {
		os.Exit(1)
	}
}

func run(ctx context.Context, out, only string) (met bool, err error) {
	if out, err = filepath.Abs(out); err != nil {
		return false, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return false, err
	}
	b := bench{file: filepath.Join(out, "bin", "perdiem"), met: true, rows: tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)}
	if err := program.Build(ctx, "..", "./cmd/perdiem", b.file); err != nil {
		return false, err
	}
	if b.self, err = os.Executable(); err != nil {
		return false, err
	}
	if b.dir, err = os.MkdirTemp(out, "overload-"); err != nil {
		return false, err
	}
	defer os.RemoveAll(b.dir)
	for _, t := range trials {
		if only != "" && only != t.name {
			continue
		}
		if err := b.trial(ctx, t); err != nil {
			return false, err
		}
	}
	return b.met, nil
}

type bench struct {
	file string // the program
	self string // this program's file
	dir  string
	met  bool
	rows *tabwriter.Writer
}

func (b *bench) row(name, figure string) { fmt.Fprintf(b.rows, "  %s\t%s\n", name, figure) }

// promise prints a figure and whether it is what was promised.
func (b *bench) promise(name, figure, wanted string, met bool) {
	verdict := "met"
	if !met {
		verdict, b.met = "NOT MET", false
	}
	fmt.Fprintf(b.rows, "  %s\t%s\t%s\t%s\n", name, figure, wanted, verdict)
}

// trial runs a load with protection, and, where the trial says so, without.
func (b *bench) trial(ctx context.Context, t trial) error {
	fmt.Printf("%d calls at a time, %v each, and %v from second %.0f to %.0f; %.0f calls/s\n",
		t.workers, quick, slow, slowAt.Seconds(), wellAt.Seconds(), t.perSecond())
	own, err := b.own(ctx, t)
	if err != nil {
		return err
	}
	b.row("the slow upstream's own p99", own.Round(time.Millisecond).String())
	for _, protection := range []string{"on", "off"} {
		if protection == "off" && !t.bare {
			continue
		}
		if err := b.measure(ctx, t, protection, own); err != nil {
			return err
		}
	}
	b.rows.Flush()
	return nil
}

// upstream starts one.
func (b *bench) upstream(ctx context.Context, t trial) (*program.Program, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return program.Start(ctx, os.Stderr, b.self, "-role", "upstream", "-workers", strconv.Itoa(t.workers))
}

// own measures what the slow upstream does by itself, with as many callers as it can work for.
func (b *bench) own(ctx context.Context, t trial) (p99 time.Duration, err error) {
	p, address, err := b.upstream(ctx, t)
	if err != nil {
		return 0, err
	}
	defer p.Kill()
	if err := setLatency(ctx, address, slow); err != nil {
		return 0, err
	}
	l := load.New(address)
	var callers sync.WaitGroup
	for range t.workers {
		callers.Go(func() {
			for l.Since() < 3*time.Second && ctx.Err() == nil {
				l.Send(ctx, l.Since())
			}
		})
	}
	callers.Wait()
	f := l.Figures(0, time.Hour)
	if f.P99 == 0 {
		return 0, errors.New("the upstream did not answer")
	}
	return f.P99, nil
}

// measure runs the load against a node.
func (b *bench) measure(ctx context.Context, t trial, protection string, own time.Duration) error {
	meter, err := machine.StartMeter()
	if err != nil {
		return err
	}
	up, address, err := b.upstream(ctx, t)
	if err != nil {
		return err
	}
	defer up.Kill()
	dir, err := os.MkdirTemp(b.dir, "site-")
	if err != nil {
		return err
	}
	catalog := "endpoints: [{id: work, match: /work}]\ncatch_all: {}\napplications: [{id: acme}]\n"
	more := "connections: {total: 100000, per_address: 100000}\nprotection: " + protection // all callers have one address here
	n, err := serve.Start(ctx, b.file, dir, address, catalog, more)
	if err != nil {
		return err
	}
	defer n.Kill()

	l := load.New(n.Gateway)
	changed := make(chan error, 1)
	go func() {
		for _, change := range []struct {
			at time.Duration
			to time.Duration
		}{{slowAt, slow}, {wellAt, quick}} {
			time.Sleep(change.at - l.Since())
			if err := setLatency(ctx, address, change.to); err != nil {
				changed <- err
				return
			}
		}
		changed <- nil
	}()
	l.Run(ctx, t.perSecond(), endAt)
	l.Wait()
	if err := errors.Join(<-changed, ctx.Err()); err != nil {
		return err
	}
	used, err := n.Used(ctx, "work")
	if err != nil {
		return err
	}
	others, err := meter.Others()
	if err != nil {
		return err
	}
	if err := n.Stop(); err != nil {
		return err
	}
	b.report(t, l, protection == "on", own, used, others)
	return nil
}

// report prints what a load showed. Nothing is promised without protection.
func (b *bench) report(t trial, l *load.Load, protected bool, own time.Duration, used int64, others float64) {
	promise := b.promise
	if protected {
		b.row("with protection", "")
	} else {
		b.row("without protection", "")
		promise = func(name, figure, _ string, _ bool) { b.row(name, figure) }
	}
	well, all, settled := l.Figures(slowAt-5*time.Second, slowAt), l.Figures(slowAt, wellAt), l.Figures(settledAt, wellAt)
	after, late := l.Figures(wellAt, endAt), l.Figures(wellAt+mostRecovery, endAt)

	before := min(t.perSecond(), t.can(quick)) * 5
	good := float64(all.Good) / (t.can(slow) * (wellAt - slowAt).Seconds())
	slower := float64(settled.P99) / float64(own)
	admitted, unknown := l.Admitted()
	b.row("  goodput in the 5 s before", fmt.Sprintf("%.2f of what it can do", float64(well.Good)/before))
	promise("  goodput while slow", fmt.Sprintf("%.2f of what it can do", good), fmt.Sprintf("at least %.2f", leastGoodput), good >= leastGoodput)
	promise("  p99 of admitted calls, from 5 s on", fmt.Sprintf("%v, %.2f × its own", settled.P99.Round(time.Millisecond), slower),
		fmt.Sprintf("at most %.1f ×", mostSlower), settled.P99 > 0 && slower <= mostSlower)
	b.row("  p50 of admitted calls, from 5 s on", settled.P50.Round(time.Millisecond).String())
	b.row("  refused while slow", fmt.Sprintf("%d of %d", all.Refused, all.Refused+all.Good))
	promise("  charged", fmt.Sprintf("%d for %d admitted, %d unknown", used, admitted, unknown), "the same", used >= admitted && used <= admitted+unknown)
	recovered := max(after.LastRefuse, after.LastSlow, wellAt) - wellAt
	if t.latency == slow {
		promise("  normal again after", recovered.Round(time.Millisecond).String(), "at most "+mostRecovery.String(), recovered <= mostRecovery)
	} else {
		again := float64(late.Good) / (t.can(quick) * (endAt - wellAt - mostRecovery).Seconds())
		promise("  goodput from 10 s after on", fmt.Sprintf("%.2f of what it can do", again), fmt.Sprintf("at least %.2f", leastGoodput), again >= leastGoodput)
	}
	b.row("  others' share of the machine", fmt.Sprintf("%.2f processors", others))
}
