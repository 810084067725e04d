package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/gateway"
)

const formType = "Content-Type: application/x-www-form-urlencoded"

// TestMethodOverride sends POSTs that mean other methods. The upstream is sent the request that was matched, and the call is charged once, as
// that.
func TestMethodOverride(t *testing.T) {
	long := "q=" + strings.Repeat("x", 64<<10-2)
	tests := []struct {
		name, target string
		headers      []string
		body         string
		status       int
		want         string // what the upstream was sent: method, target, body
		endpoint     string
	}{
		{"a method", "/rest/posts/1", []string{"X-HTTP-Method-Override: PUT", "Content-Type: application/json"}, "{}", 200, "PUT /rest/posts/1 {}", "post.put"},
		{"in lower case, between spaces", "/rest/posts/1", []string{"x-http-method-override:  put "}, "", 200, "PUT /rest/posts/1", "post.put"},
		{"the same twice", "/rest/posts/1", []string{"X-HTTP-Method-Override: PUT", "X-HTTP-Method-Override: put"}, "", 200, "PUT /rest/posts/1", "post.put"},
		{"POST itself", "/rest/posts", []string{"X-HTTP-Method-Override: POST"}, "body", 200, "POST /rest/posts body", "create"},
		{"a method of nobody's", "/rest/posts", []string{"X-HTTP-Method-Override: PURGE"}, "", 200, "PURGE /rest/posts", "*"},
		{"HEAD", "/rest/posts", []string{"X-HTTP-Method-Override: HEAD"}, "", 200, "HEAD /rest/posts", "list"},
		{"another header", "/rest/posts", []string{"X-HTTP-Method: GET"}, "", 200, "POST /rest/posts", "create"},
		{"yet another", "/rest/posts", []string{"X-Method-Override: GET"}, "", 200, "POST /rest/posts", "create"},
		{"with underscores", "/rest/posts", []string{"X_HTTP_Method_Override: GET"}, "", 200, "POST /rest/posts", "create"},
		{"beside another header", "/rest/posts/1", []string{"X-HTTP-Method-Override: PUT", "X-HTTP-Method: DELETE"}, "", 200, "PUT /rest/posts/1", "post.put"},

		{"two methods", "/rest/posts", []string{"X-HTTP-Method-Override: PUT", "X-HTTP-Method-Override: GET"}, "", 400, "", ""},
		{"a list", "/rest/posts", []string{"X-HTTP-Method-Override: GET, GET"}, "", 400, "", ""},
		{"nothing", "/rest/posts", []string{"X-HTTP-Method-Override:"}, "", 400, "", ""},
		{"no token", "/rest/posts", []string{"X-HTTP-Method-Override: GET /admin/x HTTP/1.1"}, "", 400, "", ""},
		{"no letters that HTTP knows", "/rest/posts", []string{"X-HTTP-Method-Override: G\u0131T"}, "", 400, "", ""},
		{"CONNECT", "/rest/posts", []string{"X-HTTP-Method-Override: connect"}, "", 400, "", ""},

		{"a query in a form", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType}, "q=author&ids=List(1,2)", 200, "GET /rest/posts?q=author&ids=List(1,2)", "find"},
		{"a query in both", "/rest/posts?a=%2F", []string{"X-HTTP-Method-Override: GET", formType}, "q=author", 200, "GET /rest/posts?a=%2F&q=author", "find"},
		{"a query in the URL alone", "/rest/posts?q=author", []string{"X-HTTP-Method-Override: GET", formType}, "", 200, "GET /rest/posts?q=author", "find"},
		{"an empty query", "/rest/posts?", []string{"X-HTTP-Method-Override: GET", formType}, "", 200, "GET /rest/posts?", "list"},
		{"no query", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType}, "", 200, "GET /rest/posts", "list"},
		{"a form for PUT", "/rest/posts/1", []string{"X-HTTP-Method-Override: PUT", formType}, "a=b", 200, "PUT /rest/posts/1?a=b", "post.put"},
		{"a form for POST", "/rest/posts", []string{"X-HTTP-Method-Override: POST", formType}, "a=b", 200, "POST /rest/posts?a=b", "create"},
		{"a form and a header that is tested", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType, "X-RestLi-Method: FINDER"}, "q=author", 200, "GET /rest/posts?q=author", "find.both"},
		{"a charset", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType + `; charset="UTF-8"`}, "q=author", 200, "GET /rest/posts?q=author", "find"},
		{"the type in other letters", "/rest/posts", []string{"X-HTTP-Method-Override: GET", "content-type: Application/X-WWW-Form-URLEncoded"}, "q=author", 200, "GET /rest/posts?q=author", "find"},
		{"the type twice", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType, formType}, "q=author", 200, "GET /rest/posts?q=author", "find"},
		{"as long as may be", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType}, long, 200, "GET /rest/posts?" + long, "list"},
		{"not compressed", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType, "Content-Encoding: identity"}, "q=author", 200, "GET /rest/posts?q=author", "find"},
		{"a form without the header", "/rest/posts", []string{formType}, "q=author", 200, "POST /rest/posts q=author", "create"},

		{"the query twice, differently", "/rest/posts?q=other", []string{"X-HTTP-Method-Override: GET", formType}, "q=author", 400, "", ""},
		{"too long", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType}, long + "x", 400, "", ""},
		{"a foreign charset", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType + "; charset=utf-16"}, "q=author", 400, "", ""},
		{"two charsets", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType + "; charset=utf-8; charset=utf-16"}, "q=author", 400, "", ""},
		{"two types", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType, "Content-Type: text/plain"}, "q=author", 400, "", ""},
		{"a type that is none", "/rest/posts", []string{"X-HTTP-Method-Override: GET", "Content-Type: application/x-www-form-urlencoded/x"}, "q=author", 400, "", ""},
		{"compressed", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType, "Content-Encoding: gzip"}, "q=author", 400, "", ""},
		{"in parts", "/rest/posts", []string{"X-HTTP-Method-Override: PUT", "Content-Type: multipart/mixed; boundary=x"}, "--x\r\n" + formType + "\r\n\r\nq=author\r\n--x--", 400, "", ""},
		{"a space", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType}, "q=author HTTP/1.1", 400, "", ""},
		{"a line's end", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType}, "q=author\r\n", 400, "", ""},
		{"NUL", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType}, "q=author\x00", 400, "", ""},
		{"a number sign", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType}, "q=author#", 400, "", ""},
		{"more than ASCII", "/rest/posts", []string{"X-HTTP-Method-Override: GET", formType}, "q=é", 400, "", ""},
	}
	m := startMetered(t, catalog.PathPolicy{}, overriding)
	for _, test := range tests {
		for _, chunked := range []bool{false, true} {
			if chunked && test.body == "" {
				continue
			}
			t.Run(fmt.Sprintf("%s, chunked %v", test.name, chunked), func(t *testing.T) {
				m.t = t
				before := m.used(test.endpoint).Used
				text := "POST " + test.target + " HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nConnection: close\r\n" + strings.Join(test.headers, "\r\n") + "\r\n"
				if chunked {
					half := len(test.body) / 2
					text += fmt.Sprintf("Transfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\nX-Late: y\r\n\r\n", half, test.body[:half], len(test.body)-half, test.body[half:])
				} else {
					text += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(test.body), test.body)
				}
				statuses := m.exchange(text)
				var got string
				all := m.settle(t, test.name)
				for _, r := range all {
					got += r.String()
				}
				if !slices.Equal(statuses, []int{test.status}) || got != test.want {
					t.Errorf("answered %v, want %d; the upstream was sent %.200q, want %.200q", statuses, test.status, got, test.want)
				}
				if test.status != 200 || t.Failed() {
					return
				}
				if now := m.used(test.endpoint).Used; now != before+1 {
					t.Errorf("%s was charged %d", test.endpoint, now-before)
				}
				h := all[0].header
				for _, name := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X_http_method_override"} {
					if h.Get(name) != "" {
						t.Errorf("the upstream was sent %s: %s", name, h.Get(name))
					}
				}
				if strings.Contains(test.want, "?") { // the form is gone, and what spoke of it
					for name := range h {
						if strings.HasPrefix(name, "Content-") && h.Get(name) != "0" || name == "Transfer-Encoding" || name == "Trailer" {
							t.Errorf("the upstream was sent %s: %q", name, h[name])
						}
					}
				}
			})
		}
	}
}

