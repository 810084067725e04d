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
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/perdiem/perdiem/bench/internal/load"
	"github.com/perdiem/perdiem/bench/internal/machine"
	"github.com/perdiem/perdiem/bench/internal/program"
	"github.com/perdiem/perdiem/bench/internal/serve"
	"github.com/perdiem/perdiem/bench/internal/trial"
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

// pressure is a load: four times what workers can do in their slow time, or while all is well.
type pressure struct {
	name    string
	workers int
	latency time.Duration
	bare    bool // it is run without protection as well
}

func (p pressure) can(latency time.Duration) float64 { return float64(p.workers) / latency.Seconds() }

func (p pressure) perSecond() float64 { return 4 * p.can(p.latency) }

var pressures = []pressure{
	{"slow", 10, slow, true},
	{"well", 4, quick, false},
}

func main() {
	only := flag.String("load", "", "slow, well, or both unless told")
	out := flag.String("out", "out", "folder for what is made")
	role := flag.String("role", "", "what this process is; for the program's own use")
	workers := flag.Int("workers", 0, "of the upstream; for the program's own use")
	flag.Parse()
	if flag.NArg() > 0 || *only != "" && !slices.ContainsFunc(pressures, func(t pressure) bool { return t.name == *only }) {
		flag.Usage()
		os.Exit(2)
	}
	trial.Main("overload", func(ctx context.Context) (met bool, err error) {
		if *role == "upstream" {
			return true, serveUpstream(*workers)
		}
		return run(ctx, *out, *only)
	})
}

func run(ctx context.Context, out, only string) (met bool, err error) {
	var b bench
	if b.Trial, err = trial.Begin(os.Stdout, "overload", out); err != nil {
		return false, err
	}
	defer b.End()
	if b.file, err = b.BuildPerdiem(ctx); err != nil {
		return false, err
	}
	for _, t := range pressures {
		if only != "" && only != t.name {
			continue
		}
		if err := b.apply(ctx, t); err != nil {
			return false, err
		}
	}
	return b.Met(), nil
}

type bench struct {
	*trial.Trial
	file string // the program
}

// apply runs a load with protection, and, where the load says so, without.
func (b *bench) apply(ctx context.Context, t pressure) error {
	fmt.Printf("%d calls at a time, %v each, and %v from second %.0f to %.0f; %.0f calls/s\n",
		t.workers, quick, slow, slowAt.Seconds(), wellAt.Seconds(), t.perSecond())
	own, err := b.own(ctx, t)
	if err != nil {
		return err
	}
	b.Row("the slow upstream's own p99", own.Round(time.Millisecond).String())
	for _, protection := range []string{"on", "off"} {
		if protection == "off" && !t.bare {
			continue
		}
		if err := b.measure(ctx, t, protection, own); err != nil {
			return err
		}
	}
	b.Flush()
	return nil
}

// upstream starts one.
func (b *bench) upstream(ctx context.Context, t pressure) (*program.Program, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return program.Start(ctx, os.Stderr, b.Self, "-role", "upstream", "-workers", strconv.Itoa(t.workers))
}

// own measures what the slow upstream does by itself, with as many callers as it can work for.
func (b *bench) own(ctx context.Context, t pressure) (p99 time.Duration, err error) {
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
func (b *bench) measure(ctx context.Context, t pressure, protection string, own time.Duration) error {
	meter, err := machine.StartMeter()
	if err != nil {
		return err
	}
	up, address, err := b.upstream(ctx, t)
	if err != nil {
		return err
	}
	defer up.Kill()
	dir, err := os.MkdirTemp(b.Dir, "site-")
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
func (b *bench) report(t pressure, l *load.Load, protected bool, own time.Duration, used int64, others float64) {
	promise := b.Promise
	if protected {
		b.Row("with protection", "")
	} else {
		b.Row("without protection", "")
		promise = func(name, figure, _ string, _ bool) { b.Row(name, figure) }
	}
	well, all, settled := l.Figures(slowAt-5*time.Second, slowAt), l.Figures(slowAt, wellAt), l.Figures(settledAt, wellAt)
	after, late := l.Figures(wellAt, endAt), l.Figures(wellAt+mostRecovery, endAt)

	before := min(t.perSecond(), t.can(quick)) * 5
	good := float64(all.Good) / (t.can(slow) * (wellAt - slowAt).Seconds())
	slower := float64(settled.P99) / float64(own)
	admitted, unknown := l.Admitted()
	b.Row("  goodput in the 5 s before", fmt.Sprintf("%.2f of what it can do", float64(well.Good)/before))
	promise("  goodput while slow", fmt.Sprintf("%.2f of what it can do", good), fmt.Sprintf("at least %.2f", leastGoodput), good >= leastGoodput)
	promise("  p99 of admitted calls, from 5 s on", fmt.Sprintf("%v, %.2f × its own", settled.P99.Round(time.Millisecond), slower),
		fmt.Sprintf("at most %.1f ×", mostSlower), settled.P99 > 0 && slower <= mostSlower)
	b.Row("  p50 of admitted calls, from 5 s on", settled.P50.Round(time.Millisecond).String())
	b.Row("  refused while slow", fmt.Sprintf("%d of %d", all.Refused, all.Refused+all.Good))
	promise("  charged", fmt.Sprintf("%d for %d admitted, %d unknown", used, admitted, unknown), "the same", used >= admitted && used <= admitted+unknown)
	recovered := max(after.LastRefuse, after.LastSlow, wellAt) - wellAt
	if t.latency == slow {
		promise("  normal again after", recovered.Round(time.Millisecond).String(), "at most "+mostRecovery.String(), recovered <= mostRecovery)
	} else {
		again := float64(late.Good) / (t.can(quick) * (endAt - wellAt - mostRecovery).Seconds())
		promise("  goodput from 10 s after on", fmt.Sprintf("%.2f of what it can do", again), fmt.Sprintf("at least %.2f", leastGoodput), again >= leastGoodput)
	}
	b.Row("  others' share of the machine", fmt.Sprintf("%.2f processors", others))
}
