package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/perdiem/perdiem/portal"
)

// testCallTime is how long a test call may take, until the headers of its answer are there.
const testCallTime = 15 * time.Second

// testCall returns how the portal makes test calls; nil where there is no gateway, or none that believes perdiem's tokens. They go to the gateway's
// own listener, wherever it is found from outside, and to nothing else. By TLS it is known by the certificate that the node gives it, whoever signed
// that and whatever it is called in it.
func (n *node) testCall() portal.Call {
	if n.gateway == nil || n.tokens == nil {
		return nil
	}
	base := n.listenerURL("gateway", n.address.Gateway)
	transport := &http.Transport{ // no proxy: the token is for nobody else
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if pair := n.pairs["gateway"]; pair != nil {
		transport.TLSClientConfig = &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: true, // VerifyConnection asks for more than a name and a signature
			VerifyConnection: func(s tls.ConnectionState) error {
				if !isCertificate(s.PeerCertificates, pair.Certificate().Raw) {
					return errors.New("what listens there has another certificate than the gateway")
				}
				return nil
			},
		}
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	host := ""
	if hosts := n.config.Edge.Hosts; len(hosts) > 0 {
		host = hosts[0].Example()
	}
	return func(ctx context.Context, method, path, token string) (int, http.Header, error) {
		ctx, cancel := context.WithTimeout(ctx, testCallTime)
		defer cancel()
		to, err := url.Parse(base.String() + path)
		if err != nil {
			return 0, nil, err
		}
		r, err := http.NewRequestWithContext(ctx, method, to.String(), nil)
		if err != nil {
			return 0, nil, err
		}
		r.Host = host // empty: the listener's own
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("User-Agent", "perdiem-portal")
		answer, err := client.Do(r)
		if err != nil {
			return 0, nil, err
		}
		return answer.StatusCode, answer.Header, answer.Body.Close() // its body is nobody's
	}
}
