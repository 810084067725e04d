package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// frames sends one request over HTTP/2, frame by frame, to a server that serves the gateway. It returns the status that it was answered, or how
// the server refused it: "reset" or "goaway" with the code, or "closed".
func frames(t *testing.T, address string, fields []hpack.HeaderField, bodies ...string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second))) // a test that hangs fails instead
	_, err = io.WriteString(conn, http2.ClientPreface)
	must(t, err)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	must(t, framer.WriteSettings())
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		must(t, encoder.WriteField(f))
	}
	must(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: len(bodies) == 0}))
	for i, body := range bodies {
		if err := framer.WriteData(1, i == len(bodies)-1, []byte(body)); err != nil {
			break // refused already
		}
	}
	status := ""
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			if errors.Is(err, io.EOF) || status == "" {
				return "closed"
			}
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				must(t, framer.WriteSettingsAck())
			}
		case *http2.MetaHeadersFrame:
			status = f.PseudoValue("status")
			if f.StreamEnded() {
				return status
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				return status
			}
		case *http2.RSTStreamFrame:
			if status != "" && f.ErrCode == http2.ErrCodeNo { // answered, and the rest of the request is not wanted
				return status
			}
			return "reset " + f.ErrCode.String()
		case *http2.GoAwayFrame:
			return "goaway " + f.ErrCode.String()
		}
	}
}

