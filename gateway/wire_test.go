package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/gateway"
)

func TestUpstreamDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	nobody := l.Addr().String()
	must(t, l.Close())
	s := start(t, func(c *setup) { c.options.Upstream = &url.URL{Scheme: "http", Host: nobody} })
	got := s.do("GET", "/rest/posts/1", "m-secret")
	if got.StatusCode != 502 || !strings.Contains(got.body, `"code":"BAD_GATEWAY"`) || strings.Contains(got.body, nobody) || strings.Contains(got.body, "dial") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if got.Header.Get("RateLimit") == "" {
		t.Error("the call was charged, and its caller is not told what is left")
	}
	if o := s.observation(1); o.Outcome != gateway.Unreachable || o.Status != 502 {
		t.Errorf("observed %+v", o)
	}
	if u := s.used("posts.get"); u.Used != 1 {
		t.Errorf("used %+v", u)
	}
	for range 20 {
		s.do("GET", "/rest/posts/1", "m-secret")
	}
	if log := s.log.String(); !strings.Contains(log, "connection refused") || strings.Contains(log, "m-secret") || strings.Count(log, "\n") > 10 {
		t.Errorf("logged %s", log)
	}
}

func TestUpstreamTimesOut(t *testing.T) {
	release := make(chan struct{})
	s := start(t, func(c *setup) {
		c.options.UpstreamTimeout = 30 * time.Millisecond
		c.handler = func(http.ResponseWriter, *http.Request) { <-release }
	})
	defer close(release)
	got := s.do("GET", "/rest/posts/1", "")
	if got.StatusCode != 504 || !strings.Contains(got.body, `"code":"GATEWAY_TIMEOUT"`) {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if o := s.observation(1); o.Outcome != gateway.TimedOut || o.Status != 504 {
		t.Errorf("observed %+v", o)
	}
	if next := s.do("GET", "/perdiem/usage", ""); !got.Close || next.StatusCode != 200 {
		t.Errorf("the connection of a call that timed out stays open (%t), or is used again: %d %s", !got.Close, next.StatusCode, next.body)
	}
	// A body that fits into the connection's buffers is sent; one that does not is not taken. Either way time is up.
	for _, size := range []int{10, 64 << 20} {
		r, err := http.NewRequest("POST", "http://"+s.address+"/other", strings.NewReader(strings.Repeat("x", size)))
		must(t, err)
		r.Header.Set("X-App-Id", "acme")
		r.Header.Set("Expect", "100-continue") // lets the client stop sending once it is answered
		if size > 1000 {
			r.Header.Del("Expect")
		}
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err == nil {
			res.Body.Close()
			if res.StatusCode != 504 {
				t.Errorf("%d bytes: %s", size, res.Status)
			}
		}
		// The client may have been cut off while it was sending; the gateway knows in any case.
	}
	for n := 3; n <= 4; n++ {
		if o := s.observation(n); o.Outcome != gateway.TimedOut || o.Status != 504 {
			t.Errorf("observed %+v", o)
		}
	}
}

// TestAnswerMayTakeLong checks that the time limit is to the first byte of the answer, not to its last.
func TestAnswerMayTakeLong(t *testing.T) {
	const limit = 300 * time.Millisecond
	goOn := make(chan struct{})
	s := start(t, func(c *setup) {
		c.options.UpstreamTimeout = limit
		c.handler = func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-goOn
			fmt.Fprint(w, ", last")
		}
	})
	w := s.dial()
	w.send("POST /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nContent-Length: 2\r\n\r\nok")
	res := w.head()
	first := make([]byte, 5)
	_, err := io.ReadFull(res.Body, first)
	must(t, err)
	time.AfterFunc(2*limit, func() { close(goOn) })
	rest, err := io.ReadAll(res.Body)
	if err != nil || string(first)+string(rest) != "first, last" {
		t.Errorf("%s%s, %v", first, rest, err)
	}
}

