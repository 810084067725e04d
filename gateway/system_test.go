package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/perdiem/perdiem/admit"
	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

func TestMain(m *testing.M) {
	// Servers of other packages' test helpers may linger for a moment; goleak waits for them.
	goleak.VerifyTestMain(m)
}

// sample is the catalog that most tests run on.
const sample = `
endpoints:
  - {id: posts.create, match: POST /rest/posts, application: 5, member: 2}
  - {id: posts.get, match: "GET /rest/posts/{id}", application: 1000, member: 1000}
  - {id: posts.find, match: GET /rest/posts, when: {header: {X-RestLi-Method: FINDER}}, application: 1000}
  - {id: posts.shadow, match: /shadow, application: 1, shadow: true}
  - {id: posts.closed, match: /closed, application: 0}
  - {id: posts.dear, match: /dear, application: 5, cost: 3}
catch_all: {application: 100000, member: 1000}
applications:
  - {id: acme}
  - {id: beta, suspended: true}
  - {id: café}
`

// system is a gateway that serves, with everything behind it: a catalog, leases on a ledger, and an upstream that records what
// reaches it.
type system struct {
	t        testing.TB
	gateway  *gateway.Gateway
	address  string
	upstream *upstream
	book     *lease.Book
	snapshot atomic.Pointer[catalog.Snapshot]
	paths    catalog.PathPolicy
	log      *records
	quiet    atomic.Bool // observations are not kept

	mu       sync.Mutex
	observed []gateway.Observation // guarded by mu
	seen     *sync.Cond            // of mu: observed has grown
}

// upstream is a server that records the requests that reach it.
type upstream struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request // guarded by mu; their bodies are read
}

func (u *upstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.requests)
}

// last returns the latest request that reached the upstream.
func (u *upstream) last(t testing.TB) *http.Request {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.requests) == 0 {
		t.Fatal("nothing reached the upstream")
	}
	return u.requests[len(u.requests)-1]
}

// records is a log handler that keeps what is logged, as text.
type records struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// setup is what a test may change about its system.
type setup struct {
	catalog string
	paths   catalog.PathPolicy
	options gateway.Options
	usage   usage.Options
	handler http.HandlerFunc // of the upstream, after it has recorded; nil: 200 and the sentence "upstream here"
	take    func(context.Context, lease.Call) (quota.Decision, error)
	sources []identity.Source // before the trusted headers
	now     func() time.Time
}

