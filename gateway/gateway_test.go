package gateway_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

func TestAdmitted(t *testing.T) {
	s := start(t)
	got := s.raw("GET /rest/posts/urn%3ali%3A1/?q=a;b&x=%zz HTTP/1.1", "X-Member-Id: m-1", "X-Custom: kept")
	if got.StatusCode != 200 || got.body != "upstream here\n" {
		t.Fatalf("%d %q", got.StatusCode, got.body)
	}
	limit, policy := got.Header.Get("RateLimit"), got.Header.Get("RateLimit-Policy")
	if want := `"application";q=1000;w=86400, "member";q=1000;w=86400`; policy != want {
		t.Errorf("RateLimit-Policy %q, want %q", policy, want)
	}
	if !strings.HasPrefix(limit, `"application";r=999;t=`) || !strings.Contains(limit, `, "member";r=999;t=`) {
		t.Errorf("RateLimit %q", limit)
	}
	r := s.upstream.last(t)
	if want := "/rest/posts/urn%3Ali%3A1/?q=a;b&x=%zz"; r.RequestURI != want {
		t.Errorf("the upstream got %s, want %s", r.RequestURI, want)
	}
	if r.Host != "api.example" {
		t.Errorf("the upstream got the host %q", r.Host)
	}
	want := http.Header{
		"X-Perdiem-Application": {"acme"},
		"X-Perdiem-Member":      {"m-1"},
		"X-Perdiem-Endpoint":    {"posts.get"},
		"X-Forwarded-For":       {"127.0.0.1"},
		"X-Forwarded-Host":      {"api.example"},
		"X-Forwarded-Proto":     {"http"},
		"Forwarded":             {"for=127.0.0.1;host=api.example;proto=http"},
		"X-Custom":              {"kept"},
	}
	if diff := cmp.Diff(want, r.Header); diff != "" { // no User-Agent, no Accept-Encoding: neither was sent
		t.Errorf("the upstream's headers (-want +got):\n%s", diff)
	}
	o := s.observation(1)
	if o.Outcome != gateway.Admitted || o.Endpoint != "posts.get" || o.Status != 200 || o.Kind != quota.None || o.Duration <= 0 {
		t.Errorf("observed %+v", o)
	}
}

func TestWithoutMember(t *testing.T) {
	s := start(t)
	if got := s.do("GET", "/rest/posts/1", ""); strings.Contains(got.Header.Get("RateLimit"), "member") {
		t.Errorf("RateLimit %q", got.Header.Get("RateLimit"))
	}
	if _, told := s.upstream.last(t).Header["X-Perdiem-Member"]; told {
		t.Error("the upstream is told of a member")
	}
}

func TestNonASCIIApplication(t *testing.T) {
	s := start(t)
	r, err := http.NewRequest("GET", "http://"+s.address+"/", nil)
	must(t, err)
	r.Header.Set("X-App-Id", "café")
	if got := s.send(r); got.StatusCode != 200 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if got := s.upstream.last(t).Header.Get("X-Perdiem-Application"); got != "café" {
		t.Errorf("the upstream is told %q", got)
	}
}

