package gateway_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/internal/keypair"
	"github.com/perdiem/perdiem/internal/testkit"
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
	before := s.upstream.count()
	w := s.dial()
	w.send("GET / ") // as much as a record's head, so that nothing unread resets the connection
	if text, err := io.ReadAll(w.reader); err != nil || !strings.HasPrefix(string(text), "HTTP/1.0 400 ") || s.upstream.count() != before {
		t.Errorf("without TLS: %q, %v", text, err)
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
