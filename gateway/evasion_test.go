package gateway_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/gateway"
)

// policyOf returns one of all policies there are.
func policyOf(n uint8) catalog.PathPolicy {
	return catalog.PathPolicy{
		StrictSlash: n&1 != 0, IgnoreCase: n&2 != 0, PassEncodedSlash: n&4 != 0, Parameters: catalog.Parameters(n >> 3 % 3),
	}
}

const policies = 24

// overriding has a POST mean another method where it says so.
func overriding(c *setup) { c.options.MethodOverride = true }

// exchange sends bytes on a connection of their own, and returns the statuses of the answers until the gateway closes it.
func (m *metered) exchange(text string) (statuses []int) {
	m.t.Helper()
	w := m.dial()
	_, _ = io.WriteString(w, text) // the gateway may answer, and close, before it has taken everything
	for {
		res, err := http.ReadResponse(w.reader, nil)
		if err != nil {
			return statuses
		}
		statuses = append(statuses, res.StatusCode)
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return statuses
		}
	}
}

// TestSpellingsReachWhatIsCharged sends spellings of methods, paths, queries and headers under each policy. It holds for all of them that the
// upstream is sent the endpoint that is charged, or nothing.
func TestSpellingsReachWhatIsCharged(t *testing.T) {
	targets := []string{
		"/rest/posts", "/rest/posts/", "//rest/posts", "/rest//posts", "/./rest/posts", "/admin/../rest/posts", "/admin/x/../../rest/posts/", "/rest/posts/..",
		"/admin/x", "/admin/x/", "/admin/%78", "/admin", "/admin/", "/ADMIN/x", "/aDmIn/X", "/%61dmin/x", "/%41dmin/x", "/admin;a/x", "/admin/x;a=b", "/admin/;/x", "/admin/.;/x",
		"/admin/..;/x", "/x/..;/admin/x", "/rest/posts;", "/rest;v=1/posts", "/rest/posts/%2e%2e/%2E./admin/x", "/rest/posts/..%2f..%2fadmin/x", "/rest%2Fposts", "/rest/posts%2F1",
		"/rest/posts/1%2f", "/rest/posts/%2F", "/rest/posts/a%2Fb/..", "/rest/posts/1%5c..%5cadmin", "/rest\\posts", "/rest/posts%00", "/rest/posts%20", "/rest/posts%09", "/rest/posts/%c0%ae%c0%ae/",
		"/rest/posts/%ef%bc%8e", "/rest/posts/%252e%252e/admin", "/rest/posts/urn:li:1", "/rest/posts/urn%3Ali%3a1", "/rest/posts/urn%3Ali:1", "/rest/posts/%E2%84%AA", "/re%C5%BFt/posts",
		"/rest/posts/caf\xc3\xa9", "/rest/posts/\xe9", "/rest/posts/(1,2)", "/rest/posts/$x!'*+@=&", "/rest/posts/a\"b<c>", "/rest/posts?q=author", "/rest/posts?q=%61uthor", "/rest/posts?Q=AUTHOR",
		"/rest/posts?q=author&q=author", "/rest/posts?q=author&q=other", "/rest/posts?q=other&q=author", "/rest/posts?a;q=author", "/rest/posts?q=author;a", "/rest/posts?q=author#", "/rest/posts?a#&q=author",
		"/rest/posts#?q=author", "/rest/posts?q=author%23", "/rest/posts??q=author", "/rest/posts?q", "/rest/posts?q=", "/rest/posts?%71=author", "/rest/posts?q=author%00", "/rest/posts?q%00=author",
		"/rest/posts?+q=author", "/rest/posts?q=%zz", "/rest/posts?", "/rest/posts?&&q=author&", "/rest/posts?q=auth\xc3\xb6r", "http://a/admin/x", "HTTP://b/rest/posts?q=author", "http://a", "http://a?q=author",
		"http://a/../admin/x", "http://a:80//admin//x", "https://user@a/admin/x", "http:///admin/x", "http:/admin/x", "ftp://a/admin/x", "a/admin/x", "*", "", "?q=author", "/perdiem/usage", "/PERDIEM/usage/",
	}
	methods := []string{"GET", "get", "Post", "PUT", "HEAD", "OPTIONS", "CONNECT", "PURGE", "G\u0131T"}
	headers := []string{
		"X-RestLi-Method: FINDER", "x-restli-method:finder", "X_RestLi_Method: FINDER", "X-RestLi-Method: FINDER\r\nX-RestLi-Method: GET", "X-RestLi-Method: FINDER\r\nX-RestLi-Method: finder",
		"X-RestLi-Method:\tFINDER ", "X-RestLi-Method: FIN\r\n DER", "X-RestLi-Method : FINDER", "X-RestLi-Method: FINDER\r\nConnection: x-restli-method", "X-RestLi-Method: FINDER\x00", "X-RestLi-Method: \"FINDER\"",
		"X-HTTP-Method-Override: PUT", "X-HTTP-Method: PUT", "X-Method-Override: PUT", "X_HTTP_Method_Override: PUT", "X-HTTP-Method-Override: PUT\r\nX-HTTP-Method-Override: GET",
		"X-HTTP-Method-Override: put\r\nX-HTTP-Method-Override: PUT", "X-HTTP-Method-Override: GET, PUT", "X-HTTP-Method-Override: CONNECT", "X-HTTP-Method-Override:", "X-HTTP-Method-Override: G\u0131T",
		"X-HTTP-Method-Override: PUT\r\nConnection: X-HTTP-Method-Override", "X-Original-URL: /admin/x", "X-Rewrite-URL: /admin/x", "X-Perdiem-Endpoint: admin", "X_Perdiem_Endpoint: admin",
	}
	for n := range uint8(policies) {
		t.Run(fmt.Sprintf("%+v", policyOf(n)), func(t *testing.T) {
			m := startMetered(t, policyOf(n), overriding)
			m.quiet.Store(true)
			reached := 0
			try := func(line, more string) {
				t.Helper()
				what := fmt.Sprintf("%q %q", line, more)
				statuses := m.exchange(line + " HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n" + more + "Connection: close\r\n\r\n")
				all := m.settle(t, what)
				usage := strings.Contains(strings.ToLower(line), "/perdiem/usage") // may be answered by the gateway
				if len(statuses) != 1 || len(all) > 1 || (statuses[0] == 200) != (len(all) == 1) && !usage {
					t.Errorf("%s: answered %v, and %q reached the upstream", what, statuses, all)
				}
				reached += len(all)
			}
			for _, target := range targets {
				try("GET "+target, "")
			}
			if n%5 == 0 { // methods and headers are read in one way under all policies
				for _, method := range methods {
					try(method+" /rest/posts/1", "")
				}
				for _, header := range headers {
					try("GET /rest/posts", header+"\r\n")
					try("POST /rest/posts/1", header+"\r\nContent-Length: 0\r\n")
				}
			}
			if reached < 30 {
				t.Errorf("only %d requests reached the upstream", reached)
			}
		})
	}
}