// TestMethodOverrideOff has the header dropped: what is charged and sent is a POST.
func TestMethodOverrideOff(t *testing.T) {
	m := startMetered(t, catalog.PathPolicy{})
	m.exchange("POST /rest/posts HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nConnection: close\r\nX-HTTP-Method-Override: GET\r\n" + formType + "\r\nContent-Length: 8\r\n\r\nq=author")
	all := m.settle(t, "off")
	if len(all) != 1 || all[0].String() != "POST /rest/posts q=author" || all[0].header.Get("X-HTTP-Method-Override") != "" || all[0].header.Get("Content-Type") == "" {
		t.Errorf("the upstream was sent %v", all)
	}
	if u := m.used("create"); u.Used != 1 {
		t.Errorf("charged %+v", u)
	}
}

// TestOverriddenMethodOfOthers says that only a POST may mean another method.
func TestOverriddenMethodOfOthers(t *testing.T) {
	m := startMetered(t, catalog.PathPolicy{}, overriding)
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		m.exchange(method + " /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nConnection: close\r\nX-HTTP-Method-Override: PATCH\r\n\r\n")
		if all := m.settle(t, method); len(all) != 1 || all[0].method != method {
			t.Errorf("%s: the upstream was sent %v", method, all)
		}
	}
}

// TestOverriddenHead has a client that sent a POST answered without a body: it would wait for what the upstream announces.
func TestOverriddenHead(t *testing.T) {
	s := start(t, overriding)
	w := s.dial()
	for range 2 { // the connection goes on
		w.send("POST /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nX-HTTP-Method-Override: HEAD\r\nContent-Length: 0\r\n\r\n")
		if got := w.reply(); got.StatusCode != 200 || got.body != "" {
			t.Errorf("%d %q", got.StatusCode, got.body)
		}
		if r := s.upstream.last(t); r.Method != "HEAD" {
			t.Errorf("sent as %s", r.Method)
		}
	}
	for n := 1; n <= 2; n++ {
		if o := s.observation(n); o.Outcome != gateway.Admitted || o.Endpoint != "posts.get" {
			t.Errorf("observed %+v", o)
		}
	}
}

