package gateway

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
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
