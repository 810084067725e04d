// Command run measures what perdiem promises of its speed, floors and perdiem by turns, and says of each promise whether it is
// met. It is to be run in the folder of the benchmarks' module, on a quiet machine:
//
//	go run ./cmd/run          # 10 rounds
//	go run ./cmd/run -quick   # 2 rounds: for a glance
//	go run ./cmd/run -only nginx   # the gateway beside nginx, which has to be installed
//
// All figures go to out/bench.txt, as benchstat reads them. The exit status is 1 when a promise is not met.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
)

func main() {
	log := os.Stderr
	quick := flag.Bool("quick", false, "2 rounds instead of 10")
	only := flag.String("only", "", "run only the suites whose name matches this expression: warm, refusal, production, cold, gateway, tokens; nginx, which does not run unless asked for")
	members := flag.Int("members", 1000, "members that have a token at the gateway, all calling at once")
	held := flag.Int("held", 10_000_000, "counters that the ledger holds when cold calls come")
	attempts := flag.Int("attempts", 3, "how often to measure at most, where other things keep the machine busy")
	flag.Parse()
	chosen, err := regexp.Compile(*only)
	if err != nil || flag.NArg() > 0 || *attempts < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := &runner{rounds: 10, attempts: *attempts, log: log, members: *members, held: *held, chosen: chosen}
	if *quick {
		r.rounds = 2
	}
	met, err := r.run(ctx)
	if err != nil {
		fmt.Fprintln(log, "bench:", err)
	}
	if err != nil || !met {
		os.Exit(1)
	}
}

// run runs the suites and prints what they measured. It reports whether all promises are met.
func (r *runner) run(ctx context.Context) (met bool, err error) {
	if r.bench, err = os.Getwd(); err != nil {
		return false, err
	}
	if _, err := os.Stat(filepath.Join(r.bench, "floors")); err != nil {
		return false, errors.New("run this in the folder of the benchmarks: cd bench && go run ./cmd/run")
	}
	r.out = filepath.Join(r.bench, "out")
	if err := os.MkdirAll(filepath.Join(r.out, "bin"), 0o755); err != nil {
		return false, err
	}
	raw, err := os.Create(filepath.Join(r.out, "bench.txt"))
	if err != nil {
		return false, err
	}
	defer raw.Close()
	r.raw = bufio.NewWriter(raw)
	defer func() { err = errors.Join(err, r.raw.Flush()) }()
	fmt.Fprintf(r.raw, "goos: %s\ngoarch: %s\n", runtime.GOOS, runtime.GOARCH)
	met = true
	for _, s := range suites() {
		if !r.chosen.MatchString(s.name) || s.asked && r.chosen.String() == "" {
			continue
		}
		m, err := r.suite(ctx, s)
		if err != nil {
			return false, fmt.Errorf("%s: %w", s.name, err)
		}
		met = s.print(os.Stdout, m) && met
	}
	fmt.Println("\nraw figures:", raw.Name(), "(go tool benchstat shows them)")
	return met, nil
}
