package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/internal/keypair"
	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// pairFiles are a certificate and a key in a folder, which can be replaced.
type pairFiles struct {
	t testing.TB
	keypair.Files
}

func newPairFiles(t testing.TB) pairFiles {
	folder := t.TempDir()
	f := pairFiles{t, keypair.Files{Certificate: filepath.Join(folder, "cert.pem"), Key: filepath.Join(folder, "key.pem")}}
	f.replace()
	return f
}

// replace writes another pair.
func (f pairFiles) replace() {
	f.t.Helper()
	certificate, key, err := testkit.Certificate(time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	must(f.t, errors.Join(err, os.WriteFile(f.Certificate, certificate, 0o600), os.WriteFile(f.Key, key, 0o600)))
}

// roots returns what trusts the certificate that is in the file now.
func (f pairFiles) roots() *x509.CertPool {
	f.t.Helper()
	text, err := os.ReadFile(f.Certificate)
	must(f.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

// encrypted makes the gateway speak TLS with a pair that can be replaced.
func encrypted(t testing.TB) (func(*setup), pairFiles, *keypair.Pair) {
	t.Helper()
	files := newPairFiles(t)
	pair, err := keypair.Open(files.Files)
	must(t, err)
	return func(c *setup) { c.options.TLS = pair.TLS() }, files, pair
}

// tlsClient returns a client that trusts the pair, and speaks one version of HTTP.
func tlsClient(t testing.TB, roots *x509.CertPool, http2 bool) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetHTTP2(http2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// ask sends a request as acme, and returns the whole answer.
func ask(client *http.Client, method, url string, body io.Reader, headers ...string) (reply, error) {
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		return reply{}, err
	}
	r.Header.Set("X-App-Id", "acme")
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return reply{res, string(text)}, err
}

func TestTLS(t *testing.T) {
	by, files, _ := encrypted(t)
	s := start(t, by)
	for _, http2 := range []bool{false, true} {
		client := tlsClient(t, files.roots(), http2)
		got, err := ask(client, "POST", "https://"+s.address+"/x?y", strings.NewReader("body"))
		must(t, err)
		r := s.upstream.last(t)
		if got.StatusCode != 200 || got.ProtoMajor == 2 != http2 || got.Header.Get("RateLimit") == "" || r.RequestURI != "/x?y" {
			t.Errorf("%s %d %v, sent %s", got.Proto, got.StatusCode, got.Header, r.RequestURI)
		}
		want := "for=127.0.0.1;host=\"" + s.address + "\";proto=https"
		if r.Header.Get("X-Forwarded-Proto") != "https" || r.Header.Get("Forwarded") != want {
			t.Errorf("the upstream is told %v", r.Header)
		}
		for range 5 {
			must(t, func() error { _, err := ask(client, "POST", "https://"+s.address+"/rest/posts", nil); return err }())
		}
		if got, err = ask(client, "POST", "https://"+s.address+"/rest/posts", nil); err != nil || got.StatusCode != 429 {
			t.Errorf("over the limit: %d %v", got.StatusCode, err)
		}
	}
	for version, accepted := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: files.roots(), MinVersion: version, MaxVersion: version})
		if (err == nil) != accepted {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			conn.Close()
		}
	}
	if got := s.raw("GET / HTTP/1.1"); got.StatusCode != 400 {
		t.Errorf("without TLS: %s", got.Status)
	}
}

