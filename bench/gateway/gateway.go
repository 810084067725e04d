// Package gateway measures requests through perdiem serve, whose members bring tokens of some sort, beside proxies that know nobody
// and count nothing. All are real processes before the same upstream, and the load is wrk's.
package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// Target is what a load goes through, and what callers bring.
type Target string

// The targets. Those of perdiem serve but TLS are one node, so that they differ in the tokens alone.
const (
	Floor         Target = "floor"         // the bare reverse proxy
	Nginx         Target = "nginx"         // nginx as a bare reverse proxy
	Perdiem       Target = "perdiem"       // perdiem serve, and perdiem's own tokens
	Padded        Target = "padded"        // the same, with another header, which makes a request as long as one with a JWT
	JWT           Target = "jwt"           // perdiem serve, and JWTs (ES256)
	Introspection Target = "introspection" // perdiem serve, and tokens that the issuer was asked about (RFC 7662)
	TLS           Target = "tls"           // perdiem serve with TLS towards its callers, and perdiem's own tokens
)

// Options say what a bench is made of. All are required.
type Options struct {
	Root    string // the folder of perdiem's own module
	Bench   string // the folder of the benchmarks' module
	Out     string // a folder for what is made, some of it for the next time
	Members int    // how many have a token
	Targets []Target
	Log     io.Writer
}

// Bench is some proxies before the same upstream, ready for load. Stop ends them.
type Bench struct {
	o        Options
	dir      string         // removed at the end
	upstream string         // its address
	stops    []func() error // in the order in which what they stop was started
	node     *node
	issuer   *issuer
	routes   map[Target]route
}

// route is how a load goes through a target.
type route struct {
	program *program.Program
	url     string // of its root
	tokens  string // the file of those that callers bring, one a line
	padding int    // bytes of another header
}

// Start builds and starts what the targets need, and makes a call with each token, so that the nodes know them all.
func Start(ctx context.Context, o Options) (_ *Bench, err error) {
	if _, err := exec.LookPath("wrk"); err != nil {
		return nil, fmt.Errorf("%w: install Debian's package wrk", err)
	}
	if o.Out, err = filepath.Abs(o.Out); err != nil {
		return nil, err
	}
	b := &Bench{o: o, routes: map[Target]route{}}
	for _, p := range []struct{ dir, pkg, name string }{
		{o.Bench, "./floors/hello", "hello"},
		{o.Bench, "./floors/revproxy", "revproxy"},
		{o.Root, "./cmd/perdiem", "perdiem"},
	} {
		if err := program.Build(ctx, p.dir, p.pkg, b.bin(p.name)); err != nil {
			return nil, err
		}
	}
	if b.dir, err = os.MkdirTemp(o.Out, "gateway-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = b.Stop() // the error in hand says more
		}
	}()
	if err := os.WriteFile(b.script(), loadScript, 0o600); err != nil {
		return nil, err
	}
	serves, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, b.upstream, err = b.runFloor(serves, o.Log, "hello"); err != nil {
		return nil, err
	}
	if b.issuer, err = startIssuer(o.Members); err != nil {
		return nil, err
	}
	b.stops = append(b.stops, b.issuer.close)
	if b.node, err = b.startNode(serves, "node", b.issuer.identity(), nil); err != nil {
		return nil, err
	}
	for _, t := range o.Targets {
		r, err := b.route(serves, t)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t, err)
		}
		b.routes[t] = r
		if err := b.introduce(ctx, r); err != nil {
			return nil, fmt.Errorf("%s: %w", t, err)
		}
	}
	return b, nil
}

func (b *Bench) bin(name string) string { return filepath.Join(b.o.Out, "bin", name) }
func (b *Bench) script() string         { return filepath.Join(b.dir, "load.lua") }

// runFloor starts one of the floors' programs, which have nothing to lose by being killed, and returns the address at which it listens.
func (b *Bench) runFloor(ctx context.Context, stderr io.Writer, name string, args ...string) (*program.Program, string, error) {
	p, address, err := program.Start(ctx, stderr, b.bin(name), args...)
	if err == nil {
		b.stops = append(b.stops, func() error {
			p.Kill()
			return nil
		})
	}
	return p, address, err
}