// TestHTTP2 sends requests that HTTP/1 could not carry, or that a gateway from one version to the other could make two of.
func TestHTTP2(t *testing.T) {
	const reset = "reset PROTOCOL_ERROR"
	head := func(method, path string, more ...string) []hpack.HeaderField {
		fields := []hpack.HeaderField{{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "a"}, {Name: ":path", Value: path}, {Name: "x-app-id", Value: "acme"}}
		for i := 0; i < len(more); i += 2 {
			fields = append(fields, hpack.HeaderField{Name: more[i], Value: more[i+1]})
		}
		return fields
	}
	form := []string{"x-http-method-override", "GET", "content-type", "application/x-www-form-urlencoded"}
	tests := []struct {
		name   string
		fields []hpack.HeaderField
		bodies []string
		status string
		want   []string
	}{
		{"a request", head("GET", "/rest/posts?q=author"), nil, "200", []string{"GET /rest/posts?q=author"}},
		{"a body", head("POST", "/rest/posts"), []string{"bo", "dy"}, "200", []string{"POST /rest/posts body"}},
		{"a body of a length", head("POST", "/rest/posts", "content-length", "4"), []string{"bo", "dy"}, "200", []string{"POST /rest/posts body"}},
		{"a method in lower case", head("get", "/rest/posts"), nil, "200", []string{"GET /rest/posts"}},
		{"a method with a request line", head("GET /admin/x HTTP/1.1", "/rest/posts"), nil, "400", nil},
		{"a method with a line's end", head("GET\r\nX: y", "/rest/posts"), nil, reset, nil},
		{"an empty method", head("", "/rest/posts"), nil, reset, nil},
		{"CONNECT to a path", head("CONNECT", "/rest/posts"), nil, reset, nil},
		{"extended CONNECT", append([]hpack.HeaderField{{Name: ":protocol", Value: "websocket"}}, head("CONNECT", "/rest/posts")...), nil, reset, nil},
		{"a path with a space", head("GET", "/rest/ posts"), nil, "200", []string{"GET /rest/%20posts"}},
		{"a path with a request line", head("GET", "/admin/x HTTP/1.1"), nil, "200", []string{"GET /admin/x%20HTTP/1.1"}},
		{"a path with a line's end", head("GET", "/admin/x HTTP/1.1\r\nHost: b\r\n\r\n"), nil, reset, nil},
		{"a path with NUL", head("GET", "/rest/posts\x00"), nil, reset, nil},
		{"a path with a number sign", head("GET", "/rest/posts#x"), nil, "400", nil},
		{"a path with a backslash", head("GET", "/rest\\posts"), nil, "400", nil},
		{"a path without a slash", head("GET", "rest/posts"), nil, reset, nil},
		{"a path that is a URL", head("GET", "http://b/rest/posts"), nil, "400", nil},
		{"an asterisk", head("OPTIONS", "*"), nil, "400", nil},
		{"a query with a space", head("GET", "/rest/posts?q=author HTTP/1.1"), nil, "400", nil},
		{"a query with a number sign", head("GET", "/rest/posts?q=author#"), nil, "400", nil},
		{"two paths", head("GET", "/rest/posts", ":path", "/admin/x"), nil, reset, nil},
		{"two paths, side by side", append([]hpack.HeaderField{{Name: ":path", Value: "/admin/x"}}, head("GET", "/rest/posts")...), nil, reset, nil},
		{"two methods", append([]hpack.HeaderField{{Name: ":method", Value: "GET"}}, head("POST", "/rest/posts")...), nil, reset, nil},
		{"no path", head("GET", "/rest/posts")[:3], nil, reset, nil},
		{"an unknown pseudo-header", append([]hpack.HeaderField{{Name: ":evil", Value: "x"}}, head("GET", "/rest/posts")...), nil, reset, nil},
		{"a status", append([]hpack.HeaderField{{Name: ":status", Value: "200"}}, head("GET", "/rest/posts")...), nil, reset, nil},
		{"an authority and another host", head("GET", "/rest/posts", "host", "b"), nil, "400", nil},
		{"chunks", head("POST", "/rest/posts", "transfer-encoding", "chunked"), []string{"0\r\n\r\nGET /admin/x HTTP/1.1\r\n\r\n"}, "400", nil},
		{"a hop's header", head("GET", "/rest/posts", "connection", "x-restli-method", "x-restli-method", "FINDER"), nil, "400", nil},
		{"keep-alive", head("GET", "/rest/posts", "keep-alive", "1"), nil, "400", nil},
		{"an upgrade", head("GET", "/rest/posts", "upgrade", "websocket"), nil, "400", nil},
		{"te", head("GET", "/rest/posts", "te", "trailers"), nil, "200", []string{"GET /rest/posts"}},
		{"trailers announced", head("POST", "/rest/posts", "trailer", "x-sum"), []string{"body"}, "200", []string{"POST /rest/posts body"}},
		{"a trailer without a name", head("POST", "/rest/posts", "trailer", "a b"), []string{"body"}, "400", nil},
		{"a trailer with an empty name", head("POST", "/rest/posts", "trailer", "x-sum, "), []string{"body"}, "400", nil},
		{"another te", head("GET", "/rest/posts", "te", "chunked"), nil, "400", nil},
		{"a header with a line's end", head("GET", "/rest/posts", "x-y", "a\r\nx-restli-method: FINDER"), nil, reset, nil},
		{"a header with LF", head("GET", "/rest/posts", "x-y", "a\nb"), nil, reset, nil},
		{"a header with NUL", head("GET", "/rest/posts", "x-y", "a\x00b"), nil, reset, nil},
		{"a header's name in capitals", head("GET", "/rest/posts", "X-RestLi-Method", "FINDER"), nil, reset, nil},
		{"a header's name with a colon", head("GET", "/rest/posts", "x-restli-method: finder\r\nx", "y"), nil, reset, nil},
		{"a header's name with a space", head("GET", "/rest/posts", "x-restli-method ", "finder"), nil, reset, nil},
		{"a header's name with an underscore", head("GET", "/rest/posts", "x_restli_method", "FINDER"), nil, "400", nil},
		{"the header", head("GET", "/rest/posts", "x-restli-method", "finder"), nil, "200", []string{"GET /rest/posts"}},
		{"two lengths", head("POST", "/rest/posts", "content-length", "4", "content-length", "5"), []string{"body"}, "400", nil},
		{"two lengths, the wrong one first", head("POST", "/rest/posts", "content-length", "5", "content-length", "4", "x-http-method-override", "GET", "content-type", "application/x-www-form-urlencoded"), []string{"body"}, "400", nil},
		{"two equal lengths", head("POST", "/rest/posts", "content-length", "4", "content-length", "4"), []string{"body"}, "200", []string{"POST /rest/posts body"}},
		{"a length that is none", head("POST", "/rest/posts", "content-length", "4, 4"), nil, "400", nil},
		{"a length without a body", head("POST", "/rest/posts", "content-length", "4"), nil, "400", nil},
		{"a query tunnelled", head("POST", "/rest/posts?x=1", form...), []string{"q=", "author"}, "200", []string{"GET /rest/posts?x=1&q=author"}},
		{"a request line tunnelled", head("POST", "/rest/posts", form...), []string{"q=author HTTP/1.1\r\n\r\n"}, "400", nil},
		{"a method overridden by another", head("POST", "/rest/posts", append(form, "x-http-method-override", "PUT")...), []string{"q=author"}, "400", nil},
	}
	m := startMetered(t, catalog.PathPolicy{}, overriding)
	server := httptest.NewUnstartedServer(m.gateway)
	server.EnableHTTP2 = true
	server.Config.DisableGeneralOptionsHandler = true // as the gateway's own server has it
	server.StartTLS()
	defer server.Close()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status := frames(t, server.Listener.Addr().String(), test.fields, test.bodies...)
			var got []string
			for _, r := range m.settle(t, test.name) {
				got = append(got, r.String())
			}
			if status != test.status || !slices.Equal(got, test.want) {
				t.Errorf("answered %s, want %s; the upstream was sent %q, want %q", status, test.status, got, test.want)
			}
		})
	}
}