func TestRefused(t *testing.T) {
	s := start(t)
	for range 2 {
		if got := s.do("POST", "/rest/posts", "m-1"); got.StatusCode != 200 {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
	}
	check := func(got reply, policy, message string, limit float64) {
		t.Helper()
		if got.StatusCode != 429 || got.Header.Get("Content-Type") != "application/problem+json" || got.Header.Get("Cache-Control") != "no-store" ||
			got.Header.Get("Retry-After") == "" || got.Header.Get("RateLimit") == "" {
			t.Fatalf("%d %v %s", got.StatusCode, got.Header, got.body)
		}
		var body map[string]any
		must(t, json.Unmarshal([]byte(got.body), &body))
		if body["message"] != "Resource level throttle "+message+" DAY limit for calls to this resource is reached." || body["limit"] != limit ||
			!cmp.Equal(body["violated-policies"], []any{policy}) || body["endpoint"] != "posts.create" {
			t.Errorf("%s", got.body)
		}
	}
	check(s.do("POST", "/rest/posts", "m-1"), "member", "APPLICATION_AND_MEMBER", 2)
	for range 3 {
		s.do("POST", "/rest/posts", "")
	}
	check(s.do("POST", "/rest/posts", "m-1"), "application", "APPLICATION", 5)
	check(s.do("POST", "/rest/posts", "m-2"), "application", "APPLICATION", 5)
	check(s.do("POST", "/rest/posts", ""), "application", "APPLICATION", 5)
	if n := s.upstream.count(); n != 5 {
		t.Errorf("%d requests reached the upstream, want the 5 admitted", n)
	}
	if o := s.observation(6); o.Outcome != gateway.Admitted {
		t.Errorf("observed %+v", o)
	}
	if o := s.observation(9); o.Outcome != gateway.Refused || o.Kind != quota.Application || o.Status != 429 {
		t.Errorf("observed %+v", o)
	}
	if u := s.used("posts.create"); u.Used != 5 || u.Refused != 4 || u.RefusedForMember != 1 {
		t.Errorf("used %+v", u)
	}
}

func TestShadowed(t *testing.T) {
	s := start(t)
	for range 3 {
		if got := s.do("GET", "/shadow", ""); got.StatusCode != 200 {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
	}
	if u := s.used("posts.shadow"); u.Used != 1 || u.Refused != 2 {
		t.Errorf("used %+v", u)
	}
	if o := s.observation(3); o.Outcome != gateway.Admitted || o.Kind != quota.Application {
		t.Errorf("observed %+v", o)
	}
}

func TestCostsMoreThanIsLeft(t *testing.T) {
	s := start(t)
	s.do("GET", "/dear", "")
	got := s.do("GET", "/dear", "")
	if got.StatusCode != 429 || !strings.Contains(got.body, "has 2 of its 5 calls to posts.dear left") || !strings.Contains(got.body, "the request costs 3") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// TestRejected sends what is neither admitted nor refused by a limit: none of it reaches the upstream.
func TestRejected(t *testing.T) {
	s := start(t)
	tests := []struct {
		name   string
		text   string // a request; "|" ends a line
		status int
		code   string
	}{
		{"no credential", "GET / HTTP/1.1|Host: a||", 401, "UNAUTHORIZED"},
		{"unknown application", "GET / HTTP/1.1|Host: a|X-App-Id: nobody||", 401, "UNAUTHORIZED"},
		{"suspended application", "GET / HTTP/1.1|Host: a|X-App-Id: beta||", 403, "FORBIDDEN"},
		{"no access", "GET /closed HTTP/1.1|Host: a|X-App-Id: acme||", 403, "FORBIDDEN"},
		{"two applications", "GET / HTTP/1.1|Host: a|X-App-Id: acme|X-App-Id: beta||", 400, "BAD_REQUEST"},
		{"two members", "GET / HTTP/1.1|Host: a|X-App-Id: acme|X-Member-Id: m-1|X-Member-Id: m-2||", 400, "BAD_REQUEST"},
		{"empty member", "GET / HTTP/1.1|Host: a|X-App-Id: acme|X-Member-Id:||", 400, "BAD_REQUEST"},
		{"member of 257 bytes", "GET / HTTP/1.1|Host: a|X-App-Id: acme|X-Member-Id: " + strings.Repeat("m", 257) + "||", 400, "BAD_REQUEST"},
		{"member that is not UTF-8", "GET / HTTP/1.1|Host: a|X-App-Id: acme|X-Member-Id: \xff||", 400, "BAD_REQUEST"},
		{"encoded slash", "GET /rest%2Fposts HTTP/1.1|Host: a|X-App-Id: acme||", 400, "BAD_REQUEST"},
		{"encoded slash beside what needs no escape", "GET /rest%2fposts\"x HTTP/1.1|Host: a|X-App-Id: acme||", 400, "BAD_REQUEST"},
		{"encoded backslash", "GET /rest%5cposts HTTP/1.1|Host: a|X-App-Id: acme||", 400, "BAD_REQUEST"},
		{"backslash", "GET /rest\\posts HTTP/1.1|Host: a|X-App-Id: acme||", 400, "BAD_REQUEST"},
		{"NUL", "GET /rest%00 HTTP/1.1|Host: a|X-App-Id: acme||", 400, "BAD_REQUEST"},
		{"fragment", "GET /rest#x HTTP/1.1|Host: a|X-App-Id: acme||", 400, "BAD_REQUEST"},
		{"tested name twice", "GET /rest/posts HTTP/1.1|Host: a|X-App-Id: acme|X-RestLi-Method: FINDER|X-RestLi-Method: CREATE||", 400, "BAD_REQUEST"},
		{"CONNECT", "CONNECT a:80 HTTP/1.1|Host: a:80|X-App-Id: acme||", 400, "BAD_REQUEST"},
		{"CONNECT to a path", "CONNECT /rest/posts HTTP/1.1|Host: a:80|X-App-Id: acme||", 400, "BAD_REQUEST"},
		{"OPTIONS *", "OPTIONS * HTTP/1.1|Host: a|X-App-Id: acme||", 400, "BAD_REQUEST"},
		{"GET *", "GET * HTTP/1.1|Host: a|X-App-Id: acme||", 400, "BAD_REQUEST"},
		{"another scheme", "GET ftp://a/rest/posts HTTP/1.1|Host: a|X-App-Id: acme||", 400, "BAD_REQUEST"},
		{"an upgrade to no name", "GET / HTTP/1.1|Host: a|X-App-Id: acme|Connection: Upgrade|Upgrade: \x80x||", 400, "BAD_REQUEST"},
		{"an upgrade to a name and no name", "GET / HTTP/1.1|Host: a|X-App-Id: acme|Connection: Upgrade|Upgrade: x|Upgrade: a\tb||", 400, "BAD_REQUEST"},
		{"a trailer without a name", "POST / HTTP/1.1|Host: a|X-App-Id: acme|Transfer-Encoding: chunked|Trailer: X-Sum, a b||0||", 400, "BAD_REQUEST"},
		{"no path at all", "GET a:b HTTP/1.1|Host: a|X-App-Id: acme||", 400, "BAD_REQUEST"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := s.dial()
			w.send(strings.ReplaceAll(test.text, "|", "\r\n"))
			got := w.reply()
			if got.StatusCode != test.status || !strings.Contains(got.body, `"code":"`+test.code+`"`) {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
			if got.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("Content-Type %q", got.Header.Get("Content-Type"))
			}
			if (got.Header.Get("WWW-Authenticate") != "") != (test.status == 401) {
				t.Errorf("WWW-Authenticate %q", got.Header.Get("WWW-Authenticate"))
			}
		})
	}
	if n := s.upstream.count(); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
	if all, err := s.book.Usage(context.Background(), "acme"); err != nil || len(all) != 0 {
		t.Errorf("charged: %v %v", all, err)
	}
}

// TestConnections has an address open as many connections as it may: one more is closed, and one that ends makes room.
func TestConnections(t *testing.T) {
	s := start(t, func(c *setup) { c.options.Connections = gateway.Connections{PerAddress: 2} })
	ask := func(w *wire) int {
		w.send("GET /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
		return w.reply().StatusCode
	}
	first, second := s.dial(), s.dial()
	if a, b := ask(first), ask(second); a != 200 || b != 200 {
		t.Fatalf("%d %d", a, b)
	}
	if n, err := s.dial().Read(make([]byte, 1)); err == nil {
		t.Errorf("the third is told %d bytes", n)
	}
	if a, b := ask(first), ask(second); a != 200 || b != 200 {
		t.Errorf("%d %d", a, b)
	}
	first.send("GET /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nConnection: close\r\n\r\n")
	if _, err := io.ReadAll(first); err != nil {
		t.Fatal(err)
	}
	// The client may hear of the end before it is counted.
	for range 1000 {
		w := s.dial()
		_, err := io.WriteString(w, "GET /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
		if res, err2 := http.ReadResponse(w.reader, nil); err == nil && err2 == nil {
			if res.StatusCode != 200 {
				t.Error(res.Status)
			}
			res.Body.Close()
			return
		}
		w.Close()
	}
	t.Error("there is never room again")
}

// TestPlainRejections are what net/http rejects by itself, in plain text.
func TestPlainRejections(t *testing.T) {
	s := start(t)
	w := s.dial()
	w.send("GET / HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n")
	// The gateway may answer before it has taken everything: a failure to send is its right.
	_, _ = io.WriteString(w, strings.Repeat("X-Flood: "+strings.Repeat("f", 1000)+"\r\n", 300)+"\r\n")
	if got := w.head(); got.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a flood of headers: %s", got.Status)
	}
	for _, text := range []string{
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX-App-Id: ac\x00me\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
		"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"nonsense\r\n\r\n",
	} {
		w := s.dial()
		w.send(text)
		if got := w.head(); got.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %s", text, got.Status)
		}
	}
	if n := s.upstream.count(); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
}

func TestManyHeadersPass(t *testing.T) {
	s := start(t)
	var headers []string
	for i := range 600 {
		headers = append(headers, fmt.Sprintf("X-Many-%d: %s", i, strings.Repeat("v", 80)))
	}
	if got := s.raw("GET / HTTP/1.1", headers...); got.StatusCode != 200 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if n := len(s.upstream.last(t).Header); n < 600 {
		t.Errorf("the upstream got %d headers", n)
	}
}

func TestLedgerDown(t *testing.T) {
	s := start(t, func(c *setup) {
		c.take = func(context.Context, lease.Call) (quota.Decision, error) {
			return quota.Decision{}, fault.Wrap(fault.Unavailable, errors.New("secret: disk on fire"), "The ledger cannot be reached.")
		}
	})
	got := s.do("GET", "/", "m-secret")
	if got.StatusCode != 503 || !strings.Contains(got.body, `"code":"SERVICE_UNAVAILABLE"`) || strings.Contains(got.body, "secret") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	s.observation(1)
	if log := s.log.String(); !strings.Contains(log, "disk on fire") || strings.Contains(log, "m-secret") {
		t.Errorf("logged %s", log)
	}
}

// TestClientLeavesBeforeTheDecision lets a client go while its call waits for the ledger.
func TestClientLeavesBeforeTheDecision(t *testing.T) {
	waiting := make(chan struct{})
	s := start(t, func(c *setup) {
		c.take = func(ctx context.Context, _ lease.Call) (quota.Decision, error) {
			close(waiting)
			<-ctx.Done()
			return quota.Decision{}, ctx.Err()
		}
	})
	w := s.dial()
	w.send("GET / HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
	<-waiting
	must(t, w.Close())
	if o := s.observation(1); o.Outcome != gateway.Rejected || o.Status != 499 {
		t.Errorf("observed %+v", o)
	}
	if log := s.log.String(); log != "" {
		t.Errorf("logged as a failure: %s", log)
	}
}

// TestPaths sends spellings of a path, and compares what is matched and what is sent on.
func TestPaths(t *testing.T) {
	s := start(t)
	tests := []struct{ target, endpoint, sent string }{
		{"/rest/posts/1", "posts.get", "/rest/posts/1"},
		{"/rest/posts/1/", "posts.get", "/rest/posts/1/"},
		{"//rest///posts//1", "posts.get", "/rest/posts/1"},
		{"/rest/./posts/2/../1", "posts.get", "/rest/posts/1"},
		{"/%72est/p%6Fsts/1", "posts.get", "/rest/posts/1"},
		{"/rest/posts;v=1/1;x", "posts.get", "/rest/posts/1"},
		{"/rest/posts/a%20b", "posts.get", "/rest/posts/a%20b"},
		{"/rest/posts/a%3bb", "posts.get", "/rest/posts/a%3Bb"},
		{"/rest/posts/(id:1,x:2)", "posts.get", "/rest/posts/(id:1,x:2)"},
		{"/rest/posts/%C3%A9", "posts.get", "/rest/posts/%C3%A9"},
		{"/rest/posts/1?", "posts.get", "/rest/posts/1?"},
		{"/rest/posts/1?a=%2F&b=c+d", "posts.get", "/rest/posts/1?a=%2F&b=c+d"},
		{"/rest/posts/1?a=1&;b", "posts.get", "/rest/posts/1?a=1&;b"},
		{"http://api.example/rest/posts/1?x=y", "posts.get", "/rest/posts/1?x=y"},
		{"http://user:secret@api.example/rest/posts/1", "posts.get", "/rest/posts/1"},
		{"HTTP://api.example", "*", "/"},
		{"http://api.example?x=/rest/posts/1", "*", "/?x=/rest/posts/1"},
		{"/REST/posts/1", "*", "/REST/posts/1"},
		{"/", "*", "/"},
		{"/rest/posts/1/comments", "*", "/rest/posts/1/comments"},
	}
	for _, test := range tests {
		t.Run(test.target, func(t *testing.T) {
			got := s.raw("GET " + test.target + " HTTP/1.1")
			if got.StatusCode != 200 {
				t.Fatalf("%d %s", got.StatusCode, got.body)
			}
			r := s.upstream.last(t)
			if r.RequestURI != test.sent || r.Header.Get("X-Perdiem-Endpoint") != test.endpoint || r.Host != "api.example" {
				t.Errorf("sent %s to %s as %s, want %s as %s", r.RequestURI, r.Host, r.Header.Get("X-Perdiem-Endpoint"), test.sent, test.endpoint)
			}
			if r.Header.Get("Authorization") != "" {
				t.Errorf("the upstream got Authorization")
			}
		})
	}
}

func TestUpstreamWithAPath(t *testing.T) {
	for _, base := range []string{"/base", "/base/"} {
		var where *url.URL
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RequestURI) }))
		defer other.Close()
		where, err := url.Parse(other.URL + base)
		must(t, err)
		s := start(t, func(c *setup) { c.options.Upstream = where })
		if got := s.do("GET", "/rest/posts/1%3A/?q", ""); got.body != "/base/rest/posts/1%3A/?q" {
			t.Errorf("sent %s", got.body)
		}
	}
}