// route starts what a target needs besides the node.
func (b *Bench) route(ctx context.Context, t Target) (route, error) {
	ofNode := route{program: b.node.program, url: "http://" + b.node.address + "/", tokens: b.node.site.tokens()}
	switch t {
	case Floor:
		p, address, err := b.runFloor(ctx, io.Discard, "revproxy", "-up", "http://"+b.upstream)
		return route{program: p, url: "http://" + address + "/", tokens: ofNode.tokens}, err
	case Nginx:
		p, address, err := startNginx(ctx, b.o.Log, filepath.Join(b.dir, "nginx"), b.upstream)
		if err == nil {
			b.stops = append(b.stops, p.Stop)
		}
		return route{program: p, url: "http://" + address + "/", tokens: ofNode.tokens}, err
	case Perdiem:
		return ofNode, nil
	case Padded:
		longer, err := b.longer(ofNode.tokens)
		ofNode.padding = longer
		return ofNode, err
	case JWT:
		ofNode.tokens = filepath.Join(b.dir, "jwts")
		return ofNode, b.issuer.writeJWTs(ofNode.tokens)
	case Introspection:
		ofNode.tokens = filepath.Join(b.dir, "introspected")
		return ofNode, b.issuer.writeTokens(ofNode.tokens)
	case TLS:
		n, err := b.startNode(ctx, "tls", "", makeCertificate)
		if err != nil {
			return route{}, err
		}
		return route{program: n.program, url: "https://" + n.address + "/", tokens: n.site.tokens()}, nil
	default:
		return route{}, errors.New("there is no such target")
	}
}

// longer returns by how many bytes a JWT is longer than one of perdiem's own tokens.
func (b *Bench) longer(tokens string) (int, error) {
	own, err := readTokens(tokens)
	if err != nil {
		return 0, err
	}
	jwts, err := b.issuer.jwts()
	if err != nil {
		return 0, err
	}
	return len(jwts[0]) - len(own[0]), nil
}

func readTokens(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	return strings.Fields(string(text)), err
}

// node is a perdiem that serves.
type node struct {
	program *program.Program
	site    site
	address string // of its gateway
}

// startNode starts perdiem in a folder of its own. identity are sources of identity besides its own tokens, as lines of perdiem.yaml. With
// certify, which writes a certificate and its key into two files, its gateway has TLS.
func (b *Bench) startNode(ctx context.Context, name, identity string, certify func(cert, key string) error) (*node, error) {
	s, err := makeSite(ctx, b.o.Out, filepath.Join(b.dir, name), b.o.Members)
	if err != nil {
		return nil, err
	}
	if certify != nil {
		if err := certify(s.cert(), s.key()); err != nil {
			return nil, err
		}
	}
	if err := s.configure(b.upstream, identity, certify != nil); err != nil {
		return nil, err
	}
	p, line, err := program.Start(ctx, b.o.Log, b.bin("perdiem"), "serve", "-c", s.config())
	if err != nil {
		return nil, err
	}
	b.stops = append(b.stops, p.Stop)
	address, err := gatewayAddress(line)
	return &node{p, s, address}, err
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

// introduce makes a call with each token.
func (b *Bench) introduce(ctx context.Context, r route) error {
	tokens, err := readTokens(r.tokens)
	if err != nil {
		return err
	}
	const connections = 64
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: connections,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // nobody but the node just started is there
	}}
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
				if err := call(ctx, client, fmt.Sprintf("%sv1/ep%d", r.url, i%endpoints), tokens[i]); err != nil {
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

func call(ctx context.Context, client *http.Client, url, token string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
		err = fmt.Errorf("the answer is %s: %s", answer.Status, body)
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
	through, ok := b.routes[t]
	if !ok {
		return Result{}, fmt.Errorf("%s was not started", t)
	}
	if _, _, err := b.wrk(ctx, through, 2*time.Second); err != nil {
		return Result{}, err
	}
	before, err := machine.CPU(through.program.PID())
	if err != nil {
		return Result{}, err
	}
	r, requests, err := b.wrk(ctx, through, duration)
	if err != nil {
		return Result{}, err
	}
	after, err := machine.CPU(through.program.PID())
	r.CPU = (after - before) * 1000 / time.Duration(requests)
	return r, err
}

func (b *Bench) wrk(ctx context.Context, through route, duration time.Duration) (r Result, requests int, err error) {
	c := exec.CommandContext(ctx, "wrk", "-t2", "-c64", "-d", strconv.Itoa(int(duration/time.Second))+"s", "-s", b.script(), through.url)
	c.Env = append(os.Environ(), "TOKENS="+through.tokens, "PADDING="+strconv.Itoa(through.padding))
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
	for _, stop := range slices.Backward(b.stops) { // the upstream last
		errs = append(errs, stop())
	}
	errs = append(errs, os.RemoveAll(b.dir))
	return errors.Join(errs...)
}
