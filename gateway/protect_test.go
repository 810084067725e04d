package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/protect"
)

// protected puts a limiter that lets so many calls wait before the upstream.
func protected(t *testing.T, most int) (*protect.Limiter, func(*setup)) {
	t.Helper()
	l, err := protect.New(protect.Options{Most: most})
	must(t, err)
	return l, func(c *setup) { c.options.Protect = l }
}

// waiting waits until so many calls wait for the upstream.
func waiting(t *testing.T, l *protect.Limiter, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); l.State().Waiting != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v, want %d waiting", l.State(), n)
		}
	}
}

func TestProtected(t *testing.T) {
	limiter, limit := protected(t, 2)
	release := make(chan struct{})
	s := start(t, limit, handled(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/rest/posts/held" {
			<-release
		}
		fmt.Fprintln(w, "here")
	}))
	held := []*wire{s.dial(), s.dial()}
	for i, c := range held {
		c.send("GET /rest/posts/held HTTP/1.1\r\nHost: api.example\r\nX-App-Id: acme\r\n\r\n")
		waiting(t, limiter, i+1)
	}
	got := s.do("GET", "/rest/posts/1", "m-1")
	var body map[string]any
	must(t, json.Unmarshal([]byte(got.body), &body))
	if after, err := strconv.Atoi(got.Header.Get("Retry-After")); err != nil || after < 1 || after > 10 || got.StatusCode != 429 ||
		body["type"] != "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity" || body["serviceErrorCode"] != nil ||
		body["message"] != "Too many requests. The service is protecting itself and will return to normal automatically." {
		t.Errorf("%d %v %s", got.StatusCode, got.Header, got.body)
	}
	if o := s.observation(1); o.Outcome != gateway.Rejected || o.Status != 429 || o.Endpoint != "posts.get" {
		t.Errorf("observed %+v", o)
	}
	// Who has no access is not told that the service is busy, and reading usage needs no upstream.
	for path, status := range map[string]int{"/closed": 403, "/perdiem/usage": 200} {
		if got := s.do("GET", path, ""); got.StatusCode != status {
			t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
		}
	}
	close(release)
	for _, c := range held {
		if got := c.reply(); got.StatusCode != 200 {
			t.Errorf("%d %s", got.StatusCode, got.body)
		}
	}
	waiting(t, limiter, 0)
	if u := s.used("posts.get"); u.Used != 2 || u.Refused != 0 {
		t.Errorf("used %+v", u)
	}
	if got := s.do("GET", "/rest/posts/1", "m-1"); got.StatusCode != 200 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// A call that a limit refuses gives its place back, and is not measured.
func TestProtectedRefusal(t *testing.T) {
	limiter, limit := protected(t, 1)
	s := start(t, limit)
	for i, want := range []int{200, 200, 429, 429, 429} {
		if got := s.do("POST", "/rest/posts", "m-1"); got.StatusCode != want {
			t.Errorf("call %d: %d %s", i, got.StatusCode, got.body)
		}
	}
	if state := limiter.State(); state.Waiting != 0 || state.Refused != 0 {
		t.Errorf("%+v", state)
	}
}

// A call waits for the upstream until its answer begins, and not while the upstream waits for the client.
func TestProtectedStreams(t *testing.T) {
	limiter, limit := protected(t, 10)
	release := make(chan struct{})
	s := start(t, limit, handled(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	stream := s.dial()
	stream.send("GET /stream HTTP/1.1\r\nHost: api.example\r\nX-App-Id: acme\r\n\r\n")
	if head := stream.head(); head.StatusCode != 200 {
		t.Fatal(head.StatusCode)
	}
	waiting(t, limiter, 0) // though the answer goes on
	upload := s.dial()
	upload.send("POST /upload HTTP/1.1\r\nHost: api.example\r\nX-App-Id: acme\r\nContent-Length: 5\r\n\r\nab")
	for end := time.Now().Add(20 * time.Second); s.upstream.count() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the upload did not reach the upstream")
		}
	}
	waiting(t, limiter, 0)
	upload.send("cde")
	if got := upload.reply(); got.StatusCode != 200 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	gone := s.dial()
	gone.send("GET /rest/posts/1 HTTP/1.1\r\nHost: api.example\r\nX-App-Id: acme\r\n\r\n")
	gone.Close()
	close(release)
	waiting(t, limiter, 0)
}

// Sixty-four callers at once of an upstream that is well are all served. (That a thousand are is shown in simulated time, by package protect: here
// the upstream and the callers share the machine, which would make it slow.)
func TestProtectedHealthy(t *testing.T) {
	limiter, err := protect.New(protect.Options{})
	must(t, err)
	s := start(t, func(c *setup) { c.options.Protect = limiter })
	s.quiet.Store(true)
	request := []byte("GET /rest/posts/1 HTTP/1.1\r\nHost: api.example\r\nX-App-Id: acme\r\n\r\n")
	s.apply("catch_all: {}\napplications: [{id: acme}]\n")
	failed := make(chan error, 64)
	for range cap(failed) {
		go func() {
			c, err := dialClient(s.address)
			if err == nil {
				defer c.Close()
				for range 50 {
					if err = c.do(request); err != nil {
						break
					}
				}
			}
			failed <- err
		}()
	}
	for range cap(failed) {
		must(t, <-failed)
	}
	if state := limiter.State(); state.Refused > 0 || state.Limiting {
		t.Errorf("%+v", state)
	}
}

// TestProtectedFromTheUnsent has a client send headers that are longer than the upstream takes: protection counts none of that as its failures.
func TestProtectedFromTheUnsent(t *testing.T) {
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	up.Config.MaxHeaderBytes = 8 << 10
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetUnencryptedHTTP2(true)
	up.Start()
	t.Cleanup(up.Close)
	where, err := url.Parse(strings.Replace(up.URL, "http:", "h2c:", 1))
	must(t, err)
	limiter, limit := protected(t, 100)
	s := start(t, limit, func(c *setup) { c.options.Upstream = where })
	if got := s.raw("GET /rest/posts/1 HTTP/1.1"); got.StatusCode != 200 { // now the gateway knows what the upstream takes
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	for range 100 {
		got := s.raw("GET /rest/posts/1 HTTP/1.1", "X-Long: "+strings.Repeat("x", 16<<10))
		if got.StatusCode != 400 || !strings.Contains(got.body, "longer than the service behind the gateway takes") || got.Header.Get("RateLimit") == "" {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
	}
	if o := s.observation(101); o.Outcome != gateway.Rejected || o.Status != 400 {
		t.Errorf("observed %+v", o)
	}
	if state := limiter.State(); state.Limiting || state.Waiting != 0 {
		t.Errorf("%+v", state)
	}
	if log := s.log.String(); log != "" {
		t.Errorf("logged as a failure: %s", log)
	}
}
