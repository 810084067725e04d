package main

import (
	"crypto/x509"
	"strings"

	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/yamldoc"
)

// groupsClaim is where most issuers put somebody's groups, unless told.
const groupsClaim = "groups"

// maxLabel is how long the name of an issuer may be, in bytes: it stands on a button.
const maxLabel = 64

// oidc reads the issuer at which people sign in to the portal.
func (p *configParser) oidc(n yamldoc.Node) {
	o := &identity.OIDCOptions{GroupsClaim: groupsClaim}
	p.config.OIDC = o
	p.require(n, map[string]func(yamldoc.Node){
		"issuer":         func(n yamldoc.Node) { p.set(n, p.issuerURL, &o.Issuer) },
		"client_id":      func(n yamldoc.Node) { p.set(n, p.text, &o.ClientID) },
		"client_secret":  func(n yamldoc.Node) { p.set(n, p.secret, &o.ClientSecret) },
		"label":          func(n yamldoc.Node) { p.set(n, p.label, &o.Label) },
		"scopes":         func(n yamldoc.Node) { o.Scopes = p.scopes(n) },
		"groups_claim":   func(n yamldoc.Node) { p.set(n, p.claim, &o.GroupsClaim) },
		"operator_group": func(n yamldoc.Node) { p.set(n, p.text, &o.OperatorGroup) },
		"ca":             func(n yamldoc.Node) { o.Roots = p.authorities(n) },
	}, "issuer", "client_id", "client_secret")
}

// label returns what people call something, in few letters.
func (p *configParser) label(n yamldoc.Node) (string, bool) {
	text, ok := p.text(n)
	if ok && len(text) > maxLabel {
		n.Problem("must be at most %d bytes", maxLabel)
		return "", false
	}
	return text, ok
}

// scopes returns a list of scopes (RFC 6749, section 3.3).
func (p *configParser) scopes(n yamldoc.Node) (scopes []string) {
	p.items(n, "asks for nothing; leave it out", func(item yamldoc.Node) {
		text, ok := p.text(item)
		if !ok {
			return
		}
		if strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c == '"' || c == '\\' || c > '~' }) {
			item.Problem("must be one scope: printable ASCII without space, quote and backslash")
			return
		}
		scopes = append(scopes, text)
	})
	return scopes
}

// oidcTold returns what is told of the issuer, in a form that can be compared.
func (c *config) oidcTold() callerSources {
	if c.OIDC == nil {
		return callerSources{}
	}
	o := *c.OIDC
	o.Roots = nil
	return callerSources{options: []any{o}, roots: []*x509.CertPool{c.OIDC.Roots}}
}