// TestTunnelledQuestionForUsage reads usage by a POST that means GET, with the question in its body.
func TestTunnelledQuestionForUsage(t *testing.T) {
	s := start(t, overriding)
	s.do("GET", "/rest/posts/1", "m-7")
	w := s.dial()
	w.send("POST /perdiem/usage HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nX-HTTP-Method-Override: GET\r\n" + formType + "\r\nContent-Length: 10\r\n\r\nmember=m-7")
	if got := w.reply(); got.StatusCode != 200 || !strings.Contains(got.body, `"id":"m-7","limit":1000,"used":1`) {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// TestStrangersFormIsNotRead answers whoever is not let in before their form is asked for.
func TestStrangersFormIsNotRead(t *testing.T) {
	s := start(t, overriding)
	w := s.dial()
	w.send("POST /rest/posts HTTP/1.1\r\nHost: a\r\nX-App-Id: nobody\r\nX-HTTP-Method-Override: GET\r\n" + formType + "\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n")
	if got := w.head(); got.StatusCode != 401 {
		t.Errorf("%s", got.Status)
	}
	// Whoever is, is asked for it.
	w = s.dial()
	w.send("POST /rest/posts HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nX-HTTP-Method-Override: GET\r\n" + formType + "\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n")
	if got := w.head(); got.StatusCode != 100 {
		t.Fatalf("%s", got.Status)
	}
	w.send("q=author")
	if got := w.reply(); got.StatusCode != 200 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if r := s.upstream.last(t); r.Method != "GET" || r.RequestURI != "/rest/posts?q=author" || r.Header.Get("Expect") != "" {
		t.Errorf("sent %s %s %v", r.Method, r.RequestURI, r.Header)
	}
}

// late is the end of a client's connection that sends nothing. Its read ends at the deadline, and notes which that was.
type late struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (l *late) SetReadDeadline(at time.Time) error {
	l.deadline = at
	return nil
}

func (l *late) Read([]byte) (int, error) {
	if l.deadline.IsZero() {
		return 0, io.ErrUnexpectedEOF
	}
	return 0, os.ErrDeadlineExceeded
}

func (l *late) Close() error { return nil }

// TestFormThatDoesNotCome bounds the time for which a form is waited for, before anything is charged, and does not lift the bound when it has passed:
// net/http goes on to read the rest.
func TestFormThatDoesNotCome(t *testing.T) {
	s := start(t, overriding)
	w := &late{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("POST", "/rest/posts", w)
	r.RemoteAddr = "127.0.0.1:1"
	r.Header = http.Header{"X-App-Id": {"acme"}, "X-Http-Method-Override": {"GET"}, "Content-Type": {"application/x-www-form-urlencoded"}}
	began := time.Now()
	s.gateway.ServeHTTP(w, r)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "did not arrive in time") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if wait := w.deadline.Sub(began); wait <= 0 || wait > 11*time.Second {
		t.Errorf("waits for %v", wait)
	}
	if n := s.upstream.count(); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
	if o := s.observation(1); o.Outcome != gateway.Rejected || o.Status != 400 {
		t.Errorf("observed %+v", o)
	}
}

// TestFormCutShort charges nothing for a form that ends early.
func TestFormCutShort(t *testing.T) {
	s := start(t, overriding)
	w := s.dial()
	w.send("POST /rest/posts HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nX-HTTP-Method-Override: GET\r\n" + formType + "\r\nContent-Length: 100\r\n\r\nq=author")
	must(t, w.CloseWrite())
	if o := s.observation(1); o.Outcome != gateway.Rejected {
		t.Errorf("observed %+v", o)
	}
	if n, u := s.upstream.count(), s.used("*"); n != 0 || u.Used != 0 {
		t.Errorf("%d requests reached the upstream; charged %+v", n, u)
	}
}