func TestUpstreamBreaksOff(t *testing.T) {
	cut := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/late") {
			fmt.Fprint(w, "ten bytes.")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}
	s := start(t, handled(cut))
	if got := s.do("POST", "/early", ""); got.StatusCode != 502 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if o := s.observation(1); o.Outcome != gateway.Unreachable || o.Status != 502 {
		t.Errorf("observed %+v", o)
	}
	w := s.dial()
	w.send("GET /late HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
	res := w.head()
	body, err := io.ReadAll(res.Body)
	if string(body) != "ten bytes." || err == nil {
		t.Errorf("a cut answer looks whole: %q, %v", body, err)
	}
	if o := s.observation(2); o.Outcome != gateway.Unreachable || o.Status != 200 {
		t.Errorf("observed %+v", o)
	}
}

func TestUpstreamAnswersNonsense(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(conn).ReadString('\n')
			fmt.Fprint(conn, "this is not HTTP\r\n\r\n")
			conn.Close()
		}
	}()
	s := start(t, func(c *setup) { c.options.Upstream = &url.URL{Scheme: "http", Host: l.Addr().String()} })
	if got := s.do("GET", "/rest/posts/1", ""); got.StatusCode != 502 || strings.Contains(got.body, "not HTTP") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// TestBodyCutShort lets a client promise more than it sends. That is the client's fault, and the call stays charged.
func TestBodyCutShort(t *testing.T) {
	broken := make(chan error, 2)
	s := start(t, handled(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		broken <- err
	}))
	for i, framing := range []string{"Content-Length: 100\r\n\r\nten bytes.", "Transfer-Encoding: chunked\r\n\r\n64\r\nten bytes."} {
		w := s.dial()
		w.send("POST /rest/posts HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n" + framing)
		must(t, w.CloseWrite())
		if got := w.reply(); got.StatusCode != 400 || !strings.Contains(got.body, `"code":"BAD_REQUEST"`) {
			t.Errorf("%d %s", got.StatusCode, got.body)
		}
		if err := <-broken; err == nil {
			t.Error("the upstream took the cut body for a whole one")
		}
		if o := s.observation(i + 1); o.Outcome != gateway.Abandoned || o.Status != 400 {
			t.Errorf("observed %+v", o)
		}
	}
	if u := s.used("posts.create"); u.Used != 2 {
		t.Errorf("used %+v", u)
	}
	if log := s.log.String(); log != "" {
		t.Errorf("logged as a failure: %s", log)
	}
}

func TestMalformedChunks(t *testing.T) {
	s := start(t, handled(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) }))
	w := s.dial()
	w.send("POST /rest/posts HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n\r\n")
	if got := w.reply(); got.StatusCode != 400 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// TestClientLeaves checks that a client that goes away is no failure of the upstream, which learns of it.
func TestClientLeaves(t *testing.T) {
	arrived, gone := make(chan struct{}), make(chan struct{}, 2)
	s := start(t, handled(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			fmt.Fprint(w, "begun")
			_ = http.NewResponseController(w).Flush()
		}
		arrived <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	}))
	for i, path := range []string{"/early", "/late"} {
		w := s.dial()
		w.send("GET " + path + " HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
		<-arrived
		must(t, w.Close())
		<-gone
		o := s.observation(i + 1)
		if o.Outcome != gateway.Abandoned || path == "/early" && o.Status != 499 {
			t.Errorf("%s: observed %+v", path, o)
		}
	}
	if log := s.log.String(); log != "" {
		t.Errorf("logged as a failure: %s", log)
	}
	if u := s.used("*"); u.Used != 2 {
		t.Errorf("used %+v", u)
	}
}

// echo is an upstream that switches to another protocol and sends back each line.
func echo(protocol string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nX-Custom: kept\r\n\r\n", protocol)
		rw.Flush()
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprintf(rw, "echo %s", line)
			rw.Flush()
		}
	}
}