// TestSmuggling sends what two parsers of HTTP/1 could part differently. Whatever reaches the upstream is a request that the gateway has parsed,
// decided and charged; want lists them, and status what the client was answered.
func TestSmuggling(t *testing.T) {
	const (
		host  = "Host: a|X-App-Id: acme|"
		next  = "GET /admin/x HTTP/1.1|Host: a|X-App-Id: acme|Connection: close||"
		post  = "POST /rest/posts HTTP/1.1|" + host
		close = "Connection: close|"
	)
	tests := []struct {
		name, text string // | is CR LF
		status     []int
		want       []string
	}{
		{"two requests in one packet", "GET /rest/posts HTTP/1.1|" + host + "|" + next, []int{200, 200}, []string{"GET /rest/posts", "GET /admin/x"}},
		{"a length", post + "Content-Length: 4||body" + next, []int{200, 200}, []string{"POST /rest/posts body", "GET /admin/x"}},
		{"chunks", post + "Transfer-Encoding: chunked||4|body|0||" + next, []int{200, 200}, []string{"POST /rest/posts body", "GET /admin/x"}},
		{"a length and chunks", post + "Content-Length: 4|Transfer-Encoding: chunked||0||" + next, []int{200, 200}, []string{"POST /rest/posts", "GET /admin/x"}},
		{"chunks and a length", post + "Transfer-Encoding: chunked|Content-Length: 100||1|x|0||" + next, []int{200, 200}, []string{"POST /rest/posts x", "GET /admin/x"}},
		{"equal lengths", post + "Content-Length: 4|Content-Length: 4||body" + next, []int{200, 200}, []string{"POST /rest/posts body", "GET /admin/x"}},
		{"different lengths", post + "Content-Length: 4|Content-Length: 0||body" + next, []int{400}, nil},
		{"a list of lengths", post + "Content-Length: 4, 4||body" + next, []int{400}, nil},
		{"a length with a sign", post + "Content-Length: +4||body" + next, []int{400}, nil},
		{"a negative length", post + "Content-Length: -4||body" + next, []int{400}, nil},
		{"a length in hexadecimal", post + "Content-Length: 0x4||body" + next, []int{400}, nil},
		{"a length with an underscore", post + "Content-Length: 1_0||body" + next, []int{400}, nil},
		{"a length that overflows", post + "Content-Length: 18446744073709551620||body" + next, []int{400}, nil},
		{"an empty length", post + "Content-Length:||" + next, []int{400}, nil},
		{"a length under another name", post + "Content_Length: 4||" + next, []int{200, 200}, []string{"POST /rest/posts", "GET /admin/x"}},
		{"chunked twice", post + "Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||" + next, []int{501}, nil},
		{"chunked in a list", post + "Transfer-Encoding: gzip, chunked||0||" + next, []int{501}, nil},
		{"identity", post + "Transfer-Encoding: identity|Content-Length: 4||body" + next, []int{501}, nil},
		{"xchunked", post + "Transfer-Encoding: xchunked||0||" + next, []int{501}, nil},
		{"chunked with a tab", post + "Transfer-Encoding:\tchunked||0||" + next, []int{200, 200}, []string{"POST /rest/posts", "GET /admin/x"}},
		{"chunked with a vertical tab", post + "Transfer-Encoding: \vchunked||0||" + next, []int{400}, nil},
		{"chunked in quotes", post + "Transfer-Encoding: \"chunked\"||0||" + next, []int{501}, nil},
		{"chunked, in capitals", post + "TRANSFER-ENCODING: CHUNKED||0||" + next, []int{200, 200}, []string{"POST /rest/posts", "GET /admin/x"}},
		{"chunked on a second line", post + "Transfer-Encoding:| chunked||0||" + next, []int{200, 200}, []string{"POST /rest/posts", "GET /admin/x"}},
		{"chunked under another name", post + "Transfer_Encoding: chunked|Content-Length: 5||0||" + next, []int{200, 200}, []string{"POST /rest/posts 0", "GET /admin/x"}},
		{"a space before the colon", post + "Transfer-Encoding : chunked||0||" + next, []int{400}, nil},
		{"a space before the colon of a length", post + "Content-Length : 4||body" + next, []int{400}, nil},
		{"a space before the first header", "POST /rest/posts HTTP/1.1| Content-Length: 4|" + host + "|" + next, []int{400}, nil},
		{"a header without a colon", post + "Nonsense||" + next, []int{400}, nil},
		{"a header without a name", post + ": x||" + next, []int{400}, nil},
		{"a continued header", post + "X-Long: one|\ttwo| three|Content-Length: 0||" + next, []int{200, 200}, []string{"POST /rest/posts", "GET /admin/x"}},
		{"a continued line that looks like a header", post + "X-Long: one| Content-Length: 100||" + next, []int{200, 200}, []string{"POST /rest/posts", "GET /admin/x"}},
		{"bare LF", "POST /rest/posts HTTP/1.1\nHost: a\nX-App-Id: acme\nContent-Length: 4\n\nbody" + next, []int{200, 200}, []string{"POST /rest/posts body", "GET /admin/x"}},
		{"bare LF in a header", post + "X: y\nContent-Length: 4||body" + next, []int{200, 200}, []string{"POST /rest/posts body", "GET /admin/x"}},
		{"bare CR in a header", post + "X: y\rContent-Length: 4||" + next, []int{400}, nil},
		{"bare CR behind a header", post + "X: y\r|" + close + "|", []int{400}, nil},
		{"NUL in a header", post + "X: a\x00b||" + next, []int{400}, nil},
		{"NUL in a header's name", post + "X\x00Y: b||" + next, []int{400}, nil},
		{"NUL in the path", "GET /rest/posts\x00 HTTP/1.1|" + host + "|" + next, []int{400}, nil},
		{"NUL in the method", "GET\x00 /rest/posts HTTP/1.1|" + host + "|" + next, []int{400}, nil},
		{"chunk extensions", post + "Transfer-Encoding: chunked||4;a=b;c=\"d\"|body|0;x||" + next, []int{200, 200}, []string{"POST /rest/posts body", "GET /admin/x"}},
		{"trailers", post + "Transfer-Encoding: chunked||0|Content-Length: 100|X-Perdiem-Endpoint: x||" + next, []int{200, 200}, []string{"POST /rest/posts", "GET /admin/x"}},
		{"an announced length", post + "Transfer-Encoding: chunked|Trailer: Content-Length||0|Content-Length: 100||" + next, []int{400}, nil},
		{"a chunk with a leading zero", post + "Transfer-Encoding: chunked||004|body|00||" + next, []int{200, 200}, []string{"POST /rest/posts body", "GET /admin/x"}},
		{"a space behind a chunk's size", post + "Transfer-Encoding: chunked||4 |body|0||" + next, []int{200, 200}, []string{"POST /rest/posts body", "GET /admin/x"}},
		{"NUL in a chunk's extension", post + "Transfer-Encoding: chunked||4;a\x00|body|0||" + next, []int{200, 200}, []string{"POST /rest/posts body", "GET /admin/x"}},
		{"a trailer without a name", post + "Transfer-Encoding: chunked||0|Bad Name: x||" + next, []int{200, 200}, []string{"POST /rest/posts", "GET /admin/x"}},
		{"HTTP/1.0", "GET /rest/posts HTTP/1.0|X-App-Id: acme||" + next, []int{200}, []string{"GET /rest/posts"}},
		{"HTTP/1.0 in chunks", "POST /rest/posts HTTP/1.0|X-App-Id: acme|Transfer-Encoding: chunked||0||" + next, []int{200}, []string{"POST /rest/posts"}},
		{"HTTP/0.9", "GET /rest/posts|", []int{400}, nil},
		{"HTTP/1.2", "GET /rest/posts HTTP/1.2|" + host + close + "|", []int{200}, []string{"GET /rest/posts"}},
		{"HTTP/2.0", "GET /rest/posts HTTP/2.0|" + host + close + "|", []int{505}, nil},
		{"HTTP/3", "GET /rest/posts HTTP/3|" + host + close + "|", []int{400}, nil},
		{"two spaces behind the method", "GET  /rest/posts HTTP/1.1|" + host + close + "|", []int{400}, nil},
		{"a space in the path", "GET /rest/ posts HTTP/1.1|" + host + close + "|", []int{400}, nil},
		{"a space behind the version", "GET /rest/posts HTTP/1.1 |" + host + close + "|", []int{400}, nil},
		{"a tab behind the method", "GET\t/rest/posts HTTP/1.1|" + host + close + "|", []int{400}, nil},
		{"an empty line first", "|" + next, []int{400}, nil},
		{"absolute form with another host", "GET http://b/rest/posts HTTP/1.1|" + host + "|" + next, []int{200, 200}, []string{"GET /rest/posts", "GET /admin/x"}},
		{"no host", "GET /rest/posts HTTP/1.1|X-App-Id: acme||" + next, []int{400}, nil},
		{"two hosts", "GET /rest/posts HTTP/1.1|" + host + "Host: b||" + next, []int{400}, nil},
		{"a host with a path", "GET /rest/posts HTTP/1.1|X-App-Id: acme|Host: a/admin/x?|" + close + "|", []int{400}, nil},
		{"a host with a space", "GET /rest/posts HTTP/1.1|X-App-Id: acme|Host: a b|" + close + "|", []int{400}, nil},
		{"a body on a GET", "GET /rest/posts HTTP/1.1|" + host + "Content-Length: 4||GET " + next, []int{200, 200}, []string{"GET /rest/posts GET", "GET /admin/x"}},
		{"an upgrade to h2c", "GET /rest/posts HTTP/1.1|" + host + "Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: AAMAAABkAAQAAP__||" + next, []int{200, 200}, []string{"GET /rest/posts", "GET /admin/x"}},
		{"the preface of HTTP/2", "PRI * HTTP/2.0||SM||", []int{400}, nil},
		{"a length that the client calls hop-by-hop", post + "Content-Length: 4|Connection: Content-Length||body" + next, []int{200, 200}, []string{"POST /rest/posts body", "GET /admin/x"}},
		{"a coding that the client calls hop-by-hop", post + "Transfer-Encoding: chunked|Connection: Transfer-Encoding||4|body|0||" + next, []int{200, 200}, []string{"POST /rest/posts body", "GET /admin/x"}},
		{
			"a query tunnelled beside another request", "POST /rest/posts HTTP/1.1|" + host + "X-HTTP-Method-Override: GET|Content-Type: application/x-www-form-urlencoded|Content-Length: 8||q=author" + next,
			[]int{200, 200},
			[]string{"GET /rest/posts?q=author", "GET /admin/x"},
		},
		{"a request line tunnelled", "POST /rest/posts HTTP/1.1|" + host + "X-HTTP-Method-Override: GET|Content-Type: application/x-www-form-urlencoded|Content-Length: 17||q HTTP/1.1|X: y|" + next, []int{400, 200}, []string{"GET /admin/x"}},
	}
	m := startMetered(t, catalog.PathPolicy{}, overriding)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m.t = t
			status := m.exchange(strings.ReplaceAll(test.text, "|", "\r\n"))
			var got []string
			for _, r := range m.settle(t, test.name) {
				if !r.whole {
					t.Errorf("%s was cut short", r)
				}
				got = append(got, r.String())
			}
			if !slices.Equal(status, test.status) || !slices.Equal(got, test.want) {
				t.Errorf("answered %v, want %v; the upstream was sent %q, want %q", status, test.status, got, test.want)
			}
		})
	}
}

