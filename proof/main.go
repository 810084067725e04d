// Command proof shows what perdiem promises on the real program: it builds perdiem, runs it as an operator would, calls it over
// loopback as clients would, and counts at an upstream of its own what went through.
//
//	go run ./proof                     all proofs
//	go run ./proof exactness           kill -9 ten times under load: no counter passes its limit, and little is forfeited
//	go run ./proof reset               the day ends under load: at that instant, for everybody, without a stall
//	go run ./proof pause               the process is stopped over the reset: it spends nothing of the old day
//	go run ./proof history             kill -9 under load: the history of calls loses its last ten seconds at most
//
// Each proof prints its figures as a table, then every promise with the word "met" or "NOT MET". A proof also fails when it
// has shown nothing: when too few calls were in flight at a kill, or nobody was refused. The exit status is 0 when all promises
// hold, 1 when one does not, 2 for wrong usage.
//
// The proofs know perdiem by its contract alone and import none of its packages.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// proof is one of the proofs.
type proof struct {
	name string
	run  func(context.Context, *lab) error
}

var proofs = []proof{
	{"exactness", proveExactness},
	{"reset", proveReset},
	{"pause", provePause},
	{"history", proveHistory},
}

// lab is what the proofs share.
type lab struct {
	*report
	binary string // of perdiem
	folder string // for data folders; each proof makes its own in it
	load   loadOptions
	resets int
	pauses int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	status, err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "proof: %v\n", err)
	}
	os.Exit(status)
}

// run parses the arguments, runs the proofs that they name, and returns the exit status.
func run(ctx context.Context, args []string, out io.Writer) (int, error) {
	b := &lab{report: &report{out: out}}
	flags := flag.NewFlagSet("proof", flag.ContinueOnError)
	flags.StringVar(&b.binary, "perdiem", "", "the perdiem `binary` to prove; built from this module when left out")
	flags.StringVar(&b.folder, "dir", "", "the `folder` for data folders; a temporary one when left out")
	flags.StringVar(&b.load.durability, "durability", "disk", "disk or process: the `durability` in the proofs reset, pause and history")
	flags.IntVar(&b.load.rate, "rate", 1500, "`calls` a second in the proofs reset, pause and history")
	flags.IntVar(&b.resets, "resets", 10, "`number` of starts in the proof reset, each with its own reset")
	flags.IntVar(&b.pauses, "pauses", 3, "`number` of pauses in the proof pause")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0, nil
	} else if err != nil {
		return 2, nil // flags has said what is wrong
	}
	if b.load.durability != "disk" && b.load.durability != "process" {
		return 2, fmt.Errorf("-durability %s: must be disk or process", b.load.durability)
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return 2, err
	}
	if b.load.rate < 1 || b.resets < 1 || b.pauses < 1 {
		return 2, errors.New("-rate, -resets and -pauses must be at least 1")
	}
	// The proof shares the machine with what it measures: it spends memory rather than time.
	debug.SetGCPercent(400)

	b.folder, err = os.MkdirTemp(b.folder, "perdiem-proof-")
	if err != nil {
		return 1, err
	}
	if b.binary == "" {
		if b.binary, err = build(ctx, b.folder); err != nil {
			return 1, errors.Join(err, os.RemoveAll(b.folder))
		}
	}
	for _, p := range chosen {
		began := time.Now()
		if err := p.run(ctx, b); err != nil {
			return 1, fmt.Errorf("%s: %w (what the nodes left is in %s)", p.name, err, b.folder)
		}
		fmt.Fprintf(out, "(%s took %v)\n\n", p.name, time.Since(began).Round(time.Second))
	}
	if b.failures > 0 {
		return 1, fmt.Errorf("%d promises do not hold (what the nodes left is in %s)", b.failures, b.folder)
	}
	return 0, os.RemoveAll(b.folder)
}

// choose returns the proofs of the given names; all when there is none.
func choose(names []string) ([]proof, error) {
	if len(names) == 0 {
		return proofs, nil
	}
	var chosen []proof
	for _, name := range names {
		i := slices.IndexFunc(proofs, func(p proof) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no proof %q: there are %s", name, strings.Join(proofNames(), ", "))
		}
		chosen = append(chosen, proofs[i])
	}
	return chosen, nil
}

func proofNames() []string {
	names := make([]string, len(proofs))
	for i, p := range proofs {
		names[i] = p.name
	}
	return names
}
