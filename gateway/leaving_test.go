package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// TestHalfClosed has clients end their sending while their calls are under way, and read on: nobody answered, and they are told nothing.
func TestHalfClosed(t *testing.T) {
	arrived := make(chan struct{})
	upstream := handled(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	undecided := func(c *setup) {
		c.take = func(ctx context.Context, _ lease.Call) (quota.Decision, error) {
			arrived <- struct{}{}
			<-ctx.Done()
			return quota.Decision{}, ctx.Err()
		}
	}
	const get, post = "GET / HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nContent-Length: 2\r\n\r\nok"
	for _, test := range []struct {
		name    string
		change  func(*setup)
		request string
		outcome gateway.Outcome
	}{
		{"before the decision", undecided, get, gateway.Rejected},
		{"at the upstream", upstream, get, gateway.Abandoned},
		{"at the upstream, with a body", upstream, post, gateway.Abandoned},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, test.change)
			w := s.dial()
			w.send(test.request)
			<-arrived
			must(t, w.CloseWrite())
			if told, err := io.ReadAll(w.reader); len(told) > 0 || err != nil {
				t.Errorf("the client is told %q, %v", told, err)
			}
			if o := s.observation(1); o.Outcome != test.outcome || o.Status != 499 {
				t.Errorf("observed %+v", o)
			}
			if log := s.log.String(); log != "" {
				t.Errorf("logged %s", log)
			}
		})
	}
}

// timingOut is a system whose upstream never answers /slow, and answers anything else in two parts, the second once it is released.
func timingOut(t *testing.T, change ...func(*setup)) (s *system, release chan struct{}) {
	release = make(chan struct{})
	return start(t, append(change, func(c *setup) {
		c.options.UpstreamTimeout = 50 * time.Millisecond
		c.handler = func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-r.Context().Done()
				return
			}
			fmt.Fprint(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-release
			fmt.Fprint(w, ", last")
		}
	})...), release
}

// A stream of HTTP/2 that times out leaves the others on its connection alone.
func TestTimeOutOfAStream(t *testing.T) {
	by, files, _ := encrypted(t)
	s, release := timingOut(t, by)
	client := tlsClient(t, files.roots(), true)
	request, err := http.NewRequest("GET", "https://"+s.address+"/long", nil)
	must(t, err)
	request.Header.Set("X-App-Id", "acme")
	long, err := client.Do(request)
	must(t, err)
	defer long.Body.Close()
	_, err = io.ReadFull(long.Body, make([]byte, len("first")))
	must(t, err)
	if got, err := ask(client, "GET", "https://"+s.address+"/slow", nil); err != nil || got.StatusCode != 504 || got.ProtoMajor != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	close(release)
	if rest, err := io.ReadAll(long.Body); err != nil || string(rest) != ", last" {
		t.Errorf("the other answer ends with %q, %v", rest, err)
	}
	if got, err := ask(client, "GET", "https://"+s.address+"/next", nil); err != nil || got.StatusCode != 200 || got.body != "first, last" {
		t.Errorf("the next call: %+v, %v", got, err)
	}
}

// A connection of HTTP/1.1 ends with a call that timed out, however it is carried, and nothing that was sent behind it is charged.
func TestTimeOutOfAConnection(t *testing.T) {
	t.Run("TLS", func(t *testing.T) {
		by, files, _ := encrypted(t)
		s, _ := timingOut(t, by)
		client := tlsClient(t, files.roots(), false)
		for range 2 { // the second on a connection of its own
			if got, err := ask(client, "GET", "https://"+s.address+"/slow", nil); err != nil || got.StatusCode != 504 || !got.Close {
				t.Fatalf("%+v, %v", got, err)
			}
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		s, _ := timingOut(t)
		w := s.dial()
		w.send("GET /slow HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		if got := w.reply(); got.StatusCode != 504 || !got.Close {
			t.Fatalf("%d, closed: %t", got.StatusCode, got.Close)
		}
	})
	t.Run("pipelined", func(t *testing.T) {
		s, _ := timingOut(t)
		w := s.dial()
		w.send("GET /slow HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\nGET /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
		if got := w.reply(); got.StatusCode != 504 || !got.Close {
			t.Fatalf("%d, closed: %t", got.StatusCode, got.Close)
		}
		if told, _ := io.ReadAll(w.reader); len(told) > 0 { // how the connection ends is no matter
			t.Errorf("the call behind it is answered %q", told)
		}
		if sent, u := s.upstream.count(), s.used("posts.get"); sent != 1 || u.Used != 0 {
			t.Errorf("%d calls reached the upstream, and the one behind it was charged %d", sent, u.Used)
		}
	})
}