// TestHTTP2Lengths sends bodies of another length than they were announced with. Their requests may be begun upstream, and never come to their end.
func TestHTTP2Lengths(t *testing.T) {
	for _, length := range []string{"3", "5", "18446744073709551616"} {
		m := startMetered(t, catalog.PathPolicy{}, overriding)
		server := httptest.NewUnstartedServer(m.gateway)
		server.EnableHTTP2 = true
		server.StartTLS()
		for _, more := range []hpack.HeaderField{{Name: "x-y", Value: "z"}, {Name: "x-http-method-override", Value: "GET"}} {
			status := frames(t, server.Listener.Addr().String(), []hpack.HeaderField{
				{Name: ":method", Value: "POST"},
				{Name: ":scheme", Value: "https"},
				{Name: ":authority", Value: "a"},
				{Name: ":path", Value: "/rest/posts"},
				{Name: "x-app-id", Value: "acme"},
				{Name: "content-type", Value: "application/x-www-form-urlencoded"},
				more,
				{Name: "content-length", Value: length},
			}, "q=au")
			if status == "200" {
				t.Errorf("length %s, %v: answered %s", length, more, status)
			}
		}
		server.Close()
		m.stop()
		for _, r := range m.settle(t, "length "+length) {
			if r.whole || strings.HasPrefix(r.method, "GET") {
				t.Errorf("length %s: the upstream was sent %s", length, fmt.Sprint(r))
			}
		}
	}
}