// TestHopByHopIsNotMatched names a tested header in Connection: the upstream will not see it, so it must not decide where the
// call is counted.
func TestHopByHopIsNotMatched(t *testing.T) {
	s := start(t)
	s.raw("GET /rest/posts HTTP/1.1", "X-RestLi-Method: FINDER")
	if got := s.upstream.last(t).Header.Get("X-Perdiem-Endpoint"); got != "posts.find" {
		t.Fatalf("counted as %s", got)
	}
	w := s.dial()
	w.send("GET /rest/posts HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nX-RestLi-Method: FINDER\r\nConnection: keep-alive, x-restli-method\r\n\r\n")
	w.reply()
	r := s.upstream.last(t)
	if r.Header.Get("X-Perdiem-Endpoint") != "*" || r.Header.Get("X-RestLi-Method") != "" {
		t.Errorf("counted as %s, sent %v", r.Header.Get("X-Perdiem-Endpoint"), r.Header)
	}
}

// TestSpoofing sends headers that only perdiem, or only a connection, may say. None of them reaches the upstream.
func TestSpoofing(t *testing.T) {
	s := start(t)
	forged := []string{
		"X-Perdiem-Application", "X-Perdiem-Member", "X-Perdiem-Endpoint", "X-Perdiem-Anything", "x-perdiem-member", "X_Perdiem_Member",
		"X_PERDIEM_APPLICATION", "X-Perdiem_Member", "X_Perdiem-Endpoint",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X_Forwarded_For", "Forwarded", "X-Real-IP", "X_Real_IP",
		"X_App_Id", "X-App_Id", "X_MEMBER_ID",
		"X-HTTP-Method-Override", "X_HTTP_Method_Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X_Original_URL", "X-Rewrite-URL",
		"Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Upgrade", "HTTP2-Settings", "X-Named",
	}
	headers := []string{"X-Member-Id: m-1", "Connection: X-Named, te", "TE: trailers, gzip"}
	for _, name := range forged {
		headers = append(headers, name+": forged")
	}
	got := s.raw("GET /rest/posts/1 HTTP/1.1", headers...)
	if got.StatusCode != 200 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	r := s.upstream.last(t)
	for name, values := range r.Header {
		if slices.Contains(values, "forged") {
			t.Errorf("%s reached the upstream", name)
		}
	}
	want := http.Header{
		"X-Perdiem-Application": {"acme"}, "X-Perdiem-Member": {"m-1"}, "X-Perdiem-Endpoint": {"posts.get"},
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"api.example"}, "X-Forwarded-Proto": {"http"},
		"Forwarded": {"for=127.0.0.1;host=api.example;proto=http"}, "Te": {"trailers"},
	}
	if diff := cmp.Diff(want, r.Header); diff != "" {
		t.Errorf("the upstream's headers (-want +got):\n%s", diff)
	}
}