// TestBrokenChunks sends bodies that end in nonsense. What had come of them may have reached the upstream, never their end, and nothing behind them.
func TestBrokenChunks(t *testing.T) {
	for _, chunks := range []string{
		"x||0||", "-1||0||", "+4|body|0||", "0x4|body|0||", "4\n", "4\rbody|0||", "5|body|0||", "3|body|0||", "ffffffffffffffff|body|0||", "10000000000000000|body|0||",
		"4|body0||", "4|body|;a|0||", "4|body||0||", "|0||", "4;a\nb|body|0||", "4|body|0", "4|bo",
	} {
		m := startMetered(t, catalog.PathPolicy{})
		w := m.dial()
		_, _ = io.WriteString(w, strings.ReplaceAll("POST /rest/posts HTTP/1.1|Host: a|X-App-Id: acme|Transfer-Encoding: chunked||"+chunks, "|", "\r\n"))
		_ = w.CloseWrite()
		_, _ = io.Copy(io.Discard, w.reader)
		m.stop()
		if all := m.settle(t, chunks); len(all) > 1 || len(all) == 1 && all[0].whole {
			t.Errorf("%q: the upstream was sent %q", chunks, all)
		}
	}
}

// FuzzEvasion sends any bytes as requests. Whatever of them reaches the upstream can be read in one way, and was charged as what it is.
func FuzzEvasion(f *testing.F) {
	for _, text := range []string{
		"GET //rest/./posts;a/%31?q=author HTTP/1.1|Host: a|X-App-Id: acme||",
		"GET /Rest/posts/a%2fB/ HTTP/1.1|Host: a|X-App-Id: acme|X-RestLi-Method: FINDER||GET /admin/x HTTP/1.0|X-App-Id: acme||",
		"POST /rest/posts HTTP/1.1|Host: a|X-App-Id: acme|X-HTTP-Method-Override: GET|Content-Type: application/x-www-form-urlencoded; charset=utf-8|Content-Length: 8||q=author",
		"POST /rest/posts?a HTTP/1.1|Host: a|X-App-Id: acme|X-HTTP-Method-Override: put|Content-Type: application/x-www-form-urlencoded|Transfer-Encoding: chunked||8|q=author|0||",
		"POST http://b/rest/posts HTTP/1.1|Host: a|X-App-Id: acme|Transfer-Encoding: chunked|Connection: X||4;x|body|0|T: x||",
		"PUT /re%C5%BFt/x/..;y/posts/urn%3Ali:1 HTTP/1.1|Host: a|X-App-Id: acme|X_RestLi_Method: FINDER|Content-Length: 1||x",
		"GET /rest/posts?a;q=author#&q=x HTTP/1.1|Host: a|X-App-Id: acme||",
	} {
		for n := range uint8(6) {
			f.Add([]byte(strings.ReplaceAll(text, "|", "\r\n")), n)
		}
	}
	var systems []*metered
	for _, n := range []uint8{0, 7, 8, 15, 16, 23} { // each choice is among them, by itself or together with all others
		m := startMetered(f, policyOf(n), overriding)
		m.quiet.Store(true)
		systems = append(systems, m)
	}
	f.Fuzz(func(t *testing.T, text []byte, policy uint8) {
		m := systems[int(policy)%len(systems)]
		in := bufio.NewReader(strings.NewReader(string(text)))
		for range 4 {
			r, err := http.ReadRequest(in)
			if err != nil {
				break
			}
			r.RemoteAddr = "127.0.0.1:1"
			serveRecovering(m.gateway, r)
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				break
			}
		}
		m.settle(t, string(text))
	})
}

// serveRecovering serves a request as net/http does, to which a panic with this value is the end of a connection.
func serveRecovering(g *gateway.Gateway, r *http.Request) {
	defer func() {
		if err, ok := recover().(error); ok && !errors.Is(err, http.ErrAbortHandler) {
			panic(err)
		}
	}()
	g.ServeHTTP(httptest.NewRecorder(), r)
}
