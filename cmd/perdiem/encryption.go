package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// openPairs reads the certificates of the listeners. One that is not valid today does not keep the node from starting: it is logged.
func (n *node) openPairs() (err error) {
	if n.pairs, err = n.config.openPairs(); err != nil {
		return err
	}
	for _, listener := range slices.Sorted(maps.Keys(n.pairs)) {
		if err := n.pairs[listener].Valid(n.now()); err != nil {
			n.log.Error("clients will not accept a certificate: replace it, and send SIGHUP", "err", n.config.pairProblem(listener, err).String())
		}
	}
	n.warnOfExpiry()
	n.setAdminCertificate()
	return nil
}

// expiryNotice is how long before its end a certificate is warned of.
const expiryNotice = 14 * 24 * time.Hour

// warnOfExpiry warns of the certificates that clients get and will not accept much longer.
func (n *node) warnOfExpiry() {
	for _, listener := range slices.Sorted(maps.Keys(n.pairs)) {
		ends := n.pairs[listener].Certificate().NotAfter
		if left := ends.Sub(n.now()); left >= 0 && left < expiryNotice {
			n.log.Warn("a certificate expires in less than 14 days: replace it, and send SIGHUP",
				"listener", listener, "file", n.config.Edge.TLS[listener].Certificate, "expires", ends.UTC().Format(time.RFC3339))
		}
	}
}

// expiries returns when the certificates that clients get expire, by the listener.
func (n *node) expiries() map[string]time.Time {
	ends := make(map[string]time.Time, len(n.pairs))
	for listener, pair := range n.pairs {
		ends[listener] = pair.Certificate().NotAfter
	}
	return ends
}

// setAdminCertificate keeps for commands by what they know the node.
func (n *node) setAdminCertificate() {
	if pair := n.pairs["admin"]; pair != nil {
		n.address.AdminCertificate = string(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: pair.Certificate().Raw}))
	}
}

const certificateBlock = "CERTIFICATE"

// reloadPairs reads the certificates again. A pair that cannot be used is logged, and the one before it holds. Connections that are open go
// on as they are.
func (n *node) reloadPairs() {
	for _, listener := range slices.Sorted(maps.Keys(n.pairs)) {
		pair := n.pairs[listener]
		before := pair.Certificate()
		err := pair.Reload(n.now())
		now := pair.Certificate()
		if err == nil && listener == "admin" && !now.Equal(before) {
			n.setAdminCertificate()
			if err := writeNodeFile(n.config.Data, n.address); err != nil {
				n.log.Error("perdiem's commands will not know the admin listener by its new certificate", "err", err)
			}
		}
		switch {
		case err != nil:
			n.log.Error("a certificate was not taken, and the last one holds", "listener", listener, "err", err)
		case !now.Equal(before):
			n.log.Info("a certificate was replaced", "listener", listener, "serial", now.SerialNumber.Text(16), "expires", now.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	n.warnOfExpiry()
}

// tls returns how a listener speaks TLS; nil: it does not.
func (n *node) tls(listener string) *tls.Config {
	if pair := n.pairs[listener]; pair != nil {
		return pair.TLS()
	}
	return nil
}

// encrypted returns how a server serves a listener: by TLS where there is a certificate for it.
func (n *node) encrypted(listener string, s *http.Server) func(net.Listener) error {
	if s.TLSConfig = n.tls(listener); s.TLSConfig == nil {
		return s.Serve
	}
	return func(l net.Listener) error { return s.ServeTLS(l, "", "") }
}

// newFolderClient returns the client of a node that runs on a data folder of this machine. By TLS the node is known by the certificate that it
// wrote there, whoever signed it and whatever it is called in it.
func newFolderClient(a addresses, key string) (*client, error) {
	base := &url.URL{Scheme: "http", Host: reachable(a.Admin)}
	if a.AdminCertificate == "" {
		return newClient(base, key), nil
	}
	block, _ := pem.Decode([]byte(a.AdminCertificate))
	if block == nil || block.Type != certificateBlock {
		return nil, errors.New("the node's file in the data folder holds no certificate: start the node again, which writes it")
	}
	base.Scheme = "https"
	c := newClient(base, key)
	c.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection asks for more than a name and a signature
		VerifyConnection: func(s tls.ConnectionState) error {
			if !isCertificate(s.PeerCertificates, block.Bytes) {
				return errors.New("what listens there has another certificate than the node wrote into its data folder")
			}
			return nil
		},
	}}
	return c, nil
}

func isCertificate(shown []*x509.Certificate, known []byte) bool {
	return len(shown) > 0 && bytes.Equal(shown[0].Raw, known)
}