// TestTheUpstreamsAnswerPasses sends what an upstream may say: all of it passes, but for the headers under which perdiem tells
// limits.
func TestTheUpstreamsAnswerPasses(t *testing.T) {
	said := func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("RateLimit", `"upstream";r=1;t=1`)
		h.Set("RateLimit-Policy", `"upstream";q=1;w=1`)
		h.Set("X-RateLimit-Limit", "1")
		h.Set("X-RateLimit-Remaining", "1")
		h.Set("X-RateLimit-Reset", "1")
		h.Set("Retry-After", "7")
		h["Content-Type"] = nil
		h.Set("X-Custom", "kept")
		w.WriteHeader(429)
		fmt.Fprint(w, "<html>the upstream's own words")
	}
	for _, test := range []struct {
		headers answer.Headers
		mine    string
		theirs  []string
	}{
		{answer.IETF, "RateLimit", []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}},
		{answer.Legacy, "X-RateLimit-Limit", []string{"RateLimit", "RateLimit-Policy"}},
		{answer.None, "", []string{"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}},
	} {
		t.Run(test.headers.String(), func(t *testing.T) {
			s := start(t, styled(test.headers), handled(said))
			got := s.do("GET", "/rest/posts/1", "m-1")
			if got.StatusCode != 429 || got.body != "<html>the upstream's own words" || got.Header.Get("Retry-After") != "7" || got.Header.Get("X-Custom") != "kept" {
				t.Errorf("%d %v %s", got.StatusCode, got.Header, got.body)
			}
			if _, guessed := got.Header["Content-Type"]; guessed {
				t.Errorf("a Content-Type was invented: %q", got.Header.Get("Content-Type"))
			}
			if test.mine != "" {
				if values := got.Header.Values(test.mine); len(values) != 1 || values[0] == "1" || strings.Contains(values[0], "upstream") {
					t.Errorf("%s: %q", test.mine, values)
				}
			}
			for _, name := range test.theirs {
				if got.Header.Get(name) == "" {
					t.Errorf("the upstream's %s was dropped", name)
				}
			}
			if o := s.observation(1); o.Outcome != gateway.Admitted || o.Status != 429 {
				t.Errorf("observed %+v", o)
			}
		})
	}
}

