package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// recorder is an upstream that reads what it is sent by a parser of its own, which takes nothing that any two servers could read
// differently, and keeps it. It answers 200.
type recorder struct {
	net.Listener
	running sync.WaitGroup

	mu       sync.Mutex
	received []received // guarded by mu: in the order in which they came
	faults   []error    // guarded by mu: what could not be read in one way only
	conns    []net.Conn // guarded by mu
}

// received is a request as it came.
type received struct {
	method, target string
	header         http.Header
	body           string
	whole          bool // its body came to its end
}

// String returns what an upstream acts on.
func (r received) String() string {
	return strings.TrimSpace(r.method + " " + r.target + " " + r.body)
}

func newRecorder(t testing.TB) *recorder {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	u := &recorder{Listener: l}
	u.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			u.mu.Lock()
			u.conns = append(u.conns, conn)
			u.mu.Unlock()
			u.running.Go(func() { u.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		u.mu.Lock()
		for _, c := range u.conns {
			c.Close()
		}
		u.mu.Unlock()
		u.running.Wait()
	})
	return u
}

func (u *recorder) url() *url.URL { return &url.URL{Scheme: "http", Host: u.Addr().String()} }

func (u *recorder) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 1<<20)
	for {
		r, framing, err := readHead(in)
		if err != nil {
			if !errors.Is(err, errEnded) {
				u.mu.Lock()
				u.faults = append(u.faults, err)
				u.mu.Unlock()
			}
			return
		}
		u.mu.Lock()
		u.received = append(u.received, r)
		at := len(u.received) - 1
		u.mu.Unlock()
		body, err := framing.read(in)
		u.mu.Lock()
		if at < len(u.received) {
			u.received[at].body, u.received[at].whole = body, err == nil
		}
		if err != nil && !errors.Is(err, errEnded) {
			u.faults = append(u.faults, err)
		}
		u.mu.Unlock()
		if err != nil {
			return
		}
		answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
		if r.method == "HEAD" {
			answer = strings.TrimSuffix(answer, "ok")
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

// take returns what came since it was last called.
func (u *recorder) take() ([]received, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	all, err := u.received, errors.Join(u.faults...)
	u.received, u.faults = nil, nil
	return all, err
}

// errEnded says that the gateway closed the connection.
var errEnded = errors.New("the connection ended")

var (
	requestLine = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Z-]+) (/[^\\x00-\\x20\\x7f#]*) HTTP/1\\.1$")
	fieldLine   = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ((?:[^\\x00-\\x20\\x7f](?:[^\\x00-\\x08\\x0a-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?)?)$")
	decimal     = regexp.MustCompile(`^[0-9]{1,18}$`)
	chunkSize   = regexp.MustCompile(`^[0-9a-f]{1,15}$`)
)

// framing says how long a body is: of a length, or in chunks.
type framing struct {
	length  int64
	chunked bool
}

func readHead(in *bufio.Reader) (r received, f framing, err error) {
	line, err := readLine(in)
	if err != nil {
		return r, f, err
	}
	parts := requestLine.FindStringSubmatch(line)
	if parts == nil {
		return r, f, fmt.Errorf("the request line %q", line)
	}
	r = received{method: parts[1], target: parts[2], header: http.Header{}}
	for {
		if line, err = readLine(in); err != nil {
			return r, f, err
		}
		if line == "" {
			break
		}
		field := fieldLine.FindStringSubmatch(line)
		if field == nil {
			return r, f, fmt.Errorf("the header line %q", line)
		}
		r.header.Add(field[1], field[2])
	}
	lengths, codings := r.header["Content-Length"], r.header["Transfer-Encoding"]
	switch {
	case len(r.header["Host"]) != 1:
		return r, f, fmt.Errorf("%d hosts", len(r.header["Host"]))
	case len(lengths)+len(codings) > 1:
		return r, f, fmt.Errorf("lengths %q and codings %q", lengths, codings)
	case len(codings) == 1 && codings[0] != "chunked":
		return r, f, fmt.Errorf("the coding %q", codings[0])
	case len(lengths) == 1 && !decimal.MatchString(lengths[0]):
		return r, f, fmt.Errorf("the length %q", lengths[0])
	case len(lengths) == 1:
		f.length, err = strconv.ParseInt(lengths[0], 10, 64)
	}
	f.chunked = len(codings) == 1
	return r, f, err
}

func (f framing) read(in *bufio.Reader) (string, error) {
	var body strings.Builder
	if !f.chunked {
		_, err := io.CopyN(&body, in, f.length)
		if err != nil {
			err = errEnded
		}
		return body.String(), err
	}
	for {
		line, err := readLine(in)
		if err != nil {
			return body.String(), err
		}
		if !chunkSize.MatchString(line) {
			return body.String(), fmt.Errorf("the size of a chunk %q", line)
		}
		size, err := strconv.ParseInt(line, 16, 64)
		if err != nil {
			return body.String(), err
		}
		if size == 0 {
			for line = "."; line != ""; { // trailers
				if line, err = readLine(in); err != nil {
					return body.String(), err
				}
			}
			return body.String(), nil
		}
		if _, err := io.CopyN(&body, in, size); err != nil {
			return body.String(), errEnded
		}
		if line, err = readLine(in); err != nil || line != "" {
			return body.String(), errors.Join(err, fmt.Errorf("%q behind a chunk", line))
		}
	}
}

// readLine reads a line that ends with CR LF, and holds neither elsewhere.
func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", errEnded
	}
	text, ended := strings.CutSuffix(line, "\r\n")
	if !ended || strings.ContainsAny(text, "\r\x00") {
		return "", fmt.Errorf("the line %q", line)
	}
	return text, nil
}

// metered is a gateway before a recorder, which keeps the endpoints that were charged.
type metered struct {
	*system
	recorder *recorder

	mu      sync.Mutex
	charged map[string]int // guarded by mu: by endpoint, calls that have not reached the upstream
}

// many is a catalog in which each spelling could lead elsewhere.
const many = `
endpoints:
  - {id: list, match: GET /rest/posts}
  - {id: find, match: GET /rest/posts, when: {query: {q: author}}}
  - {id: finder, match: GET /rest/posts, when: {header: {X-RestLi-Method: FINDER}}}
  - {id: find.both, match: GET /rest/posts, when: {query: {q: author}, header: {X-RestLi-Method: FINDER}}}
  - {id: create, match: POST /rest/posts}
  - {id: post, match: "/rest/posts/{id}"}
  - {id: post.put, match: "PUT /rest/posts/{id}"}
  - {id: encoded, match: "GET /rest/posts/urn%3Ali%3A1"}
  - {id: admin, match: /admin/}
  - {id: admin.x, match: /admin/x}
catch_all: {}
applications: [{id: acme}]
`

func startMetered(t testing.TB, paths catalog.PathPolicy, change ...func(*setup)) *metered {
	m := &metered{recorder: newRecorder(t), charged: map[string]int{}}
	m.system = start(t, append([]func(*setup){func(c *setup) {
		c.catalog, c.paths = many, paths
		c.options.Upstream = m.recorder.url()
		c.take = func(ctx context.Context, call lease.Call) (quota.Decision, error) {
			d, err := m.book.Take(ctx, call)
			if err == nil && d.Admitted() {
				m.mu.Lock()
				m.charged[call.Endpoint]++
				m.mu.Unlock()
			}
			return d, err
		}
	}}, change...)...)
	return m
}

// stop ends the gateway, and waits until the upstream has read all that it was sent.
func (m *metered) stop() {
	must(m.t, m.gateway.Shutdown(context.Background()))
	must(m.t, m.recorder.Close())
	m.recorder.running.Wait()
}

// settle returns what the upstream was sent since it was last called. It fails the test unless each request that reached the upstream was one
// that can be read in one way, and that was charged before, once, to the endpoint that it meets in a snapshot of its own. What is charged need not have
// reached the upstream yet: a request that was given up may do so late, or never.
func (m *metered) settle(t testing.TB, what string) []received {
	t.Helper()
	all, err := m.recorder.take()
	if err != nil {
		t.Errorf("%s: the upstream was sent what could be read in two ways: %v", what, err)
	}
	c, err := catalog.Parse("catalog.yaml", []byte(many), m.paths)
	must(t, err)
	snapshot, err := catalog.NewSnapshot(c, catalog.Options{Paths: m.paths})
	must(t, err)
	for _, r := range all {
		path, query, _ := strings.Cut(r.target, "?")
		for _, name := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url"} {
			if r.header.Get(name) != "" {
				t.Errorf("%s: the upstream was sent %s with %s, by which it may serve another", what, r, name)
			}
		}
		p, err := snapshot.NormalizePath(path)
		if err != nil || p.Forward != path {
			t.Errorf("%s: the upstream was sent %s, which is not its one spelling: %+q, %v", what, r, p, err)
			continue
		}
		e, err := snapshot.Match(p, r.method, r.header, query)
		if err != nil {
			t.Errorf("%s: the upstream was sent %s, which would not be decided: %v", what, r, err)
			continue
		}
		if told := r.header.Get("X-Perdiem-Endpoint"); told != e.ID {
			t.Errorf("%s: the upstream was sent %s as a call to %s; it is one to %s", what, r, told, e.ID)
		}
		m.mu.Lock()
		if m.charged[e.ID]--; m.charged[e.ID] < 0 {
			t.Errorf("%s: the upstream was sent %s, a call to %s more than were charged", what, r, e.ID)
		}
		m.mu.Unlock()
	}
	return all
}
