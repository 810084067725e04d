// Package gateway measures requests through perdiem serve, whose members have tokens, beside a bare reverse proxy
// that knows nobody and counts nothing. Both are real processes before the same upstream, and the load is wrk's.
package gateway

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/bench/internal/machine"
	"github.com/perdiem/perdiem/bench/internal/program"
)

//go:embed load.lua
var loadScript []byte

// Target is what a load goes through.
type Target int

// The targets.
const (
	Floor   Target = iota // the bare reverse proxy
	Perdiem               // perdiem serve
)

// Options say what a bench is made of. All are required.
type Options struct {
	Root    string // the folder of perdiem's own module
	Bench   string // the folder of the benchmarks' module
	Out     string // a folder for what is made, some of it for the next time
	Members int    // how many have a token
	Log     io.Writer
}

// Bench is a bare proxy and a node, both before the same upstream, ready for load. Stop ends them.
type Bench struct {
	dir       string // removed at the end
	script    string
	tokens    string
	hello     *program.Program
	targets   [2]*program.Program
	addresses [2]string
}

// Start builds and starts everything, and makes a call for each member, so that all tokens are known to the node.
func Start(ctx context.Context, o Options) (_ *Bench, err error) {
	if _, err := exec.LookPath("wrk"); err != nil {
		return nil, fmt.Errorf("%w: install Debian's package wrk", err)
	}
	out, err := filepath.Abs(o.Out)
	if err != nil {
		return nil, err
	}
	bin := func(name string) string { return filepath.Join(out, "bin", name) }
	for _, p := range []struct{ dir, pkg, name string }{
		{o.Bench, "./floors/hello", "hello"},
		{o.Bench, "./floors/revproxy", "revproxy"},
		{o.Root, "./cmd/perdiem", "perdiem"},
	} {
		if err := program.Build(ctx, p.dir, p.pkg, bin(p.name)); err != nil {
			return nil, err
		}
	}
	b := &Bench{}
	if b.dir, err = os.MkdirTemp(out, "gateway-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = b.Stop() // the error in hand says more
		}
	}()
	s, err := makeSite(ctx, out, filepath.Join(b.dir, "site"), o.Members)
	if err != nil {
		return nil, err
	}
	b.tokens, b.script = s.tokens(), filepath.Join(b.dir, "load.lua")
	if err := os.WriteFile(b.script, loadScript, 0o600); err != nil {
		return nil, err
	}
	serves, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var upstream string
	if b.hello, upstream, err = program.Start(serves, o.Log, bin("hello")); err != nil {
		return nil, err
	}
	if b.targets[Floor], b.addresses[Floor], err = program.Start(serves, io.Discard, bin("revproxy"), "-up", "http://"+upstream); err != nil {
		return nil, err
	}
	if err := s.configure(upstream); err != nil {
		return nil, err
	}
	var line string
	if b.targets[Perdiem], line, err = program.Start(serves, o.Log, bin("perdiem"), "serve", "-c", s.config()); err != nil {
		return nil, err
	}
	if b.addresses[Perdiem], err = gatewayAddress(line); err != nil {
		return nil, err
	}
	return b, b.introduce(ctx)
}

// gatewayAddress finds the gateway's address in the line by which perdiem says that it serves.
func gatewayAddress(line string) (string, error) {
	for field := range strings.FieldsSeq(line) {
		if address, ok := strings.CutPrefix(field, "gateway="); ok {
			return address, nil
		}
	}
	return "", fmt.Errorf("perdiem names no gateway: %q", line)
}

// introduce makes a call for each token.
func (b *Bench) introduce(ctx context.Context) error {
	text, err := os.ReadFile(b.tokens)
	if err != nil {
		return err
	}
	tokens := strings.Fields(string(text))
	const connections = 64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	var callers sync.WaitGroup
	failed := make(chan error, connections)
	for range connections {
		callers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(tokens) {
					return
				}
				if err := b.call(ctx, client, tokens[i], i%endpoints); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	callers.Wait()
	close(failed)
	return <-failed
}

func (b *Bench) call(ctx context.Context, client *http.Client, token string, endpoint int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/v1/ep%d", b.addresses[Perdiem], endpoint), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("the gateway answered %s: %s", answer.Status, body)
	}
	return err
}

// Result is what a load measured.
type Result struct {
	PerSecond float64       // requests
	P50, P99  time.Duration // from request to answer
	CPU       time.Duration // of the target, for 1,000 requests
}

// Load sends requests through a target, from 64 connections, and measures for so long after two seconds to get warm. Any answer
// other than 200 is an error.
func (b *Bench) Load(ctx context.Context, t Target, duration time.Duration) (Result, error) {
	if _, _, err := b.wrk(ctx, t, 2*time.Second); err != nil {
		return Result{}, err
	}
	before, err := machine.CPU(b.targets[t].PID())
	if err != nil {
		return Result{}, err
	}
	r, requests, err := b.wrk(ctx, t, duration)
	if err != nil {
		return Result{}, err
	}
	after, err := machine.CPU(b.targets[t].PID())
	r.CPU = (after - before) * 1000 / time.Duration(requests)
	return r, err
}

func (b *Bench) wrk(ctx context.Context, t Target, duration time.Duration) (r Result, requests int, err error) {
	c := exec.CommandContext(ctx, "wrk", "-t2", "-c64", "-d", strconv.Itoa(int(duration/time.Second))+"s", "-s", b.script, "http://"+b.addresses[t]+"/")
	c.Env = append(os.Environ(), "TOKENS="+b.tokens)
	said, err := c.CombinedOutput()
	if err != nil {
		return Result{}, 0, fmt.Errorf("wrk: %w\n%s", err, said)
	}
	_, line, found := bytes.Cut(said, []byte("JSON "))
	if !found {
		return Result{}, 0, fmt.Errorf("wrk measured nothing:\n%s", said)
	}
	var m struct{ Requests, Microseconds, P50, P99, Failed int }
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&m); err != nil {
		return Result{}, 0, err
	}
	if m.Failed > 0 || m.Requests == 0 || m.Microseconds == 0 {
		return Result{}, 0, fmt.Errorf("%d of %d requests failed:\n%s", m.Failed, m.Requests, said)
	}
	return Result{
		PerSecond: float64(m.Requests) / float64(m.Microseconds) * 1e6,
		P50:       time.Duration(m.P50) * time.Microsecond,
		P99:       time.Duration(m.P99) * time.Microsecond,
	}, m.Requests, nil
}

// Stop ends everything.
func (b *Bench) Stop() error {
	var errs []error
	for _, p := range []*program.Program{b.targets[Floor], b.hello} {
		if p != nil {
			p.Kill() // they have nothing to lose
		}
	}
	if p := b.targets[Perdiem]; p != nil {
		errs = append(errs, p.Stop())
	}
	errs = append(errs, os.RemoveAll(b.dir))
	return errors.Join(errs...)
}
