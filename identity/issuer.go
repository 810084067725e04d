package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/perdiem/perdiem/internal/netaddr"
)

// issuerTime is how long an issuer may take to answer, from dialling to the last byte of the body.
const issuerTime = 5 * time.Second

// CheckIssuerURL returns nil, or why perdiem does not ask an issuer at this address: whoever can read or change what goes over the wire could
// make callers up, so that it must be https, or http on this very machine.
func CheckIssuerURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return errors.New("must be an address such as https://issuer.example/jwks.json")
	case u.User != nil || u.Fragment != "":
		return errors.New("may hold neither a user nor a fragment")
	case u.Scheme == "https", u.Scheme == "http" && netaddr.IsLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return errors.New("must begin with https: over http anybody in between could make callers up (http is for this machine alone, such as http://127.0.0.1:9000)")
	default:
		return errors.New("must begin with https")
	}
}

// required is an option that a source must be told, and what to do where it is not.
type required struct{ key, value, wanted string }

// checkIssued returns the canonical name of the header that may hold an issuer's tokens. The error says everything that is missing or wrong with
// what a source of such tokens is told; kind is the source's name, and key that of the issuer's address.
func checkIssued(kind, key, address, header string, n names, needs ...required) (string, error) {
	var problems []error
	if err := CheckIssuerURL(address); err != nil {
		problems = append(problems, fmt.Errorf("%s.%s: %w", kind, key, err))
	}
	for _, r := range needs {
		if r.value == "" {
			problems = append(problems, fmt.Errorf("%s.%s: %s", kind, r.key, r.wanted))
		}
	}
	canonical, err := credentialHeader(header)
	if err != nil {
		problems = append(problems, fmt.Errorf("%s.%w", kind, err))
	}
	if err := n.check(); err != nil {
		problems = append(problems, fmt.Errorf("%s.%w", kind, err))
	}
	return canonical, errors.Join(problems...)
}

// orMachine returns the clock, or the machine's for nil.
func orMachine(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

// orSilent returns the logger, or one that nobody hears for nil.
func orSilent(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// newIssuerClient returns a client that speaks to issuers who prove who they are to roots, or to the system's where that is nil. It follows
// no redirects, and heeds no proxy of the environment's.
func newIssuerClient(roots *x509.CertPool, connections int) *http.Client {
	return &http.Client{
		Timeout:       issuerTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: issuerTime}).DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    issuerTime,
			ForceAttemptHTTP2:      true,
			MaxConnsPerHost:        connections,
			MaxIdleConnsPerHost:    connections,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// statusError is an answer other than 200.
type statusError struct{ code int }

func (e statusError) Error() string {
	return fmt.Sprintf("the issuer answered %d %s", e.code, http.StatusText(e.code))
}

// ask sends a request and returns the body of an answer of 200; the error is a statusError where it is another. A body of more than most bytes is an error.
func ask(ctx context.Context, client *http.Client, r *http.Request, most int64) ([]byte, error) {
	r = r.WithContext(ctx)
	r.Header.Set("Accept", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, statusError{answer.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > most {
		return nil, fmt.Errorf("the answer is longer than %d bytes", most)
	}
	return body, nil
}
