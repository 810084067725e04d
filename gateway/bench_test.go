package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/protect"
	"github.com/perdiem/perdiem/registry"
)

// BenchmarkGateway compares the gateway, with members' tokens and warm counters, with a bare tuned ReverseProxy, over real
// connections from 64 clients. Only the ratio of the two in one run means anything.
func BenchmarkGateway(b *testing.B) {
	const members = 100
	answer := []byte(`{"ok":true,"pad":"` + strings.Repeat("x", 180) + `"}`)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Content-Type"] = []string{"application/json"}
		h["Content-Length"] = []string{strconv.Itoa(len(answer))}
		_, _ = w.Write(answer)
	}))
	defer up.Close()
	where, err := url.Parse(up.URL)
	must(b, err)

	catalogue := "endpoints:\n"
	for i := range 10 {
		catalogue += fmt.Sprintf("  - {id: ep%d, match: GET /v1/ep%d, application: 999999999999, member: 999999999}\n", i, i)
	}
	catalogue += "catch_all: {}\napplications: [{id: acme}]\n"
	issued, key := issuedTokens{}, identity.NewTokenKey()
	requests := make([][]byte, members)
	for i := range requests {
		secret, hash := key.NewToken()
		issued[hash] = registry.Token{ID: registry.NewTokenID(), Application: "acme", Member: fmt.Sprintf("m-%d", i), Expires: time.Now().Add(time.Hour)}
		requests[i] = fmt.Appendf(nil, "GET /v1/ep%d HTTP/1.1\r\nHost: api.local\r\nAuthorization: Bearer %s\r\n\r\n", i%10, secret)
	}
	tokens, err := identity.NewTokens(identity.TokenOptions{Registry: issued, Key: key})
	must(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { tokens.Run(ctx) })
	defer running.Wait()
	defer cancel()

	limiter, err := protect.New(protect.Options{})
	must(b, err)
	s := start(b, func(c *setup) {
		c.options.Protect = limiter
		c.catalog = catalogue
		c.options.Upstream = where
		c.sources = []identity.Source{tokens}
	})
	s.quiet.Store(true)
	floor := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(where); r.Out.Host = r.In.Host },
		Transport:  &http.Transport{DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, MaxIdleConnsPerHost: 256, DisableCompression: true},
		BufferPool: &sharedBuffers{sync.Pool{New: func() any { return new([32 << 10]byte) }}},
	})
	defer floor.Close()

	warm, err := dialClient(s.address)
	must(b, err)
	for i := range 100 * len(requests) { // until each member's leases have grown to what it uses
		must(b, warm.do(requests[i%len(requests)]))
	}
	warm.Close()
	b.Run("floor", func(b *testing.B) { hammer(b, floor.Listener.Addr().String(), requests) })
	b.Run("gateway", func(b *testing.B) { hammer(b, s.address, requests) })
}

// BenchmarkRefusal is a call that a limit refuses, from its first byte to its last.
func BenchmarkRefusal(b *testing.B) {
	s := start(b, func(c *setup) {
		c.catalog = "endpoints: [{id: e, match: /e, member: 1}]\ncatch_all: {}\napplications: [{id: acme}]\n"
	})
	s.quiet.Store(true)
	s.do("GET", "/e", "m-1")
	hammer(b, s.address, [][]byte{[]byte("GET /e HTTP/1.1\r\nHost: api.local\r\nX-App-Id: acme\r\nX-Member-Id: m-1\r\n\r\n")})
}

// hammer sends requests from 64 connections at once.
func hammer(b *testing.B, address string, requests [][]byte) {
	b.SetParallelism(32)
	b.ReportAllocs()
	began := processTime(b)
	defer func() { b.ReportMetric(float64(processTime(b)-began)/float64(b.N), "cpu-ns/op") }()
	var clients atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		c, err := dialClient(address)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		for i := int(clients.Add(1)) * 7919; pb.Next(); i++ {
			if err := c.do(requests[i%len(requests)]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// client is a connection that does as little as it can, so that what it talks to is what is measured.
type client struct {
	net.Conn
	reader *bufio.Reader
}

func dialClient(address string) (*client, error) {
	conn, err := net.Dial("tcp", address)
	return &client{conn, bufio.NewReader(conn)}, err
}

// do sends a request and reads its answer, which has a Content-Length and the status 200 or 429.
func (c *client) do(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	length := 0
	for first := true; ; first = false {
		line, err := c.reader.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) && !bytes.HasPrefix(line, []byte("HTTP/1.1 429 ")):
			return fmt.Errorf("%s", line)
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len("Content-Length: "):]))); err != nil {
				return err
			}
		case len(line) == len("\r\n"):
			_, err := c.reader.Discard(length)
			return err
		}
	}
}

// processTime returns the processor time that this process has taken: unlike the time that passed, it says something on a machine
// that others use too. It includes the clients and the upstream, which cost the same each time.
func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// issuedTokens are tokens by hash. What the benchmark measures asks for each of them once.
type issuedTokens map[registry.Hash]registry.Token

func (t issuedTokens) TokenByHash(_ context.Context, hash registry.Hash) (registry.Token, error) {
	token, ok := t[hash]
	if !ok {
		return registry.Token{}, fault.New(fault.NotFound, "no such token")
	}
	return token, nil
}

func (issuedTokens) UseTokens(context.Context, []registry.TokenUse) error { return nil }

func (issuedTokens) Revocations(_ context.Context, since int64) ([]registry.Revocation, int64, error) {
	return nil, max(0, since), nil
}

type sharedBuffers struct{ pool sync.Pool }

func (s *sharedBuffers) Get() []byte  { return s.pool.Get().(*[32 << 10]byte)[:] }
func (s *sharedBuffers) Put(b []byte) { s.pool.Put((*[32 << 10]byte)(b)) }
