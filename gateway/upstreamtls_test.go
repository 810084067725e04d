package gateway_test

import (
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/gateway"
)

// startOverTLS starts a gateway before an upstream that speaks TLS, and HTTP/2 or HTTP/1.1. It reaches it by host, its address unless told.
func startOverTLS(t *testing.T, trust, http2 bool, host string, h http.HandlerFunc) *system {
	t.Helper()
	up := startUpstream(t, true, h, func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(http2) })
	where, err := url.Parse(up.URL)
	must(t, err)
	if host != "" {
		where.Host = net.JoinHostPort(host, where.Port())
	}
	s := start(t, func(c *setup) { c.options.Upstream = where })
	if trust {
		roots := x509.NewCertPool()
		roots.AddCert(up.Certificate())
		s.gateway.TrustUpstream(roots)
	}
	return s
}

// An upstream by https is spoken to in HTTP/2 where it agrees, and else in HTTP/1.1; trailers pass, also those of an answer that has no body.
func TestUpstreamOverTLS(t *testing.T) {
	for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(proto, func(t *testing.T) {
			s := startOverTLS(t, true, http2, "", func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/socket" {
					echo("websocket")(w, r)
					return
				}
				w.Header().Set("Content-Type", "application/grpc")
				w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
				body, _ := io.ReadAll(r.Body)
				if r.URL.Path != "/trailers" {
					fmt.Fprintf(w, "%s %s %t %s", r.Proto, r.Host, r.TLS != nil, body)
				}
				w.Header().Set("Grpc-Status", "5")
				w.Header().Set("Grpc-Message", "got "+r.Trailer.Get("X-Sum"))
			})
			for path, want := range map[string]string{"/t": proto + " api.example true body", "/trailers": ""} {
				w := s.dial()
				w.send("POST " + path + " HTTP/1.1\r\nHost: api.example\r\nX-App-Id: acme\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n")
				got := w.reply()
				if got.StatusCode != 200 || got.body != want || got.Trailer.Get("Grpc-Status") != "5" || got.Trailer.Get("Grpc-Message") != "got 42" {
					t.Errorf("%s: %d %q, trailers %v", path, got.StatusCode, got.body, got.Trailer)
				}
			}
			if http2 { // an upgrade goes by HTTP/1.1, TLS too
				conn, err := net.Dial("tcp", s.address)
				must(t, err)
				checkEcho(t, conn)
			}
			if log := s.log.String(); log != "" {
				t.Errorf("logged %s", log)
			}
		})
	}
}

// An upstream whose certificate nobody vouches for, or is for another name, is sent nothing: 502, and the log says why.
func TestUpstreamIsNotTrusted(t *testing.T) {
	for _, c := range []struct {
		name        string
		trust       bool
		host, wants string
	}{
		{"nobody vouches for it", false, "", "certificate signed by unknown authority"},
		{"another name", true, "localhost", "certificate is valid for"},
	} {
		t.Run(c.name, func(t *testing.T) {
			reached := make(chan struct{}, 10)
			s := startOverTLS(t, c.trust, true, c.host, func(http.ResponseWriter, *http.Request) { reached <- struct{}{} })
			got := s.do("GET", "/rest/posts/1", "")
			if got.StatusCode != 502 || strings.Contains(got.body, "certificate") {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
			if o := s.observation(1); o.Outcome != gateway.Unreachable {
				t.Errorf("observed %+v", o)
			}
			if log := s.log.String(); !strings.Contains(log, c.wants) {
				t.Errorf("logged %s", log)
			}
			if len(reached) > 0 {
				t.Error("the request was sent")
			}
		})
	}
}