// TestCertificateIsReplaced replaces the pair while clients of both versions of HTTP are at work: no call fails, open connections stay, and
// new ones see the new certificate. A bad pair changes nothing.
func TestCertificateIsReplaced(t *testing.T) {
	by, files, pair := encrypted(t)
	s := start(t, by)
	first := files.roots()
	url := "https://" + s.address + "/x"
	serial := func() string {
		conn, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true})
		must(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}

	var group sync.WaitGroup
	made, stop := make(chan struct{}), make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(stop) }) }
	for i := range 4 {
		client := tlsClient(t, first, i%2 == 1) // it trusts the first certificate alone: a new connection would fail
		_, err := ask(client, "GET", url, nil)
		must(t, err)
		group.Go(func() {
			for {
				if got, err := ask(client, "GET", url, nil); err != nil || got.StatusCode != 200 {
					t.Errorf("%d %v", got.StatusCode, err)
					end()
					return
				}
				select {
				case made <- struct{}{}:
				case <-stop:
					return
				}
			}
		})
	}
	for range 5 {
		old := serial()
		files.replace()
		must(t, pair.Reload(time.Now()))
		if now := serial(); now == old {
			t.Error("a new connection sees the old certificate")
		}
		if _, err := ask(tlsClient(t, files.roots(), true), "GET", url, nil); err != nil {
			t.Errorf("a new client: %v", err)
		}
		for range 40 { // the others have gone on
			select {
			case <-made:
			case <-stop:
				group.Wait()
				t.FailNow()
			}
		}
	}
	old := serial()
	must(t, os.WriteFile(files.Key, []byte("nonsense"), 0o600))
	if err := pair.Reload(time.Now()); err == nil || serial() != old {
		t.Errorf("a bad pair: %v", err)
	}
	end()
	group.Wait()
}

// TestWebSocketOverTLS upgrades a connection that is encrypted.
func TestWebSocketOverTLS(t *testing.T) {
	by, files, _ := encrypted(t)
	s := start(t, by, handled(echo("websocket")))
	conn, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: files.roots(), NextProtos: []string{"http/1.1"}})
	must(t, err)
	defer conn.Close()
	checkEcho(t, conn)
	if o := s.observation(1); o.Outcome != gateway.Admitted || o.Status != 101 {
		t.Errorf("observed %+v", o)
	}
}

// checkEcho upgrades a connection, sends lines, has them back, and ends it.
func checkEcho(t *testing.T, conn net.Conn) {
	t.Helper()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err := io.WriteString(conn, "GET /socket HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	must(t, err)
	head := make([]byte, 0, 1024)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		var b [1]byte
		_, err := io.ReadFull(conn, b[:])
		must(t, err)
		head = append(head, b[0])
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		t.Fatalf("%s", head)
	}
	for _, line := range []string{"one\n", "two\n"} {
		_, err := io.WriteString(conn, line)
		must(t, err)
		got := make([]byte, len("echo ")+len(line))
		_, err = io.ReadFull(conn, got)
		if must(t, err); string(got) != "echo "+line {
			t.Fatalf("%q", got)
		}
	}
	must(t, conn.Close())
}

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

// TestSlowBody has a client send a byte now and then: it is told that it was too slow, the upstream is let go, and the connection is not
// used again, on which the rest of the body would look like a request.
func TestSlowBody(t *testing.T) {
	gone := make(chan struct{}, 2)
	by, files, _ := encrypted(t)
	handler := handled(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		<-r.Context().Done()
		gone <- struct{}{}
	})
	strict := func(c *setup) { c.options.Timeouts = gateway.Timeouts{Body: 50 * time.Millisecond, BodyRate: 1000} }

	s := start(t, strict, handler)
	w := s.dial()
	w.send("POST /upload HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nContent-Length: 300\r\n\r\nG")
	got := w.reply()
	if got.StatusCode != 408 || !strings.Contains(got.body, `"code":"REQUEST_TIMEOUT"`) || !got.Close || got.Header.Get("RateLimit") == "" {
		t.Errorf("%d %v %s", got.StatusCode, got.Header, got.body)
	}
	<-gone
	_, _ = io.WriteString(w, "ET /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
	if rest, _ := io.ReadAll(w.reader); len(rest) > 0 {
		t.Errorf("the rest of the body was answered: %s", rest)
	}
	if o := s.observation(1); o.Outcome != gateway.Abandoned || o.Status != 408 {
		t.Errorf("observed %+v", o)
	}
	if u := s.used("*"); u.Used != 1 {
		t.Errorf("used %+v", u)
	}

	s = start(t, by, strict, handler)
	client := tlsClient(t, files.roots(), true)
	reader, writer := io.Pipe()
	go func() { _, _ = writer.Write([]byte("x")) }()
	got, err := ask(client, "POST", "https://"+s.address+"/upload", reader)
	if err != nil || got.StatusCode != 408 || got.ProtoMajor != 2 {
		t.Errorf("HTTP/2: %d %v", got.StatusCode, err)
	}
	<-gone
	must(t, writer.Close())
	if got, err := ask(client, "GET", "https://"+s.address+"/perdiem/usage", nil); err != nil || got.StatusCode != 200 {
		t.Errorf("the connection's next call: %d %v", got.StatusCode, err)
	}
}