func TestNoNumbers(t *testing.T) {
	s := start(t, styled(answer.None))
	for range 5 {
		s.do("POST", "/rest/posts", "")
	}
	got := s.do("POST", "/rest/posts", "")
	if got.StatusCode != 429 || strings.Contains(got.body, `"limit"`) || strings.Contains(got.body, " 5 ") || got.Header.Get("RateLimit") != "" {
		t.Errorf("%d %v %s", got.StatusCode, got.Header, got.body)
	}
}

func TestMethods(t *testing.T) {
	s := start(t, handled(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Method", r.Method)
		fmt.Fprint(w, "body")
	}))
	for method, endpoint := range map[string]string{
		"GET": "posts.get", "HEAD": "posts.get", "POST": "*", "PUT": "*", "DELETE": "*", "OPTIONS": "*", "TRACE": "*", "PURGE": "*", "get": "posts.get", "Head": "posts.get", "post": "*",
	} {
		w := s.dial()
		w.send(method + " /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nContent-Length: 0\r\n\r\n")
		res := w.head()
		r := s.upstream.last(t)
		if res.StatusCode != 200 || r.Method != strings.ToUpper(method) || r.Header.Get("X-Perdiem-Endpoint") != endpoint {
			t.Errorf("%s: %s, sent as %s, counted as %s", method, res.Status, r.Method, r.Header.Get("X-Perdiem-Endpoint"))
		}
	}
	if got := s.do("HEAD", "/rest/posts/1", ""); got.body != "" || got.ContentLength != 4 {
		t.Errorf("HEAD: length %d, body %q", got.ContentLength, got.body)
	}
}

