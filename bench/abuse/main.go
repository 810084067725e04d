// Command abuse shows what clients that mean ill can do to a node: by slow headers and slow bodies, floods of headers, a body of 10 GB, and
// random tokens as fast as they can be sent. A real perdiem serve stands before an upstream; good clients call it at a steady rate all the time, which is
// about a quarter of what two processors can do, and each attack is set beside the time before it.
//
// Attackers share the machine with the node, which they would not do elsewhere, so each runs in a process of the lowest priority (nice 19): it has
// the processor time that neither the node nor the good clients want. They come from an address of their own (127.0.0.2), and what they have not got
// rid of waits in buffers of 64 KiB: more would fill the memory that the system has for all connections, the node's and the good clients' too. How
// much processor time attackers took is printed, and how many requests of theirs the node answered in a second.
//
//	go run ./abuse                # about two minutes
//	go run ./abuse -only tokens
//
// The exit status is 1 when a promise is not met.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/perdiem/perdiem/bench/internal/load"
	"github.com/perdiem/perdiem/bench/internal/machine"
	"github.com/perdiem/perdiem/bench/internal/program"
	"github.com/perdiem/perdiem/bench/internal/serve"
	"github.com/perdiem/perdiem/bench/internal/trial"
)

// The promises.
const (
	leastThroughput = 0.80      // of good clients, by that without the attack
	mostResident    = 640 << 20 // bytes of the node
	mostLatency     = time.Second
)

const (
	good       = 1500 // calls a second of good clients
	quietTime  = 6 * time.Second
	attackTime = 12 * time.Second
	longest    = time.Minute // an attack that ends by itself is waited for so long
)

func main() {
	only := flag.String("only", "", "the one attack to run; all unless told")
	protection := flag.String("protection", "on", "on or off")
	out := flag.String("out", "out", "folder for what is made")
	role := flag.String("role", "", "what this process is; for the program's own use")
	target := flag.String("target", "", "what is attacked; for the program's own use")
	flag.Parse()
	trial.Main("abuse", func(ctx context.Context) (met bool, err error) {
		switch *role {
		case "":
			return run(ctx, *out, *only, *protection)
		case "upstream":
			return true, serveUpstream()
		default:
			return true, be(ctx, *role, *target)
		}
	})
}

// be is what an attacker's process does.
func be(ctx context.Context, name, target string) error {
	for _, a := range attacks {
		if a.name == name {
			if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19); err != nil {
				return err
			}
			fmt.Println("attacking")
			a.run(ctx, target)
			return nil
		}
	}
	return errors.New("no such attack")
}

// serveUpstream is what the upstream's process does: it reads what it is sent, and answers.
func serveUpstream() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			_, _ = io.WriteString(w, "done\n")
		}
	}))
}

type bench struct {
	*trial.Trial
	node *serve.Node
	load *load.Load
}

func run(ctx context.Context, out, only, protection string) (met bool, err error) {
	var b bench
	if b.Trial, err = trial.Begin(os.Stdout, "abuse", out); err != nil {
		return false, err
	}
	defer b.End()
	file, err := b.BuildPerdiem(ctx)
	if err != nil {
		return false, err
	}
	up, address, err := program.Start(ctx, os.Stderr, b.Self, "-role", "upstream")
	if err != nil {
		return false, err
	}
	defer up.Kill()
	catalog := "endpoints: [{id: work, match: /work}, {id: sink, match: /sink}]\ncatch_all: {}\napplications: [{id: acme}]\n"
	if b.node, err = serve.Start(ctx, file, b.Dir, address, catalog, "protection: "+protection); err != nil {
		return false, err
	}
	defer b.node.Kill()

	fmt.Printf("good clients: %d calls/s; attackers at the lowest priority\n", good)
	b.load = load.New(b.node.Gateway)
	calling, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.load.Run(calling, good, time.Hour)
	}()
	var spans []span
	for _, a := range attacks {
		if only != "" && only != a.name {
			continue
		}
		s, err := b.attack(ctx, a)
		if err != nil {
			return false, err
		}
		spans = append(spans, s)
	}
	if len(spans) == 0 {
		return false, fmt.Errorf("there is no attack %q", only)
	}
	time.Sleep(mostLatency) // for what is under way
	stop()
	<-ended
	b.load.Wait()
	for _, s := range spans {
		b.report(s)
	}
	b.Flush()
	return b.Met(), nil
}

