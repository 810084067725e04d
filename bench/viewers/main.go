// Command viewers shows what people who look cost those who call. A real perdiem serve is loaded by wrk through its gateway, by turns without anybody at the
// Developer Portal, and with a thousand Analytics tabs that are live, of several applications. Viewers and wrk share the machine with the node.
//
//	go run ./viewers                  # ten rounds, three minutes
//	go run ./viewers -rounds 4
//
// The exit status is 1 when a promise is not met.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perdiem/perdiem/bench/internal/machine"
	"github.com/perdiem/perdiem/bench/internal/program"
	"github.com/perdiem/perdiem/bench/internal/serve"
	"github.com/perdiem/perdiem/bench/internal/trial"
)

// The promises.
const (
	leastKept = 0.95 // of requests/s, with viewers, in the median of rounds
	leastSeen = 0.9  // events a viewer and second: something is new each second
)

const (
	viewers      = 1000
	applications = 8
	endpoints    = 10              // as in the gateway's benchmark; all are called, so that each event has a row of each
	turn         = 6 * time.Second // of load, in which is measured
	warmUp       = time.Second
	quiet        = 6 * time.Second // of few calls
)

//go:embed load.lua
var loadScript []byte

func main() {
	rounds := flag.Int("rounds", 10, "how often it is measured without viewers and with them")
	out := flag.String("out", "out", "folder for what is made")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 {
		flag.Usage()
		os.Exit(2)
	}
	trial.Main("viewers", func(ctx context.Context) (met bool, err error) { return run(ctx, *out, *rounds) })
}

func run(ctx context.Context, out string, rounds int) (met bool, err error) {
	if _, err := exec.LookPath("wrk"); err != nil {
		return false, fmt.Errorf("%w: install Debian's package wrk", err)
	}
	t, err := trial.Begin(os.Stdout, "viewers", out)
	if err != nil {
		return false, err
	}
	defer t.End()
	b, err := start(ctx, t)
	if err != nil {
		return false, err
	}
	defer b.stop()
	meter, err := machine.StartMeter()
	if err != nil {
		return false, err
	}
	var without, with, kept, seen []float64
	for i := range rounds {
		var alone, watched, events float64
		// Which comes first changes, so that neither has a warmer machine.
		for _, withViewers := range []bool{i%2 == 1, i%2 == 0} {
			if withViewers {
				watched, events, err = b.measureWatched(ctx)
			} else {
				alone, err = b.load(ctx, turn)
			}
			if err != nil {
				return false, err
			}
		}
		without, with = append(without, alone), append(with, watched)
		kept, seen = append(kept, watched/alone), append(seen, events)
	}
	cost, own, err := b.cost(ctx)
	if err != nil {
		return false, err
	}
	others, err := meter.Others()
	if err != nil {
		return false, err
	}
	t.Row("requests/s without viewers", spread(without, "%.0f"))
	t.Row(fmt.Sprintf("requests/s with %d viewers of %d applications", viewers, applications), spread(with, "%.0f"))
	t.Promise("with / without, in a round", spread(kept, "%.3f"), fmt.Sprintf("at least %.2f", leastKept), median(kept) >= leastKept)
	t.Promise("events a viewer and second", spread(seen, "%.2f"), fmt.Sprintf("at least %.1f", leastSeen), median(seen) >= leastSeen)
	t.Row("what viewers take of the node, when little is called", fmt.Sprintf("%.3f processors", cost))
	t.Row("what they take themselves then", fmt.Sprintf("%.3f processors", own))
	t.Row("others' share of the machine", fmt.Sprintf("%.2f processors", others))
	t.Flush()
	return t.Met(), b.node.Stop()
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// spread returns the median of values, with the least and the most.
func spread(values []float64, format string) string {
	return fmt.Sprintf(format+" ("+format+" to "+format+")", median(values), slices.Min(values), slices.Max(values))
}

// bench is a node that serves, before an upstream that does nothing.
type bench struct {
	*trial.Trial
	upstream *program.Program
	node     *serve.Node
	session  string // the cookie of somebody who may see every application
}

func start(ctx context.Context, t *trial.Trial) (_ *bench, err error) {
	b := &bench{Trial: t}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	file, err := t.BuildPerdiem(ctx)
	if err != nil {
		return nil, err
	}
	hello := filepath.Join(filepath.Dir(file), "hello")
	if err := program.Build(ctx, ".", "./floors/hello", hello); err != nil {
		return nil, err
	}
	if err := os.WriteFile(b.script(), loadScript, 0o600); err != nil {
		return nil, err
	}
	serves, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var address string
	if b.upstream, address, err = program.Start(serves, os.Stderr, hello); err != nil {
		return nil, err
	}
	dir := filepath.Join(t.Dir, "site")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if b.node, err = serve.Start(serves, file, dir, address, catalog(), ""); err != nil {
		return nil, err
	}
	if b.session, err = signIn(serves, file, b.node); err != nil {
		return nil, err
	}
	_, err = b.load(ctx, warmUp)
	return b, err
}

func (b *bench) stop() {
	if b.node != nil {
		b.node.Kill()
	}
	if b.upstream != nil {
		b.upstream.Kill()
	}
}

func (b *bench) script() string { return filepath.Join(b.Dir, "load.lua") }

// catalog is what is metered: limits that nobody reaches.
func catalog() string {
	var text strings.Builder
	text.WriteString("endpoints:\n")
	for e := range endpoints {
		fmt.Fprintf(&text, "  - {id: ep%d, match: GET /v1/ep%d, application: 1000000000000, member: 1000000000}\n", e, e)
	}
	text.WriteString("catch_all: {application: 1000, member: 100}\napplications:\n")
	for a := range applications {
		fmt.Fprintf(&text, "  - {id: app%d}\n", a)
	}
	return text.String()
}

// load has wrk call the gateway, and returns how many requests it made a second.
func (b *bench) load(ctx context.Context, duration time.Duration) (perSecond float64, err error) {
	c := exec.CommandContext(ctx, "wrk", "-t2", "-c64", "-d", strconv.Itoa(int(duration/time.Second))+"s", "-s", b.script(), "http://"+b.node.Gateway+"/")
	c.Env = append(os.Environ(), "HEADER="+serve.Header, fmt.Sprintf("APPLICATIONS=%d", applications), fmt.Sprintf("ENDPOINTS=%d", endpoints))
	said, err := c.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, said)
	}
	_, line, _ := strings.Cut(string(said), "MEASURED ")
	var requests, micros, failures float64
	if _, err := fmt.Sscan(line, &requests, &micros, &failures); err != nil || requests == 0 {
		return 0, fmt.Errorf("wrk measured nothing:\n%s", said)
	}
	if failures > 0 {
		return 0, errors.Join(fmt.Errorf("%.0f requests failed", failures), errors.New(string(said)))
	}
	return requests / micros * 1e6, nil
}

