package gateway_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/gateway"
)

// TestSlowBody has a client send a byte now and then: it is told that it was too slow, the upstream is let go, and the connection is not
// used again, on which the rest of the body would look like a request.
func TestSlowBody(t *testing.T) {
	gone := make(chan struct{}, 2)
	by, files, _ := encrypted(t)
	handler := handled(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		<-r.Context().Done()
		gone <- struct{}{}
	})
	strict := func(c *setup) { c.options.Timeouts = gateway.Timeouts{Body: 50 * time.Millisecond, BodyRate: 1000} }

	s := start(t, strict, handler)
	w := s.dial()
	w.send("POST /upload HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nContent-Length: 300\r\n\r\nG")
	got := w.reply()
	if got.StatusCode != 408 || !strings.Contains(got.body, `"code":"REQUEST_TIMEOUT"`) || !got.Close || got.Header.Get("RateLimit") == "" {
		t.Errorf("%d %v %s", got.StatusCode, got.Header, got.body)
	}
	<-gone
	_, _ = io.WriteString(w, "ET /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
	if rest, _ := io.ReadAll(w.reader); len(rest) > 0 {
		t.Errorf("the rest of the body was answered: %s", rest)
	}
	if o := s.observation(1); o.Outcome != gateway.Abandoned || o.Status != 408 {
		t.Errorf("observed %+v", o)
	}
	if u := s.used("*"); u.Used != 1 {
		t.Errorf("used %+v", u)
	}

	s = start(t, by, strict, handler)
	client := tlsClient(t, files.roots(), true)
	reader, writer := io.Pipe()
	go func() { _, _ = writer.Write([]byte("x")) }()
	got, err := ask(client, "POST", "https://"+s.address+"/upload", reader)
	if err != nil || got.StatusCode != 408 || got.ProtoMajor != 2 {
		t.Errorf("HTTP/2: %d %v", got.StatusCode, err)
	}
	<-gone
	must(t, writer.Close())
	if got, err := ask(client, "GET", "https://"+s.address+"/perdiem/usage", nil); err != nil || got.StatusCode != 200 {
		t.Errorf("the connection's next call: %d %v", got.StatusCode, err)
	}
}

// TestSlowConversation lets a client be as slow as it likes once the upstream has begun to answer.
func TestSlowConversation(t *testing.T) {
	const limit = 50 * time.Millisecond
	s := start(t, func(c *setup) { c.options.Timeouts = gateway.Timeouts{Body: limit, BodyRate: 1_000_000} }, handled(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(w, r.Body)
	}))
	w := s.dial()
	w.send("POST /chat HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nContent-Length: 4\r\n\r\n")
	res := w.head()
	time.AfterFunc(3*limit, func() { _, _ = io.WriteString(w, "late") })
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "late" {
		t.Errorf("%q, %v", body, err)
	}
}

// TestUnwantedBody has a refused call's body come late: the connection serves the next request. When it does not come at all, the answer does, and
// the connection ends.
func TestUnwantedBody(t *testing.T) {
	const head = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n" // without a credential
	s := start(t)
	w := s.dial()
	for i := range 3 {
		w.send(head)
		s.observation(2*i + 1)
		w.send(strings.Repeat("b", 60) + "GET /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
		if got := w.reply(); got.StatusCode != 401 {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
		if got := w.reply(); got.StatusCode != 200 {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
	}
	if n := s.upstream.count(); n != 3 {
		t.Errorf("%d requests at the upstream", n)
	}

	s = start(t, func(c *setup) { c.options.Timeouts = gateway.Timeouts{Body: 50 * time.Millisecond} })
	w = s.dial()
	w.send(head)
	if got := w.reply(); got.StatusCode != 401 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	_, _ = io.WriteString(w, "GET /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n") // which is part of the body
	if rest, err := io.ReadAll(w.reader); len(rest) > 0 || s.upstream.count() > 0 {
		t.Errorf("answered: %s, %v", rest, err)
	}
}

// TestRestAfterTheAnswer has a client send the rest of its body when the upstream has answered long since: the connection ends, quietly.
func TestRestAfterTheAnswer(t *testing.T) {
	s := start(t, handled(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // it does not wait for the body
		http.Error(w, "no", http.StatusForbidden)
	}))
	w := s.dial()
	w.send("POST /upload HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nContent-Length: 60\r\n\r\nfirst bytes")
	if got := w.reply(); got.StatusCode != 403 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	s.observation(1)
	_, _ = io.WriteString(w, strings.Repeat("b", 49)+"GET /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
	if rest, err := io.ReadAll(w.reader); len(rest) > 0 || err != nil {
		t.Errorf("answered: %s, %v", rest, err)
	}
	if s.upstream.count() != 1 || s.log.String() != "" {
		t.Errorf("%d requests at the upstream, logged %s", s.upstream.count(), s.log)
	}
}

// TestAnswerNotTaken has a client read nothing of an answer without an end: the call ends in time, whatever was on the connection before.
func TestAnswerNotTaken(t *testing.T) {
	const head = " HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n"
	by, files, _ := encrypted(t)
	for _, test := range []struct {
		name    string
		over    func(*setup) // TLS, or nil
		before  bool         // another request, all of which is read
		request string
	}{
		{"the first request", nil, false, "GET /large" + head + "\r\n"},
		{"the second request", nil, true, "GET /large" + head + "\r\n"},
		{"an upgrade", nil, true, "GET /socket" + head + "Connection: Upgrade\r\nUpgrade: flood\r\n\r\n"},
		{"the first request over TLS", by, false, "GET /large" + head + "\r\n"},
		{"the second request over TLS", by, true, "GET /large" + head + "\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // each takes the time of an answer
			gone := make(chan struct{})
			s := start(t, func(c *setup) {
				if test.over != nil {
					test.over(c)
				}
				c.options.Timeouts = gateway.Timeouts{Answer: 2 * time.Second}
			}, handled(func(w http.ResponseWriter, r *http.Request) {
				var out io.Writer = w
				switch r.URL.Path {
				case "/large":
				case "/socket":
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: flood\r\n\r\n")
					out = conn
				default:
					return
				}
				_, _ = io.Copy(out, zeros{})
				close(gone)
			}))
			w := s.dial()
			conn := net.Conn(w.TCPConn)
			if test.over != nil {
				over := tls.Client(conn, &tls.Config{RootCAs: files.roots(), ServerName: "localhost", NextProtos: []string{"http/1.1"}})
				conn = over
				w.reader.Reset(over)
			}
			if test.before {
				_, err := io.WriteString(conn, "GET /small"+head+"\r\n")
				must(t, err)
				if got := w.reply(); got.StatusCode != 200 {
					t.Fatalf("%d %s", got.StatusCode, got.body)
				}
			}
			_, err := io.WriteString(conn, test.request)
			must(t, err)
			select {
			case <-gone:
			case <-time.After(15 * time.Second):
				t.Error("the upstream still writes")
			}
		})
	}
}
