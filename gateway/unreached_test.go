package gateway

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"time"
)

// Protection is told apart that an upstream cannot be reached, and that it does not answer.
func TestIsUnreached(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	breaks := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	plain := httptest.NewServer(breaks)
	t.Cleanup(plain.Close)
	encrypted := httptest.NewUnstartedServer(breaks)
	encrypted.Config.ErrorLog = log.New(io.Discard, "", 0)
	encrypted.StartTLS()
	t.Cleanup(encrypted.Close)
	for _, c := range []struct {
		name, scheme, address string
		want                  bool
	}{
		{"nobody listens", "http", nobody, true},
		{"nobody listens for HTTP/2", "h2c", nobody, true},
		{"a certificate that nobody vouches for", "https", encrypted.Listener.Addr().String(), true},
		{"no TLS", "https", plain.Listener.Addr().String(), true},
		{"it breaks off", "http", plain.Listener.Addr().String(), false},
	} {
		transport := newTransport(c.scheme, 20*time.Second)
		t.Cleanup(transport.closeIdle)
		scheme := "http"
		if c.scheme == "https" {
			scheme = "https"
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+c.address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := transport.RoundTrip(r)
		if err == nil {
			_ = answer.Body.Close()
			t.Errorf("%s: %s", c.name, answer.Status)
			continue
		}
		if got := isUnreached(err); got != c.want {
			t.Errorf("%s: unreached %t, from %v", c.name, got, err)
		}
	}
}

// TestIsUnsent has net/http refuse to send what a client could make up: each is told apart from a failure of the upstream.
func TestIsUnsent(t *testing.T) {
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			panic(http.ErrAbortHandler)
		}
	}))
	upstream.Config.MaxHeaderBytes = 4 << 10
	upstream.Config.Protocols = new(http.Protocols)
	upstream.Config.Protocols.SetHTTP1(true)
	upstream.Config.Protocols.SetUnencryptedHTTP2(true)
	upstream.Start()
	t.Cleanup(upstream.Close)
	for _, scheme := range []string{"http", "h2c"} {
		transport := newTransport(scheme, 20*time.Second)
		t.Cleanup(transport.closeIdle)
		var failure error
		proxy := &httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) {
				p.Out.URL.Scheme, p.Out.URL.Host = "http", upstream.Listener.Addr().String()
			},
			Transport:    transport,
			ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failure = err },
		}
		for _, c := range []struct {
			name, path string
			change     func(*http.Request)
			want       error
		}{
			{"nothing", "/", func(*http.Request) {}, nil}, // and what the upstream takes is known from here on
			{"it breaks off", "/broken", func(*http.Request) {}, errAny},
			{"an upgrade to no name", "/", func(r *http.Request) {
				r.Header["Connection"], r.Header["Upgrade"] = []string{"Upgrade"}, []string{"\x80"}
			}, errUnsent},
			{"a header's name", "/", func(r *http.Request) { r.Header["a b"] = []string{"x"} }, errUnsent},
			{"a header's value", "/", func(r *http.Request) { r.Header["X-Y"] = []string{"a\nb"} }, errUnsent},
			{"a trailer's name", "/", func(r *http.Request) { r.Trailer = http.Header{"a b": nil} }, errUnsent},
			{"a method", "/", func(r *http.Request) { r.Method = "a b" }, errUnsent},
			{"long headers", "/", func(r *http.Request) { r.Header["X-Y"] = []string{strings.Repeat("x", 8<<10)} }, errUnsent},
		} {
			if scheme == "http" && c.name == "long headers" { // HTTP/1 announces nothing
				continue
			}
			r := httptest.NewRequest(http.MethodGet, c.path, nil)
			c.change(r)
			failure = nil
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			if (failure == nil) != (c.want == nil) || failure != nil && isUnsent(failure) != errors.Is(c.want, errUnsent) {
				t.Errorf("%s, %s: %v, want %v", scheme, c.name, failure, c.want)
			}
		}
	}
}

var (
	errAny    = errors.New("a failure of the upstream")
	errUnsent = errors.New("not sent")
)
