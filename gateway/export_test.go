package gateway

import (
	"crypto/tls"
	"crypto/x509"
)

// TrustUpstream has a gateway that has sent nothing yet believe certificates of the upstream that lead to these roots. The program knows the system's
// alone, which Go reads once a process.
func (g *Gateway) TrustUpstream(roots *x509.CertPool) {
	g.transport.requests.TLSClientConfig = &tls.Config{RootCAs: roots}
	g.transport.upgrades.TLSClientConfig = &tls.Config{RootCAs: roots}
}
