package gateway_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// startUpstream starts an upstream that speaks the given versions of HTTP.
func startUpstream(t *testing.T, encrypt bool, h http.HandlerFunc, speak func(*http.Protocols)) *httptest.Server {
	t.Helper()
	up := httptest.NewUnstartedServer(h)
	up.Config.Protocols = new(http.Protocols)
	speak(up.Config.Protocols)
	if encrypt {
		up.EnableHTTP2 = up.Config.Protocols.HTTP2()
		up.StartTLS()
	} else {
		up.Start()
	}
	t.Cleanup(up.Close)
	return up
}

func TestUpstreamSpeaksHTTP2(t *testing.T) {
	together := make(chan struct{})
	var waiting atomic.Int64
	const many = 400 // more than an upstream takes on one connection
	up := startUpstream(t, false, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/together":
			if waiting.Add(1) == many {
				close(together)
			}
			<-together
		case "/socket":
			echo("websocket")(w, r)
			return
		}
		w.Header().Set("Trailer", "X-Sum")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Proto, r.Host, r.RequestURI, body)
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum"))
	}, func(p *http.Protocols) { p.SetHTTP1(true); p.SetUnencryptedHTTP2(true) })
	where, err := url.Parse(strings.Replace(up.URL, "http:", "h2c:", 1) + "/base")
	must(t, err)
	s := start(t, func(c *setup) { c.options.Upstream = where })
	if got := s.raw("GET /rest/posts/1?q HTTP/1.1"); got.StatusCode != 200 || got.body != "HTTP/2.0 api.example /base/rest/posts/1?q " {
		t.Errorf("%d %q", got.StatusCode, got.body)
	}
	w := s.dial()
	w.send("POST /t HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n")
	if got := w.reply(); got.body != "HTTP/2.0 a /base/t body" || got.Trailer.Get("X-Sum") != "42" {
		t.Errorf("%q, trailers %v", got.body, got.Trailer)
	}
	var group sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{}}
	for range many {
		group.Go(func() {
			if got, err := ask(client, "GET", "http://"+s.address+"/together", nil); err != nil || got.StatusCode != 200 {
				t.Errorf("%d %v", got.StatusCode, err)
			}
		})
	}
	group.Wait()
	client.CloseIdleConnections()
}

// TestUpgradeToAnUpstreamOfHTTP2 has an upgrade go to the upstream by HTTP/1.1, since HTTP/2 has none.
func TestUpgradeToAnUpstreamOfHTTP2(t *testing.T) {
	up := startUpstream(t, false, echo("websocket"), func(p *http.Protocols) { p.SetHTTP1(true); p.SetUnencryptedHTTP2(true) })
	where, err := url.Parse(strings.Replace(up.URL, "http:", "h2c:", 1))
	must(t, err)
	s := start(t, func(c *setup) { c.options.Upstream = where })
	conn, err := net.Dial("tcp", s.address)
	must(t, err)
	checkEcho(t, conn)
	s.observation(1)
}