func start(t testing.TB, change ...func(*setup)) *system {
	t.Helper()
	s := &system{t: t, log: &records{}}
	s.seen = sync.NewCond(&s.mu)
	c := &setup{
		catalog: sample,
		now:     time.Now,
		handler: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "upstream here") },
	}
	c.options.UpstreamTimeout = 10 * time.Second
	for _, f := range change {
		f(c)
	}
	s.paths = c.paths
	s.apply(c.catalog)

	s.upstream = &upstream{}
	s.upstream.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.upstream.mu.Lock()
		s.upstream.requests = append(s.upstream.requests, r)
		s.upstream.mu.Unlock()
		c.handler(w, r)
	}))
	t.Cleanup(s.upstream.Close)

	rule, err := quota.NewDayRule("UTC", "00:00")
	must(t, err)
	ledger, err := embedledger.Open(embedledger.Options{Dir: t.TempDir(), Durability: embedledger.Process, MinFree: 1, Now: c.now})
	must(t, err)
	s.book, err = lease.Open(lease.Options{Ledger: ledger, Rule: rule, Day: rule.At(c.now()), Now: c.now, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() {
		must(t, s.book.Close(context.Background()))
		must(t, ledger.Close())
	})
	if c.take == nil {
		c.take = s.book.Take
	}

	headers, err := identity.NewHeaders(identity.HeaderOptions{
		Application: "X-App-Id", Member: "X-Member-Id", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	must(t, err)
	admitter, err := admit.New(admit.Options{
		Catalog: s.snapshot.Load, Callers: identity.New(append(c.sources, headers)...), Take: c.take, Now: c.now,
	})
	must(t, err)
	c.usage.Catalog, c.usage.Counters, c.usage.Now = s.snapshot.Load, counters{s.book}, c.now
	reader, err := usage.New(c.usage)
	must(t, err)

	o := c.options
	if o.Upstream == nil {
		o.Upstream, err = url.Parse(s.upstream.URL)
		must(t, err)
	}
	o.Admit, o.Usage, o.Now = admitter, reader, c.now
	o.Log = slog.New(slog.NewTextHandler(s.log, nil))
	o.Observe = func(seen gateway.Observation) {
		if s.quiet.Load() {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.observed = append(s.observed, seen)
		s.seen.Broadcast()
	}
	s.gateway, err = gateway.New(o)
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.address = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- s.gateway.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what a test left open is closed at once
		_ = s.gateway.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

// counters lets usage read from leases, as the program does.
type counters struct{ *lease.Book }

func (c counters) Application(ctx context.Context, application string) ([]usage.Counts, error) {
	read, err := c.Usage(ctx, application)
	counts := make([]usage.Counts, len(read))
	for i, u := range read {
		counts[i] = usage.Counts(u)
	}
	return counts, err
}

func (c counters) Member(ctx context.Context, application, member string, endpoints []string) ([]usage.MemberCounts, error) {
	read, err := c.MemberUsage(ctx, application, member, endpoints)
	counts := make([]usage.MemberCounts, len(read))
	for i, u := range read {
		counts[i] = usage.MemberCounts(u)
	}
	return counts, err
}

// apply makes a catalog hold.
func (s *system) apply(yaml string) {
	s.t.Helper()
	c, err := catalog.Parse("catalog.yaml", []byte(yaml), s.paths)
	must(s.t, err)
	snapshot, err := catalog.NewSnapshot(c, catalog.Options{Paths: s.paths})
	must(s.t, err)
	s.snapshot.Store(snapshot)
}

// observation waits until n requests have ended, and returns what became of the last of them.
func (s *system) observation(n int) gateway.Observation {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.observed) < n {
		s.seen.Wait()
	}
	return s.observed[n-1]
}

// used returns what the application acme has used of an endpoint.
func (s *system) used(endpoint string) lease.Usage {
	s.t.Helper()
	all, err := s.book.Usage(context.Background(), "acme")
	must(s.t, err)
	for _, u := range all {
		if u.Endpoint == endpoint {
			return u
		}
	}
	return lease.Usage{}
}

// reply is what a client got.
type reply struct {
	*http.Response
	body string
}

// do sends a request as application acme, and for a member where one is named.
func (s *system) do(method, target, member string) reply {
	s.t.Helper()
	r, err := http.NewRequest(method, "http://"+s.address+target, nil)
	must(s.t, err)
	r.Header.Set("X-App-Id", "acme")
	if member != "" {
		r.Header.Set("X-Member-Id", member)
	}
	return s.send(r)
}

func (s *system) send(r *http.Request) reply {
	s.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	res, err := client.Do(r)
	must(s.t, err)
	body, err := io.ReadAll(res.Body)
	must(s.t, err)
	must(s.t, res.Body.Close())
	return reply{res, string(body)}
}

// dial opens a connection to the gateway, for what net/http's client would not send.
func (s *system) dial() *wire {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.address)
	must(s.t, err)
	must(s.t, conn.SetDeadline(time.Now().Add(20*time.Second))) // a test that hangs fails instead
	s.t.Cleanup(func() { conn.Close() })
	return &wire{s.t, conn.(*net.TCPConn), bufio.NewReader(conn)}
}

// wire is a client's end of a connection.
type wire struct {
	t testing.TB
	*net.TCPConn
	reader *bufio.Reader
}

func (w *wire) send(text string) {
	w.t.Helper()
	_, err := io.WriteString(w, text)
	must(w.t, err)
}

// head reads an answer without its body.
func (w *wire) head() *http.Response {
	w.t.Helper()
	res, err := http.ReadResponse(w.reader, nil)
	must(w.t, err)
	return res
}

// reply reads a whole answer.
func (w *wire) reply() reply {
	w.t.Helper()
	res := w.head()
	body, err := io.ReadAll(res.Body)
	must(w.t, err)
	return reply{res, string(body)}
}

// raw sends one request line with headers, as application acme, on a connection of its own.
func (s *system) raw(line string, headers ...string) reply {
	s.t.Helper()
	w := s.dial()
	w.send(line + "\r\nHost: api.example\r\nX-App-Id: acme\r\nConnection: close\r\n")
	for _, h := range headers {
		w.send(h + "\r\n")
	}
	w.send("\r\n")
	return w.reply()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func styled(h answer.Headers) func(*setup) {
	return func(c *setup) { c.options.Answers = answer.Writer{Headers: h} }
}

func handled(h http.HandlerFunc) func(*setup) { return func(c *setup) { c.handler = h } }

// ask sends a request as acme, and returns the whole answer.
func ask(client *http.Client, method, url string, body io.Reader, headers ...string) (reply, error) {
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		return reply{}, err
	}
	r.Header.Set("X-App-Id", "acme")
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return reply{res, string(text)}, err
}