func TestUpgrade(t *testing.T) {
	s := start(t, handled(echo("websocket")))
	w := s.dial()
	w.send("GET /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n")
	res := w.head()
	if res.StatusCode != 101 || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket") || res.Header.Get("RateLimit") == "" || res.Header.Get("X-Custom") != "kept" {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	for _, line := range []string{"one", "two", "three"} {
		w.send(line + "\n")
		got, err := w.reader.ReadString('\n')
		if err != nil || got != "echo "+line+"\n" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	r := s.upstream.last(t)
	if r.Header.Get("Upgrade") != "WebSocket" || r.Header.Get("Connection") != "Upgrade" || r.Header.Get("Sec-WebSocket-Key") != "k" || r.Header.Get("X-Perdiem-Endpoint") != "posts.get" {
		t.Errorf("the upstream got %v", r.Header)
	}
	must(t, w.CloseWrite())
	if rest, err := io.ReadAll(w.reader); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
	if o := s.observation(1); o.Outcome != gateway.Admitted || o.Status != 101 {
		t.Errorf("observed %+v", o)
	}
	if u := s.used("posts.get"); u.Used != 1 {
		t.Errorf("used %+v: an upgraded connection is one call", u)
	}
}

// TestUpgradeToHTTP checks that no connection is turned into one on which requests would go uncounted.
func TestUpgradeToHTTP(t *testing.T) {
	s := start(t)
	for _, protocol := range []string{"h2c", "H2C", "websocket, h2c", "HTTP/2.0", "TLS/1.0", "h2"} {
		w := s.dial()
		w.send("GET / HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: " + protocol + "\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
		if res := w.head(); res.StatusCode != 200 {
			t.Errorf("%s: %s", protocol, res.Status)
		}
		r := s.upstream.last(t)
		for _, name := range []string{"Upgrade", "Connection", "Http2-Settings"} {
			if r.Header.Get(name) != "" {
				t.Errorf("%s: the upstream got %s: %s", protocol, name, r.Header.Get(name))
			}
		}
	}
}

func TestUpgradeThatWasNotAskedFor(t *testing.T) {
	for _, granted := range []string{"h2c", ""} {
		s := start(t, handled(echo(granted)))
		if got := s.raw("GET / HTTP/1.1"); got.StatusCode != 502 {
			t.Errorf("%q granted unasked: %s", granted, got.Status)
		}
		w := s.dial()
		w.send("GET / HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		if res := w.head(); res.StatusCode != 502 {
			t.Errorf("%q granted for websocket: %s", granted, res.Status)
		}
	}
}

// TestUpgradeRefused checks that a refused upgrade is answered as any other call, and never reaches the upstream.
func TestUpgradeRefused(t *testing.T) {
	s := start(t, handled(echo("websocket")))
	for range 5 {
		s.do("POST", "/rest/posts", "")
	}
	w := s.dial()
	before := s.upstream.count()
	w.send("POST /rest/posts HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if res := w.head(); res.StatusCode != 429 || s.upstream.count() != before {
		t.Errorf("%s", res.Status)
	}
}

func TestServerSentEvents(t *testing.T) {
	next := make(chan struct{})
	s := start(t, handled(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}))
	w := s.dial()
	w.send("GET /events HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
	events := bufio.NewReader(w.head().Body)
	for i := range 3 { // each arrives while the upstream is waiting to send the next
		if line, err := events.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("%q, %v", line, err)
		}
		_, err := events.ReadString('\n')
		must(t, err)
		next <- struct{}{}
	}
}