// TestRapidReset begins requests on one HTTP/2 connection and takes each back at once: few are under way at a time, and the connection is ended.
func TestRapidReset(t *testing.T) {
	by, files, _ := encrypted(t)
	release := make(chan struct{})
	s := start(t, by, func(c *setup) {
		c.take = func(context.Context, lease.Call) (quota.Decision, error) { // a decision that waits, whoever leaves
			<-release
			return quota.Decision{}, fault.New(fault.Unavailable, "down")
		}
	})
	defer close(release)
	conn, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: files.roots(), NextProtos: []string{"h2"}})
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, http2.ClientPreface)
	must(t, err)
	framer := http2.NewFramer(conn, conn)
	must(t, framer.WriteSettings())
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	ended := make(chan http2.ErrCode, 1)
	go func() {
		code := http2.ErrCodeNo
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				ended <- code
				return
			}
			if away, ok := frame.(*http2.GoAwayFrame); ok {
				code = away.ErrCode
			}
		}
	}()
	sent := 0
	for ; sent < 20_000; sent++ {
		block.Reset()
		for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/x"}, {"x-app-id", "acme"}} {
			must(t, encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
		}
		id := uint32(2*sent + 1)
		err := errors.Join(
			framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}),
			framer.WriteRSTStream(id, http2.ErrCodeCancel),
		)
		if err != nil {
			break
		}
	}
	if code := <-ended; code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("ended after %d requests with %v", sent, code)
	}
}

// TestWindowsStayClosed opens no window for answers on one HTTP/2 connection: their streams are reset in time, and others on it go on, also one that
// has nothing to send for as long.
func TestWindowsStayClosed(t *testing.T) {
	by, files, _ := encrypted(t)
	release, gone := make(chan struct{}), make(chan struct{})
	s := start(t, by, func(c *setup) { c.options.Timeouts = gateway.Timeouts{Answer: time.Second} }, handled(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = io.Copy(w, zeros{})
			close(gone)
		case "/pausing":
			_, _ = io.WriteString(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-release
			_, _ = io.WriteString(w, " and last")
		default:
			_, _ = io.WriteString(w, "small")
		}
	}))
	conn, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: files.roots(), NextProtos: []string{"h2"}})
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second))) // a test that hangs fails instead
	_, err = io.WriteString(conn, http2.ClientPreface)
	must(t, err)
	framer := http2.NewFramer(conn, conn)
	must(t, framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	request := func(id uint32, path, application string) {
		t.Helper()
		block.Reset()
		for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", path}, {"x-app-id", application}} {
			must(t, encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
		}
		must(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
	}
	bodies, ended, resets := map[uint32]string{}, map[uint32]bool{}, map[uint32]http2.ErrCode{}
	readUntil := func(done func() bool) {
		t.Helper()
		for !done() {
			frame, err := framer.ReadFrame()
			must(t, err)
			switch f := frame.(type) {
			case *http2.DataFrame:
				bodies[f.StreamID] += string(f.Data())
				ended[f.StreamID] = f.StreamEnded()
			case *http2.RSTStreamFrame:
				resets[f.StreamID] = f.ErrCode
			case *http2.GoAwayFrame:
				t.Fatal(f)
			}
		}
	}

	request(1, "/pausing", "acme")
	must(t, framer.WriteWindowUpdate(1, 100))
	readUntil(func() bool { return bodies[1] == "first" })
	closed := []uint32{3, 5, 7}
	request(3, "/large", "acme")
	request(5, "/small", "acme")
	request(7, "/small", "nobody") // which the gateway answers itself
	readUntil(func() bool { return len(resets) == len(closed) })
	for _, id := range closed {
		if resets[id] != http2.ErrCodeInternal || bodies[id] != "" {
			t.Errorf("stream %d: %v after %q", id, resets[id], bodies[id])
		}
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the upstream still writes")
	}
	outcomes := []gateway.Outcome{s.observation(1).Outcome, s.observation(2).Outcome, s.observation(3).Outcome}
	slices.Sort(outcomes)
	if !slices.Equal(outcomes, []gateway.Outcome{gateway.Rejected, gateway.Admitted, gateway.Abandoned}) {
		t.Errorf("observed %v", outcomes)
	}
	request(9, "/small", "acme")
	must(t, framer.WriteWindowUpdate(9, 100))
	close(release)
	readUntil(func() bool { return ended[1] && ended[9] })
	if bodies[1] != "first and last" || bodies[9] != "small" || len(resets) != len(closed) {
		t.Errorf("%v, reset %v", bodies, resets)
	}
}