// TestSlowConversation lets a client be as slow as it likes once the upstream has begun to answer.
func TestSlowConversation(t *testing.T) {
	const limit = 50 * time.Millisecond
	s := start(t, func(c *setup) { c.options.Timeouts = gateway.Timeouts{Body: limit, BodyRate: 1_000_000} }, handled(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(w, r.Body)
	}))
	w := s.dial()
	w.send("POST /chat HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\nContent-Length: 4\r\n\r\n")
	res := w.head()
	time.AfterFunc(3*limit, func() { _, _ = io.WriteString(w, "late") })
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "late" {
		t.Errorf("%q, %v", body, err)
	}
}

func prefixes(t testing.TB, texts ...string) (list []netip.Prefix) {
	t.Helper()
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		must(t, err)
		list = append(list, p)
	}
	return list
}

// TestForwarded tells an upstream on which way a request came.
func TestForwarded(t *testing.T) {
	long := strings.Repeat("10.1.1.1, ", 5000) + "10.1.1.2"
	trusted := []string{"127.0.0.0/8", "10.0.0.0/8", "fd00::/8"}
	for _, test := range []struct {
		name    string
		trusted []string
		sent    []string // "|" ends a line
		want    map[string]string
	}{
		{"nobody is trusted", nil, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Forwarded-Port: 1", "Forwarded: for=1.1.1.1", "X-Real-IP: 1.1.1.1"}, map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http", "Forwarded": "for=127.0.0.1;host=api.example;proto=http",
		}},
		{"others are trusted", []string{"10.0.0.0/8"}, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Forwarded-Port: 1", "Forwarded: for=1.1.1.1"}, map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http", "Forwarded": "for=127.0.0.1;host=api.example;proto=http",
			"X-Real-Ip": "127.0.0.1",
		}},
		{"the proxy says nothing", trusted, nil, map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http", "Forwarded": "for=127.0.0.1;host=api.example;proto=http",
			"X-Real-Ip": "127.0.0.1",
		}},
		{"a client behind a proxy", trusted, []string{"X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: HTTPS", "X-Forwarded-Host: shop.example:8443", "X-Forwarded-Port: 8443", "X_Forwarded_Prefix: forged"}, map[string]string{
			"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Host": "shop.example:8443", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "8443",
			"Forwarded": `for=203.0.113.7;host="shop.example:8443";proto=https, for=127.0.0.1;host=api.example;proto=http`, "X-Real-Ip": "203.0.113.7",
		}},
		{"what the client forged is not the client", trusted, []string{"X-Forwarded-For: 6.6.6.6 , 203.0.113.7:1234,,10.9.9.9", "X-Forwarded-For: [fd00::1]:5"}, map[string]string{
			"X-Forwarded-For": "6.6.6.6, 203.0.113.7, 10.9.9.9, fd00::1, 127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http",
			"Forwarded": `for=6.6.6.6, for=203.0.113.7, for=10.9.9.9, for="[fd00::1]", for=127.0.0.1;host=api.example;proto=http`, "X-Real-Ip": "203.0.113.7",
		}},
		{"all are trusted", trusted, []string{"X-Forwarded-For: 10.0.0.1, ::ffff:10.0.0.2"}, map[string]string{
			"X-Forwarded-For": "10.0.0.1, 10.0.0.2, 127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http",
			"Forwarded": "for=10.0.0.1, for=10.0.0.2, for=127.0.0.1;host=api.example;proto=http", "X-Real-Ip": "10.0.0.1",
		}},
		{"nonsense hides what is behind it", trusted, []string{"X-Forwarded-For: 203.0.113.7, <script>, 10.0.0.2", "X-Forwarded-Proto: gopher", "X-Forwarded-Host: a/b"}, map[string]string{
			"X-Forwarded-For": "203.0.113.7, unknown, 10.0.0.2, 127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http",
			"Forwarded": "for=203.0.113.7, for=unknown, for=10.0.0.2, for=127.0.0.1;host=api.example;proto=http", "X-Real-Ip": "10.0.0.2",
		}},
		{"the proxy told the nearest last", trusted, []string{"X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: http, https", "X-Forwarded-Host: evil, [2001:db8::1]"}, map[string]string{
			"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Host": "[2001:db8::1]", "X-Forwarded-Proto": "https",
			"Forwarded": `for=203.0.113.7;host="[2001:db8::1]";proto=https, for=127.0.0.1;host=api.example;proto=http`, "X-Real-Ip": "203.0.113.7",
		}},
		{"Forwarded alone", trusted, []string{`Forwarded: For="[2001:DB8::7]:4711";Proto=HTTPS;by=_x, for=10.0.0.1;host="in\ternal"`, `Forwarded: for=10.0.0.2`}, map[string]string{
			"X-Forwarded-For": "2001:db8::7, 10.0.0.1, 10.0.0.2, 127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "https",
			"Forwarded": `for="[2001:db8::7]";proto=https, for=10.0.0.1, for=10.0.0.2, for=127.0.0.1;host=api.example;proto=http`, "X-Real-Ip": "2001:db8::7",
		}},
		{"Forwarded of a hidden client", trusted, []string{`Forwarded: for=_hidden;host=shop.example, for=unknown;proto=https;host=inner.example`}, map[string]string{
			"X-Forwarded-For": "unknown, unknown, 127.0.0.1", "X-Forwarded-Host": "inner.example", "X-Forwarded-Proto": "https",
			"Forwarded": `for=unknown, for=unknown, for=127.0.0.1;host=inner.example;proto=https`, "X-Real-Ip": "127.0.0.1",
		}},
		{"Forwarded beside X-Forwarded-For", trusted, []string{"X-Forwarded-For: 203.0.113.7", "Forwarded: for=6.6.6.6;proto=https;host=evil"}, map[string]string{
			"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http",
			"Forwarded": "for=203.0.113.7, for=127.0.0.1;host=api.example;proto=http", "X-Real-Ip": "203.0.113.7",
		}},
		{"Forwarded that is malformed", trusted, []string{`Forwarded: for="203.0.113.7;proto=https`}, map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http",
			"Forwarded": "for=127.0.0.1;host=api.example;proto=http", "X-Real-Ip": "127.0.0.1",
		}},
		{"a long chain", trusted, []string{"X-Forwarded-For: " + long}, map[string]string{
			"X-Forwarded-For": strings.Repeat("10.1.1.1, ", 63) + "10.1.1.2, 127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http",
			"Forwarded": strings.Repeat("for=10.1.1.1, ", 63) + "for=10.1.1.2, for=127.0.0.1;host=api.example;proto=http", "X-Real-Ip": "10.1.1.1",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, func(c *setup) { c.options.TrustedProxies = prefixes(t, test.trusted...) })
			if got := s.raw("GET /rest/posts/1 HTTP/1.1", test.sent...); got.StatusCode != 200 {
				t.Fatalf("%d %s", got.StatusCode, got.body)
			}
			told := map[string]string{}
			for name, values := range s.upstream.last(t).Header {
				if !strings.HasPrefix(name, "X-Perdiem-") {
					told[name] = strings.Join(values, "|")
				}
			}
			if diff := cmp.Diff(test.want, told); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestIdentityOfTrustedProxies shows that whom a proxy is trusted to speak for does not identify anybody: that is for the TCP peer to say.
func TestIdentityOfTrustedProxies(t *testing.T) {
	s := start(t, func(c *setup) { c.options.TrustedProxies = prefixes(t, "127.0.0.0/8") })
	if got := s.raw("GET /rest/posts/1 HTTP/1.1", "X-Forwarded-For: 203.0.113.7"); got.StatusCode != 200 {
		t.Errorf("a believed peer's headers: %d", got.StatusCode)
	}
}

func hostsOf(t testing.TB, texts ...string) func(*setup) {
	t.Helper()
	var list []gateway.Host
	for _, text := range texts {
		h, err := gateway.ParseHost(text)
		must(t, err)
		list = append(list, h)
	}
	return func(c *setup) { c.options.Hosts = list }
}

func TestHosts(t *testing.T) {
	s := start(t, hostsOf(t, "api.example", "Ported.example:8443", "*.wild.example", "*.odd.example:81", "[2001:db8::1]", "192.0.2.1", "plain.example:80"))
	want := map[string]int{
		"api.example": 200, "API.Example": 200, "api.example:1": 200, "api.example.": 200, "api.example.:80": 200,
		"ported.example:8443": 200, "ported.example": 421, "ported.example:443": 421,
		"a.wild.example": 200, "a.b.wild.example:9": 200, "wild.example": 421, "awild.example": 421, ".wild.example": 400,
		"a.odd.example:81": 200, "a.odd.example": 421, "plain.example": 200, "plain.example:443": 421,
		"[2001:db8::1]": 200, "[2001:db8::1]:8443": 200, "[2001:db8::2]": 421, "192.0.2.1:80": 200, "192.0.2.2": 421,
		"other.example": 421, "api.example.evil": 421, "example": 421, "xapi.example": 421, "": 421,
		"api.example:x": 400, "api.example:": 400, "api.example:0": 400, "api.example:65536": 400, "a:b:c": 400, "user@api.example": 400, "[::1": 400, "[::1]x": 400,
		"[fe80::1%25eth0]": 400, "::1": 400, "api..example": 400, "api.example,api.example": 400, ":80": 400, ".": 400, "[127.0.0.1]": 400, "ap%69.example": 400,
		strings.Repeat("a", 300): 400,
	}
	charged := int64(0)
	for host, status := range want {
		w := s.dial()
		w.send("GET /rest/posts/1 HTTP/1.1\r\nHost: " + host + "\r\nX-App-Id: acme\r\nConnection: close\r\n\r\n")
		got := w.reply()
		if got.StatusCode != status {
			t.Errorf("Host %q: %d, want %d", host, got.StatusCode, status)
		}
		switch code := `"code":"MISDIRECTED_REQUEST"`; {
		case status == 200:
			charged++
		case status == 421 && !strings.Contains(got.body, code):
			t.Errorf("%s", got.body)
		}
	}
	if u := s.used("posts.get"); u.Used != charged || s.upstream.count() != int(charged) {
		t.Errorf("used %+v, want %d; %d at the upstream", u, charged, s.upstream.count())
	}
	// Without a list any host will do, and a malformed one will not.
	s = start(t)
	for host, status := range map[string]int{"other.example": 200, "under_score": 200, "": 200, "a:b:c": 400, "user@a": 400} {
		w := s.dial()
		w.send("GET /rest/posts/1 HTTP/1.1\r\nHost: " + host + "\r\nX-App-Id: acme\r\nConnection: close\r\n\r\n")
		if got := w.reply(); got.StatusCode != status {
			t.Errorf("Host %q: %d, want %d", host, got.StatusCode, status)
		}
	}
	for _, text := range []string{"", "*", "*.", "*.*.x", "a b", "https://a", "a/", "a:0", "*.[::1]", "*.10.0.0.1", "a:99999", "[::1"} {
		if _, err := gateway.ParseHost(text); err == nil {
			t.Errorf("%q is taken for a host", text)
		}
	}
}

// TestHostsOverTLS shows that a request without a port means the scheme's own.
func TestHostsOverTLS(t *testing.T) {
	by, files, _ := encrypted(t)
	s := start(t, by, hostsOf(t, "a.example:443", "b.example:80"))
	for _, http2 := range []bool{false, true} {
		client := tlsClient(t, files.roots(), http2)
		for host, status := range map[string]int{"a.example": 200, "a.example:443": 200, "b.example": 421, "b.example:80": 200} {
			if got, err := ask(client, "GET", "https://"+s.address+"/rest/posts/1", nil, "Host", host); err != nil || got.StatusCode != status {
				t.Errorf("%s: %d %v, want %d", host, got.StatusCode, err, status)
			}
		}
	}
}

func crossing(t testing.TB, o gateway.CORS, origins ...string) func(*setup) {
	t.Helper()
	for _, text := range origins {
		origin, err := gateway.ParseOrigin(text)
		must(t, err)
		o.Origins = append(o.Origins, origin)
	}
	return func(c *setup) { c.options.CORS = &o }
}

// corsHeaders returns what an answer tells a browser, several lines joined by "|".
func corsHeaders(h http.Header) map[string]string {
	told := map[string]string{}
	for name, values := range h {
		if name == "Vary" || strings.HasPrefix(name, "Access-Control-") {
			told[strings.TrimPrefix(name, "Access-Control-")] = strings.Join(values, "|")
		}
	}
	return told
}

func TestPreflight(t *testing.T) {
	const asks = "Access-Control-Request-Method: PUT"
	const question = "Access-Control-Request-Method, Access-Control-Request-Headers"
	plain := []string{"https://app.example", "http://localhost:3000", "https://*.wild.example", "https://PORT.example:443"}
	for _, test := range []struct {
		name    string
		cors    gateway.CORS
		origins []string
		sent    []string
		status  int
		want    map[string]string
	}{
		{"listed", gateway.CORS{MaxAge: time.Minute}, plain, []string{"Origin: https://app.example", asks, "Access-Control-Request-Headers: authorization, x-y"}, 204, map[string]string{
			"Allow-Origin": "https://app.example", "Allow-Methods": "PUT", "Allow-Headers": "authorization, x-y", "Max-Age": "60", "Vary": question + "|Origin",
			"Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"with a port", gateway.CORS{}, plain, []string{"Origin: http://localhost:3000", asks}, 204, map[string]string{
			"Allow-Origin": "http://localhost:3000", "Allow-Methods": "PUT", "Vary": question + "|Origin", "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"with the scheme's own port", gateway.CORS{}, plain, []string{"Origin: https://port.example", asks}, 204, map[string]string{
			"Allow-Origin": "https://port.example", "Allow-Methods": "PUT", "Vary": question + "|Origin", "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"below a name", gateway.CORS{}, plain, []string{"Origin: https://a.b.wild.example", asks}, 204, map[string]string{
			"Allow-Origin": "https://a.b.wild.example", "Allow-Methods": "PUT", "Vary": question + "|Origin", "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"all that can be said", gateway.CORS{Credentials: true, Methods: []string{"GET", "PUT"}, Headers: []string{"Authorization"}, Expose: []string{"X-Sum"}}, plain, []string{"Origin: https://app.example", asks}, 204, map[string]string{
			"Allow-Origin": "https://app.example", "Allow-Methods": "GET, PUT", "Allow-Headers": "Authorization", "Allow-Credentials": "true", "Vary": question + "|Origin",
			"Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After, X-Sum",
		}},
		{"any", gateway.CORS{}, []string{"*"}, []string{"Origin: null", asks}, 204, map[string]string{
			"Allow-Origin": "*", "Allow-Methods": "PUT", "Vary": question, "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"not listed", gateway.CORS{}, plain, []string{"Origin: https://evil.example", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"another scheme", gateway.CORS{}, plain, []string{"Origin: http://app.example", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"another port", gateway.CORS{}, plain, []string{"Origin: http://localhost:3001", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"the name above", gateway.CORS{}, plain, []string{"Origin: https://wild.example", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"a name that ends alike", gateway.CORS{}, plain, []string{"Origin: https://evilwild.example", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"more than a host", gateway.CORS{}, plain, []string{"Origin: https://evil.example/.wild.example", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"null", gateway.CORS{}, plain, []string{"Origin: null", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"two origins", gateway.CORS{}, plain, []string{"Origin: https://app.example", "Origin: https://app.example", asks}, 403, map[string]string{"Vary": "Origin"}},
		{"no method", gateway.CORS{}, []string{"*"}, []string{"Origin: a", "Access-Control-Request-Method: P T"}, 400, map[string]string{
			"Allow-Origin": "*", "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"no header", gateway.CORS{}, []string{"*"}, []string{"Origin: a", asks, "Access-Control-Request-Headers: a, b:c"}, 400, map[string]string{
			"Allow-Origin": "*", "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
		{"too many headers", gateway.CORS{}, []string{"*"}, []string{"Origin: a", asks, "Access-Control-Request-Headers: " + strings.Repeat("a, ", 4000)}, 400, map[string]string{
			"Allow-Origin": "*", "Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, crossing(t, test.cors, test.origins...))
			w := s.dial()
			w.send("OPTIONS /rest/posts HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + strings.Join(test.sent, "\r\n") + "\r\n\r\n") // without a credential
			got := w.reply()
			if got.StatusCode != test.status {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
			if diff := cmp.Diff(test.want, corsHeaders(got.Header)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if s.upstream.count() != 0 {
				t.Error("it reached the upstream")
			}
			o := s.observation(1)
			if want := map[int]gateway.Outcome{204: gateway.Preflight}[test.status]; o.Outcome != want || o.Status != test.status || o.Endpoint != "" {
				t.Errorf("observed %+v", o)
			}
		})
	}
}

// TestCORSAnswers shows what browsers are told with answers, the gateway's own and the upstream's.
func TestCORSAnswers(t *testing.T) {
	says := func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		maps.Copy(h, http.Header{
			"Access-Control-Allow-Origin": {"*"}, "Access-Control-Allow-Credentials": {"true"}, "Access-Control-Expose-Headers": {"X-Own"}, "Vary": {"Accept-Encoding"},
		})
		if r.URL.Path == "/vary" {
			h["Vary"] = []string{"accept, ORIGIN"}
		}
	}
	const exposed = "RateLimit, RateLimit-Policy, Retry-After"
	mine := map[string]string{"Allow-Origin": "https://app.example", "Expose-Headers": exposed, "Vary": "Origin"}
	for _, test := range []struct {
		name    string
		headers answer.Headers
		origins []string
		request string
		status  int
		want    map[string]string
	}{
		{"no credential", answer.IETF, []string{"https://app.example"}, "GET / HTTP/1.1|Origin: https://app.example", 401, mine},
		{"refused", answer.IETF, []string{"https://app.example"}, "POST /limited HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 429, mine},
		{"refused, legacy", answer.Legacy, []string{"https://app.example"}, "POST /limited HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 429, map[string]string{
			"Allow-Origin": "https://app.example", "Expose-Headers": exposed + ", X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset", "Vary": "Origin",
		}},
		{"no access", answer.IETF, []string{"https://app.example"}, "GET /closed HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 403, mine},
		{"usage", answer.IETF, []string{"https://app.example"}, "GET /perdiem/usage HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 200, mine},
		{"not listed", answer.IETF, []string{"https://app.example"}, "GET / HTTP/1.1|Origin: https://evil.example", 401, map[string]string{"Vary": "Origin"}},
		{"no origin", answer.IETF, []string{"https://app.example"}, "GET / HTTP/1.1", 401, map[string]string{"Vary": "Origin"}},
		{"any", answer.IETF, []string{"*"}, "GET / HTTP/1.1", 401, map[string]string{"Allow-Origin": "*", "Expose-Headers": exposed}},
		{"the upstream's", answer.IETF, []string{"https://app.example"}, "GET / HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 200, map[string]string{
			"Allow-Origin": "https://app.example", "Expose-Headers": exposed + "|X-Own", "Vary": "Origin|Accept-Encoding",
		}},
		{"the upstream's, which varies", answer.IETF, []string{"https://app.example"}, "GET /vary HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 200, map[string]string{
			"Allow-Origin": "https://app.example", "Expose-Headers": exposed + "|X-Own", "Vary": "accept, ORIGIN",
		}},
		{"the upstream's, not listed", answer.IETF, []string{"https://app.example"}, "GET / HTTP/1.1|X-App-Id: acme|Origin: https://evil.example", 200, map[string]string{
			"Vary": "Origin|Accept-Encoding",
		}},
		{"the upstream's, any", answer.IETF, []string{"*"}, "GET / HTTP/1.1|X-App-Id: acme|Origin: https://evil.example", 200, map[string]string{
			"Allow-Origin": "*", "Expose-Headers": exposed + "|X-Own", "Vary": "Accept-Encoding",
		}},
		{"OPTIONS that is no preflight", answer.IETF, []string{"*"}, "OPTIONS / HTTP/1.1|X-App-Id: acme|Origin: https://app.example", 200, map[string]string{
			"Allow-Origin": "*", "Expose-Headers": exposed + "|X-Own", "Vary": "Accept-Encoding",
		}},
		{"without CORS", answer.IETF, nil, "OPTIONS / HTTP/1.1|X-App-Id: acme|Origin: https://app.example|Access-Control-Request-Method: PUT", 200, map[string]string{
			"Allow-Origin": "*", "Allow-Credentials": "true", "Expose-Headers": "X-Own", "Vary": "Accept-Encoding",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			change := []func(*setup){styled(test.headers), handled(says), func(c *setup) {
				c.catalog = strings.Replace(c.catalog, "endpoints:\n", "endpoints:\n  - {id: limited, match: POST /limited, application: 1}\n", 1)
			}}
			if test.origins != nil {
				change = append(change, crossing(t, gateway.CORS{}, test.origins...))
			}
			s := start(t, change...)
			s.do("POST", "/limited", "")
			w := s.dial()
			w.send(strings.ReplaceAll(test.request, "|", "\r\n") + "\r\nHost: a\r\nConnection: close\r\n\r\n")
			got := w.reply()
			if got.StatusCode != test.status {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
			if diff := cmp.Diff(test.want, corsHeaders(got.Header)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if u := s.used("*"); test.status == 200 && !strings.Contains(test.request, "usage") && u.Used != 1 {
				t.Errorf("used %+v", u)
			}
		})
	}
}

func TestParseOrigin(t *testing.T) {
	for _, text := range []string{
		"", "null", "app.example", "https://", "https://app.example/", "https://app.example/x", "https://u@app.example", "https://app.example?q", "https://a b",
		"https://*", "https://*.*.x", "https://a*.example", "1http://a", "https://a:0", "https://*.127.0.0.1", "://a", "**",
	} {
		if _, err := gateway.ParseOrigin(text); err == nil {
			t.Errorf("%q is taken for an origin", text)
		}
	}
	for _, text := range []string{"*", "https://app.example", "http://[::1]:3000", "capacitor://localhost", "https://*.example.com:8443"} {
		if _, err := gateway.ParseOrigin(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
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

// TestUnwantedBody has a refused call's body come after its answer: the connection serves the next request.
func TestUnwantedBody(t *testing.T) {
	s := start(t)
	w := s.dial()
	for range 3 {
		w.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n") // without a credential
		if got := w.reply(); got.StatusCode != 401 {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
		w.send("bodyGET /rest/posts/1 HTTP/1.1\r\nHost: a\r\nX-App-Id: acme\r\n\r\n")
		if got := w.reply(); got.StatusCode != 200 {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
	}
	if n := s.upstream.count(); n != 3 {
		t.Errorf("%d requests at the upstream", n)
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
