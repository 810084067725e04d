package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/perdiem/perdiem/gateway"
)

// breakingUpstream answers each request with the bytes that its path names, and ends the connection.
func breakingUpstream(t *testing.T, answers map[string]string) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.WriteString(conn, answers[r.URL.Path])
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

// TestUpstreamBreaksOffAnywhere has an upstream break its answer off at many places. Where the client was sent nothing yet it is answered 502, and else
// it is told that the answer is not whole. Both are logged.
func TestUpstreamBreaksOffAnywhere(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nX-Of-Upstream: 1\r\nContent-Type: text/plain\r\nSet-Cookie: a=b\r\n"
	const never, inTheMiddle = "could not be reached, or broke off", "broke off in the middle of its answer"
	tests := []struct {
		name   string
		answer string
		status int
		body   string // of what came of an answer that was cut
		logged string
	}{
		{"before it says anything", "", 502, "", never},
		{"in its headers", head[:30], 502, "", never},
		{"after its headers", head + "Content-Length: 10\r\n\r\n", 502, "", inTheMiddle},
		{"in a short body", head + "Content-Length: 10\r\n\r\nhello", 502, "", inTheMiddle},
		{"at the beginning of a long body", head + "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 3000), 502, "", inTheMiddle},
		{"late in a long body", head + "Content-Length: 100000\r\n\r\n" + strings.Repeat("x", 60_000), 200, strings.Repeat("x", 60_000), inTheMiddle},
		{"after a chunk", head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 200, "hello", inTheMiddle},
		{"in a chunk", head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo", 200, "hellowo", inTheMiddle},
		{"after a chunk that is none", head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n", 200, "hello", inTheMiddle},
		{"with a status that is none", "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n", 502, "", never},
	}
	answers := map[string]string{}
	for i, test := range tests {
		answers[fmt.Sprintf("/%d", i)] = test.answer
	}
	upstream := breakingUpstream(t, answers)
	by, files, _ := encrypted(t)
	for _, http2 := range []bool{false, true} {
		for i, test := range tests {
			t.Run(fmt.Sprintf("%s/http2=%t", test.name, http2), func(t *testing.T) {
				s := start(t, by, func(c *setup) { c.options.Upstream = upstream })
				got, err := ask(tlsClient(t, files.roots(), http2), "POST", fmt.Sprintf("https://%s/%d", s.address, i), strings.NewReader("body"))
				if got.Response == nil {
					t.Fatal(err)
				}
				if got.StatusCode != test.status {
					t.Fatalf("%d %s, %v", got.StatusCode, got.body, err)
				}
				if test.status == 502 {
					if err != nil || !strings.Contains(got.body, `"code":"BAD_GATEWAY"`) || got.Header.Get("Content-Type") != "application/problem+json" ||
						got.Header.Get("RateLimit") == "" || got.Header.Get("X-Of-Upstream") != "" || got.Header.Get("Set-Cookie") != "" {
						t.Errorf("%v %s, %v", got.Header, got.body, err)
					}
				} else if err == nil || got.body != test.body {
					t.Errorf("a cut answer looks whole, or lacks something: %d bytes, %v", len(got.body), err)
				}
				if o := s.observation(1); o.Outcome != gateway.Unreachable || o.Status != test.status {
					t.Errorf("observed %+v", o)
				}
				if log := s.log.String(); !strings.Contains(log, test.logged) || strings.Count(log, "\n") != 1 {
					t.Errorf("logged %q, want %q", log, test.logged)
				}
				if u := s.used("*"); u.Used != 1 {
					t.Errorf("used %+v", u)
				}
			})
		}
	}
}

// TestWholeAnswersAreNotHeld has answers of all sizes come in pieces: they pass whole, and none of what is flushed waits.
func TestWholeAnswersAreNotHeld(t *testing.T) {
	s := start(t, handled(func(w http.ResponseWriter, r *http.Request) {
		var size, piece int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d/%d", &size, &piece)
		w.Header().Set("Content-Length", fmt.Sprint(size))
		for size > 0 {
			n := min(size, piece)
			_, _ = io.WriteString(w, strings.Repeat("x", n))
			_ = http.NewResponseController(w).Flush()
			size -= n
		}
	}))
	for _, size := range []int{0, 1, 10, 4095, 4096, 4097, 9000, 100_000} {
		for _, piece := range []int{1000, 4096, 100_000} {
			path := fmt.Sprintf("/%d/%d", size, piece)
			if got := s.do("GET", path, ""); got.StatusCode != 200 || len(got.body) != size || got.ContentLength != int64(size) {
				t.Errorf("%s: %d, %d bytes of %d", path, got.StatusCode, len(got.body), got.ContentLength)
			}
			if got := s.do("HEAD", path, ""); got.StatusCode != 200 || got.body != "" || got.ContentLength != int64(size) {
				t.Errorf("HEAD %s: %d, %q of %d", path, got.StatusCode, got.body, got.ContentLength)
			}
		}
	}
}

// TestClientLeavesInTheMiddle checks that the log says nothing of an upstream whose answer a client no longer wanted.
func TestClientLeavesInTheMiddle(t *testing.T) {
	gone := make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(up.Close)
	where, err := url.Parse(up.URL)
	must(t, err)
	s := start(t, func(c *setup) { c.options.Upstream = where })
	w := s.dial()
	w.send("GET /x HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
	_, err = io.ReadFull(w.head().Body, make([]byte, 5))
	must(t, err)
	must(t, w.Close())
	<-gone
	if o := s.observation(1); o.Outcome != gateway.Abandoned || o.Status != 200 {
		t.Errorf("observed %+v", o)
	}
	if log := s.log.String(); log != "" {
		t.Errorf("logged %s", log)
	}
}