// TestBothWaysAtOnce sends a body piece by piece, each after the answer to the one before.
func TestBothWaysAtOnce(t *testing.T) {
	s := start(t, handled(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		lines := bufio.NewReader(r.Body)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprintf(w, "echo %s", line)
			_ = http.NewResponseController(w).Flush()
		}
	}))
	w := s.dial()
	w.send("POST /chat HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nTransfer-Encoding: chunked\r\n\r\n")
	var answers *bufio.Reader
	for _, line := range []string{"one\n", "two\n", "three\n"} {
		w.send(fmt.Sprintf("%x\r\n%s\r\n", len(line), line))
		if answers == nil {
			answers = bufio.NewReader(w.head().Body)
		}
		if got, err := answers.ReadString('\n'); err != nil || got != "echo "+line {
			t.Fatalf("%q, %v", got, err)
		}
	}
	w.send("0\r\n\r\n")
	if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	// The connection serves the next request.
	w.send("GET /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nContent-Length: 0\r\n\r\n")
	if res := w.head(); res.StatusCode != 200 {
		t.Errorf("next: %s", res.Status)
	}
}

// TestEarlyAnswer lets the upstream answer before the client has sent its body.
func TestEarlyAnswer(t *testing.T) {
	s := start(t, handled(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	}))
	w := s.dial()
	w.send("POST /upload HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nContent-Length: 1000000\r\n\r\nfirst bytes")
	if got := w.reply(); got.StatusCode != 413 || got.body != "too large\n" {
		t.Errorf("%d %q", got.StatusCode, got.body)
	}
	if o := s.observation(1); o.Outcome != gateway.Admitted || o.Status != 413 {
		t.Errorf("observed %+v", o)
	}
}

func TestLargeBodies(t *testing.T) {
	s := start(t, handled(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	}))
	const size = 8 << 20
	for _, length := range []int64{size, -1} {
		r, err := http.NewRequest("POST", "http://"+s.address+"/echo", io.LimitReader(zeros{}, size))
		must(t, err)
		r.ContentLength = length
		r.Header.Set("X-App-Id", "acme")
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		must(t, err)
		n, err := io.Copy(io.Discard, res.Body)
		must(t, errors.Join(err, res.Body.Close()))
		if n != size || s.upstream.last(t).ContentLength != length {
			t.Errorf("%d of %d bytes came back; the upstream was told %d", n, size, s.upstream.last(t).ContentLength)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestTrailers(t *testing.T) {
	arrived := make(chan http.Header, 1)
	s := start(t, handled(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- r.Trailer
		fmt.Fprint(w, "body")
		w.Header().Set("X-Announced", "one")
		w.Header().Set(http.TrailerPrefix+"X-Unannounced", "two")
	}))
	w := s.dial()
	w.send("POST /t HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n" +
		"Trailer: X-Sum, X-Perdiem-Member, X_Perdiem_Member, X-Member-Id\r\n\r\n4\r\nbody\r\n0\r\n" +
		"X-Sum: 42\r\nX-Perdiem-Member: forged\r\nX_Perdiem_Member: forged\r\nX-Member-Id: forged\r\nX-Perdiem-Application: forged\r\n\r\n")
	got := w.reply()
	if diff := cmp.Diff(http.Header{"X-Sum": {"42"}}, <-arrived); diff != "" {
		t.Errorf("the upstream's trailers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(http.Header{"X-Announced": {"one"}, "X-Unannounced": {"two"}}, got.Trailer); diff != "" {
		t.Errorf("the client's trailers (-want +got):\n%s", diff)
	}
}

func TestExpectContinue(t *testing.T) {
	s := start(t, handled(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusContinue) // once more, and for nothing: net/http's server said so when the body was read
		fmt.Fprintf(w, "got %s", body)
	}))
	ask := func(path string) *wire {
		w := s.dial()
		w.send("POST " + path + " HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
		return w
	}
	w := ask("/rest/posts")
	line, err := textproto.NewReader(w.reader).ReadLine()
	must(t, err)
	if line != "HTTP/1.1 100 Continue" {
		t.Fatalf("%q", line)
	}
	_, err = w.reader.ReadString('\n')
	must(t, err)
	w.send("body")
	if got := w.reply(); got.StatusCode != 200 || got.body != "got body" { // and no second 100
		t.Errorf("%d %q", got.StatusCode, got.body)
	}
	// Whoever says no says so before the body is sent.
	if got := ask("/no").reply(); got.StatusCode != 403 {
		t.Errorf("the upstream's no: %s", got.Status)
	}
	for range 4 {
		s.do("POST", "/rest/posts", "")
	}
	if got := ask("/rest/posts").reply(); got.StatusCode != 429 {
		t.Errorf("the gateway's no: %s", got.Status)
	}
}

func TestEarlyHints(t *testing.T) {
	s := start(t, handled(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		fmt.Fprint(w, "body")
	}))
	w := s.dial()
	w.send("GET / HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
	hints := w.head()
	if hints.StatusCode != 103 || hints.Header.Get("Link") == "" || hints.Header.Get("RateLimit") != "" {
		t.Errorf("%s %v", hints.Status, hints.Header)
	}
	if got := w.reply(); got.StatusCode != 200 || got.body != "body" || got.Header.Get("RateLimit") == "" {
		t.Errorf("%d %v", got.StatusCode, got.Header)
	}
}

// TestShutdown stops a gateway with a request under way and an upgraded connection open.
func TestShutdown(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s := start(t, handled(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/socket" {
			echo("websocket")(w, r)
			return
		}
		close(arrived)
		<-release
		fmt.Fprint(w, "the end")
	}))
	socket := s.dial()
	socket.send("GET /socket HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if res := socket.head(); res.StatusCode != 101 {
		t.Fatal(res.Status)
	}
	slow := s.dial()
	slow.send("GET /slow HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
	<-arrived

	stopped := make(chan error)
	go func() { stopped <- s.gateway.Shutdown(context.Background()) }()
	for { // until it listens no more
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			break
		}
		conn.Close()
		runtime.Gosched()
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request under way: %v", err)
	default:
	}
	close(release)
	if got := slow.reply(); got.StatusCode != 200 || got.body != "the end" {
		t.Errorf("%d %q", got.StatusCode, got.body)
	}
	must(t, <-stopped)
	if rest, err := io.ReadAll(socket.reader); len(rest) > 0 {
		t.Errorf("the upgraded connection: %q, %v", rest, err)
	}
	s.observation(2)
}