// span is when an attack was, and what was seen of it.
type span struct {
	attack            attack
	quiet, begun, end time.Duration // of the load: the time without it began at quiet
	resident          int64         // of the node, the most, in bytes
	answered          float64       // requests that were not admitted, those of good clients included, a second
	processors        float64       // that the attacker took
	nodeBefore, node  float64       // that the node took
	whole             bool          // it ended by itself
}

func (b *bench) attack(ctx context.Context, a attack) (s span, err error) {
	s = span{attack: a, quiet: b.load.Since()}
	pause(ctx, time.Second) // for the attack before
	s.quiet = b.load.Since()
	cpu, err := machine.CPU(b.node.PID())
	if err != nil {
		return s, err
	}
	pause(ctx, quietTime)
	s.begun = b.load.Since()
	now, err := machine.CPU(b.node.PID())
	if err != nil {
		return s, err
	}
	s.nodeBefore = (now - cpu).Seconds() / (s.begun - s.quiet).Seconds()
	before, err := b.unadmitted(ctx)
	if err != nil {
		return s, err
	}
	p, _, err := program.Start(ctx, os.Stderr, b.Self, "-role", a.name, "-target", b.node.Gateway)
	if err != nil {
		return s, err
	}
	defer p.Kill()
	attackers := time.Duration(0)
	for since := time.Duration(0); ctx.Err() == nil; since = b.load.Since() - s.begun {
		memory, err := machine.MemoryOf(b.node.PID())
		if err != nil {
			return s, err
		}
		s.resident = max(s.resident, memory.Resident)
		took, err := machine.CPU(p.PID())
		if err != nil { // it is gone: done
			s.whole = true
			break
		}
		attackers = max(attackers, took)
		if !a.whole && since >= attackTime || since >= longest {
			break
		}
		pause(ctx, 50*time.Millisecond)
	}
	s.end = b.load.Since()
	if err := ctx.Err(); err != nil {
		return s, err
	}
	after, err := b.unadmitted(ctx)
	if err != nil {
		return s, err
	}
	took := (s.end - s.begun).Seconds()
	if cpu, err = machine.CPU(b.node.PID()); err != nil {
		return s, err
	}
	s.answered, s.processors, s.node = (after-before)/took, attackers.Seconds()/took, (cpu-now).Seconds()/took
	return s, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// unadmitted returns how many requests the node has answered that were not admitted.
func (b *bench) unadmitted(ctx context.Context) (sum float64, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.node.Ops+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		line, ok := strings.CutPrefix(lines.Text(), "perdiem_requests_total{")
		if !ok || strings.Contains(line, `outcome="admitted"`) {
			continue
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, lines.Err()
}

// report prints what an attack did.
func (b *bench) report(s span) {
	rate := func(from, to time.Duration) float64 {
		return float64(b.load.Prompt(from, to, mostLatency)) / (to - from).Seconds()
	}
	quiet, during := rate(s.quiet, s.begun), rate(s.begun, s.end)
	f := b.load.Figures(s.begun, s.end)
	took := s.end - s.begun
	b.Row(s.attack.title, "")
	if s.attack.whole {
		verdict := fmt.Sprintf("%v, %.0f MB/s", took.Round(100*time.Millisecond), streamed/1e6/took.Seconds())
		b.Promise("  passed in", verdict, "whole", s.whole)
	} else {
		b.Row("  of theirs answered", fmt.Sprintf("%.0f a second", s.answered))
	}
	b.Promise("  good calls answered within a second", fmt.Sprintf("%.0f/s of %.0f/s: %.2f", during, quiet, during/quiet),
		fmt.Sprintf("at least %.2f", leastThroughput), quiet > 0 && during/quiet >= leastThroughput)
	b.Row("  of them refused by protection", fmt.Sprintf("%.1f/s", float64(f.Refused)/took.Seconds()))
	b.Row("  their p50, p99", fmt.Sprintf("%v, %v", f.P50.Round(100*time.Microsecond), f.P99.Round(100*time.Microsecond)))
	b.Promise("  node's resident memory, most", fmt.Sprintf("%d MiB", s.resident>>20), fmt.Sprintf("at most %d MiB", mostResident>>20), s.resident <= mostResident)
	b.Row("  processors: attacker, node, node without", fmt.Sprintf("%.2f, %.2f, %.2f", s.processors, s.node, s.nodeBefore))
}