// cost returns how many processors the node, and the viewers themselves, take more than without viewers, while each endpoint of each application is called once a
// second.
func (b *bench) cost(ctx context.Context) (node, own float64, err error) {
	aloneNode, aloneOwn, err := b.trickle(ctx)
	if err != nil {
		return 0, 0, err
	}
	crowd, err := gather(ctx, b.node.Portal, b.session)
	if err != nil {
		return 0, 0, err
	}
	defer crowd.leave()
	node, own, err = b.trickle(ctx)
	return node - aloneNode, own - aloneOwn, err
}

// trickle makes few calls, and returns how many processors the node takes meanwhile, and how many all the rest of the benchmark.
func (b *bench) trickle(ctx context.Context) (node, own float64, err error) {
	pids := [2]int{b.node.PID(), os.Getpid()} // the second with all that it started
	var before, after [2]time.Duration
	for i, pid := range pids {
		if before[i], err = machine.CPU(pid); err != nil {
			return 0, 0, err
		}
	}
	began := time.Now()
	each := time.NewTicker(time.Second / (applications * endpoints))
	defer each.Stop()
	for i := 0; time.Since(began) < quiet; i++ {
		if err := b.call(ctx, i%applications, i/applications%endpoints); err != nil {
			return 0, 0, err
		}
		<-each.C
	}
	took := time.Since(began).Seconds()
	for i, pid := range pids {
		if after[i], err = machine.CPU(pid); err != nil {
			return 0, 0, err
		}
	}
	node = (after[0] - before[0]).Seconds() / took
	return node, (after[1]-before[1]).Seconds()/took - node, nil
}

func (b *bench) call(ctx context.Context, application, endpoint int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/v1/ep%d", b.node.Gateway, endpoint), nil)
	if err != nil {
		return err
	}
	r.Header.Set(serve.Header, fmt.Sprintf("app%d", application))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// measureWatched does what load does while everybody looks, and returns how many events each viewer got a second.
func (b *bench) measureWatched(ctx context.Context) (perSecond, events float64, err error) {
	crowd, err := gather(ctx, b.node.Portal, b.session)
	if err != nil {
		return 0, 0, err
	}
	defer crowd.leave()
	if _, err := b.load(ctx, warmUp); err != nil {
		return 0, 0, err
	}
	before, began := crowd.events.Load(), time.Now()
	if perSecond, err = b.load(ctx, turn); err != nil {
		return 0, 0, err
	}
	events = float64(crowd.events.Load()-before) / time.Since(began).Seconds() / viewers
	if gone := crowd.gone.Load(); gone > 0 {
		return 0, 0, fmt.Errorf("%d viewers were let go", gone)
	}
	return perSecond, events, nil
}