// TestUpgradeAfterTheStop has an upgrade decided after the gateway stopped: it is refused, and not charged.
func TestUpgradeAfterTheStop(t *testing.T) {
	s := start(t)
	must(t, s.gateway.Shutdown(t.Context()))
	r := httptest.NewRequest("GET", "/rest/posts/1", nil)
	r.RemoteAddr = "127.0.0.1:1"
	r.Header = http.Header{"X-App-Id": {"acme"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	w := httptest.NewRecorder()
	s.gateway.ServeHTTP(w, r)
	if w.Code != 503 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if u := s.used("posts.get"); u.Used != 0 {
		t.Errorf("charged all the same: %+v", u)
	}
}

func TestShutdownInTime(t *testing.T) {
	arrived := make(chan struct{})
	s := start(t, handled(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done() // an endless answer, until the gateway gives it up
	}))
	w := s.dial()
	w.send("GET /slow HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
	<-arrived
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.gateway.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := io.ReadAll(w.reader); err != nil && !errors.Is(err, io.EOF) {
		if _, reset := errors.AsType[*net.OpError](err); !reset {
			t.Errorf("%v", err)
		}
	}
}

func TestOutcomeNames(t *testing.T) {
	seen := map[string]bool{}
	for o := gateway.Rejected; o <= gateway.Preflight; o++ {
		seen[o.String()] = true
	}
	if len(seen) != 8 || seen[""] {
		t.Errorf("names %v", slices.Sorted(maps.Keys(seen)))
	}
}
