package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/perdiem/perdiem/internal/testkit"
)

// certificate writes a certificate for 127.0.0.1 and its key, as NAME.pem and NAME.key; with !, one that has expired.
func certificate(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] certificate NAME")
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if neg {
		to = time.Now().Add(-time.Minute)
	}
	text, key, err := testkit.Certificate(from, to)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pem"), text, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), key, 0o600))
}

// encrypted starts an upstream that speaks TLS with the pair NAME.pem and NAME.key, at $ENCRYPTED. It says by which version of HTTP it was asked.
func encrypted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: encrypted NAME")
	}
	pair, err := tls.LoadX509KeyPair(ts.MkAbs(args[0]+".pem"), ts.MkAbs(args[0]+".key"))
	ts.Check(err)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Proto, r.Method, r.URL.Path)
	}))
	up.EnableHTTP2 = true
	up.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	up.Config.ErrorLog = log.New(io.Discard, "", 0)
	up.StartTLS()
	ts.Defer(up.Close)
	ts.Setenv("ENCRYPTED", up.URL)
}

// securely makes a request by HTTP/1.1 and by HTTP/2, both on new connections that trust a certificate alone. Both must be answered with the
// status, the last body being in the file "answer"; with !, no connection must come about.
func securely(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: [!] securely STATUS URL CERTIFICATE")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ts.ReadFile(args[2])))
	for _, version := range []int{1, 2} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: new(http.Protocols), DisableKeepAlives: true}
		transport.Protocols.SetHTTP1(version == 1)
		transport.Protocols.SetHTTP2(version == 2)
		r, err := http.NewRequest(http.MethodGet, args[1], nil)
		ts.Check(err)
		if token := ts.Getenv("TOKEN"); token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := transport.RoundTrip(r)
		if neg {
			if err == nil {
				ts.Fatalf("securely: connected")
			}
			continue
		}
		ts.Check(err)
		body, err := io.ReadAll(answer.Body)
		ts.Check(err)
		ts.Check(answer.Body.Close())
		ts.Check(os.WriteFile(ts.MkAbs("answer"), body, 0o600))
		if got := strconv.Itoa(answer.StatusCode); got != args[0] || answer.ProtoMajor != version {
			ts.Fatalf("securely: %s", fmt.Sprint(answer.Proto, " ", got, " ", string(body)))
		}
	}
}