// TestExactly sends more than fits from many clients at once: as many as the limit are admitted, and reach the upstream.
func TestExactly(t *testing.T) {
	s := start(t, func(c *setup) {
		c.catalog = "endpoints: [{id: e, match: /e, application: 150, member: 37}]\ncatch_all: {}\napplications: [{id: acme}]\n"
	})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	var admitted, refused atomic.Int64
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			for range 20 {
				r, err := http.NewRequest("GET", "http://"+s.address+"/e", nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("X-App-Id", "acme")
				r.Header.Set("X-Member-Id", fmt.Sprintf("m-%d", i%5))
				res, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				switch res.StatusCode {
				case 200:
					admitted.Add(1)
				case 429:
					refused.Add(1)
				default:
					t.Errorf("status %d", res.StatusCode)
				}
			}
		})
	}
	group.Wait()
	if admitted.Load() != 150 || refused.Load() != 32*20-150 || s.upstream.count() != 150 {
		t.Errorf("%d admitted, %d refused, %d at the upstream", admitted.Load(), refused.Load(), s.upstream.count())
	}
	per := map[string]int{}
	for _, r := range s.upstream.requests {
		per[r.Header.Get("X-Perdiem-Member")]++
	}
	for member, n := range per {
		if n > 37 {
			t.Errorf("member %s: %d calls", member, n)
		}
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	if _, err := gateway.New(gateway.Options{}); err == nil || !strings.Contains(err.Error(), "upstream") {
		t.Errorf("no options: %v", err)
	}
	for _, raw := range []string{"127.0.0.1:9000", "ftp://host", "http://", "http://user:secret@host", "http://host?q", "http://host/#f", "http://host//x", "unix:/x"} {
		u, err := url.Parse(raw)
		if err != nil {
			u = &url.URL{Path: raw}
		}
		_, err = gateway.New(gateway.Options{Upstream: u})
		if err == nil || !strings.Contains(err.Error(), "upstream ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", raw, err)
		}
	}
	u, err := url.Parse("http://host")
	must(t, err)
	if _, err := gateway.New(gateway.Options{Upstream: u}); err == nil || !strings.Contains(err.Error(), "upstream_timeout") {
		t.Errorf("no timeout: %v", err)
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	s := start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	if err := s.gateway.Serve(l); err == nil {
		t.Error("no error")
	}
}

func TestNewRefusesBadEdges(t *testing.T) {
	u, err := url.Parse("h2c://host")
	must(t, err)
	for problem, o := range map[string]gateway.Options{
		"timeouts":                 {Timeouts: gateway.Timeouts{Body: -1}},
		"without a certificate":    {TLS: &tls.Config{}},
		"no origins":               {CORS: &gateway.CORS{}},
		"an origin is empty":       {CORS: &gateway.CORS{Origins: []gateway.Origin{{}}}},
		"credentials need a list":  {CORS: &gateway.CORS{Origins: []gateway.Origin{gateway.AnyOrigin}, Credentials: true}},
		`methods: "" is no name`:   {CORS: &gateway.CORS{Origins: []gateway.Origin{gateway.AnyOrigin}, Methods: []string{""}}},
		`expose: "a b" is no name`: {CORS: &gateway.CORS{Origins: []gateway.Origin{gateway.AnyOrigin}, Expose: []string{"a b"}}},
	} {
		o.Upstream, o.UpstreamTimeout = u, time.Second
		if _, err := gateway.New(o); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v", problem, err)
		}
	}
}
