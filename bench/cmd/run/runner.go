package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/perf/benchfmt"

	"github.com/perdiem/perdiem/bench/gateway"
	"github.com/perdiem/perdiem/bench/internal/disk"
	"github.com/perdiem/perdiem/bench/internal/machine"
	"github.com/perdiem/perdiem/bench/internal/program"
)

// runner runs suites.
type runner struct {
	rounds   int
	attempts int // at one measurement, where others disturb it
	members  int // at the gateway
	held     int // counters in the ledger that cold calls meet
	chosen   *regexp.Regexp
	bench    string // the folder of the benchmarks' module; perdiem's own is above it
	out      string
	raw      *bufio.Writer
	log      io.Writer
}

// measured is what a suite measured.
type measured struct {
	rounds []round
	others []float64 // processors that were busy with other things, by source and round
	notes  []string
}

// round holds the figures of one round, by benchmark and unit.
type round map[string]map[string]float64

// gatewayLoad is how long a load is measured.
const gatewayLoad = 8 * time.Second

// suite runs a suite: in each round every source, one after the other.
func (r *runner) suite(ctx context.Context, s suite) (*measured, error) {
	m := &measured{}
	var loads *gateway.Bench
	if targets := s.targets(); len(targets) > 0 {
		var err error
		loads, err = gateway.Start(ctx, gateway.Options{Root: filepath.Dir(r.bench), Bench: r.bench, Out: r.out, Members: r.members, Targets: targets, Log: r.log})
		if err != nil {
			return nil, err
		}
		defer func() { _ = loads.Stop() }() // an error of the round says more
		m.notes = append(m.notes, fmt.Sprintf("%d members, wrk -t2 -c64, %v", r.members, gatewayLoad))
	}
	for _, c := range s.sources {
		if c.target != "" {
			continue
		}
		if err := program.BuildTest(ctx, r.folder(c), c.pkg, r.testFile(c)); err != nil {
			return nil, err
		}
	}
	kind, err := disk.Durable(r.out)
	if err != nil {
		return nil, err
	}
	synced, err := disk.SyncTime(r.out)
	if err != nil {
		return nil, err
	}
	m.notes = append(m.notes, fmt.Sprintf("%s, %v a sync", kind, synced))
	for n := range r.rounds {
		figures := round{}
		for i := range s.sources {
			c := s.sources[(i+n)%len(s.sources)]
			fmt.Fprintf(r.log, "%s: round %d of %d\n", s.name, n+1, r.rounds)
			said, others, err := r.measure(ctx, c, loads)
			if err != nil {
				return nil, err
			}
			m.others = append(m.others, others)
			if err := figures.read(said); err != nil {
				return nil, err
			}
			if _, err := r.raw.Write(said); err != nil {
				return nil, err
			}
		}
		m.rounds = append(m.rounds, figures)
	}
	return m, r.raw.Flush()
}

// measure runs a source and returns what it prints, and how many processors were busy with other things meanwhile. What was
// disturbed is run again, some times; the run that was disturbed least counts, whatever its figures.
func (r *runner) measure(ctx context.Context, c source, loads *gateway.Bench) (said []byte, others float64, err error) {
	others = math.Inf(1)
	for range r.attempts {
		meter, err := machine.StartMeter()
		if err != nil {
			return nil, 0, err
		}
		var text []byte
		if c.target != "" {
			text, err = loadOne(ctx, loads, c.target)
		} else {
			text, err = r.test(ctx, c)
		}
		if err != nil {
			return nil, 0, err
		}
		busy, err := meter.Others()
		if err != nil {
			return nil, 0, err
		}
		if busy < others {
			said, others = text, busy
		}
		if busy <= tooBusy {
			break
		}
	}
	return said, others, nil
}

// folder returns the folder of the module that holds a source.
func (r *runner) folder(c source) string {
	if c.module == rootModule {
		return filepath.Dir(r.bench)
	}
	return r.bench
}

func (r *runner) testFile(c source) string {
	return filepath.Join(r.out, "bin", filepath.Base(c.pkg)+".test")
}

// test runs a source's benchmarks on two processors and returns what they print.
func (r *runner) test(ctx context.Context, c source) ([]byte, error) {
	args := []string{"-test.run", "^$", "-test.bench", c.bench, "-test.benchtime", c.times, "-test.cpu", "2", "-test.timeout", "30m"}
	if c.pkg == "./cold" {
		args = append(args, "-held", fmt.Sprint(r.held), "-out", r.out)
	}
	cmd := exec.CommandContext(ctx, r.testFile(c), args...)
	cmd.Dir = filepath.Join(r.folder(c), c.pkg)
	cmd.Stderr = r.log
	// Ledgers on the way lie where a sync means something.
	cmd.Env = append(os.Environ(), "TMPDIR="+r.out)
	said, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s -test.bench %s: %w\n%s", c.pkg, c.bench, err, said)
	}
	return said, nil
}

// loadOne loads a target and returns the figures as a benchmark prints them.
func loadOne(ctx context.Context, b *gateway.Bench, t gateway.Target) ([]byte, error) {
	r, err := b.Load(ctx, t, gatewayLoad)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	return fmt.Appendf(nil, "BenchmarkGateway/%s 1 %.0f requests/s %d p50-µs %d p99-µs %d cpu-µs/request\n",
		t, r.PerSecond, r.P50.Microseconds(), r.P99.Microseconds(), r.CPU.Microseconds()/1000), nil
}

// read adds what benchmarks print.
func (f round) read(said []byte) error {
	lines := benchfmt.NewReader(bytes.NewReader(said), "benchmark")
	for lines.Scan() {
		result, ok := lines.Result().(*benchfmt.Result)
		if !ok {
			continue // a line about units, or one that is no benchmark's
		}
		units := map[string]float64{}
		for _, v := range result.Values {
			if v.OrigUnit != "" { // benchfmt turns nanoseconds into seconds
				units[v.OrigUnit] = v.OrigValue
			} else {
				units[v.Unit] = v.Value
			}
		}
		f[processors.ReplaceAllString(result.Name.String(), "")] = units
	}
	return lines.Err()
}

// processors ends a benchmark's name.
var processors = regexp.MustCompile(`-\d+$`)
