package main

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/httpname"
	"github.com/perdiem/perdiem/internal/yamldoc"
	"github.com/perdiem/perdiem/registry"
)

// identityConfig is what the configuration says of callers.
type identityConfig struct {
	Sources          []sourceConfig  // in the order in which they are asked
	TokenHeader      string          // the header that may hold a credential besides Authorization; empty: none
	UnknownTier      string          // of applications first met in a valid token; empty: they are refused
	UnknownTierNamed yamldoc.Problem // where the configuration names it; without a text
	SecretFiles      []string        // that secrets were read from
}

// sourceConfig is one source of identity: the one that is not nil or, where all are, perdiem's own tokens.
type sourceConfig struct {
	Headers       *identity.HeaderOptions
	JWT           *identity.JWTOptions
	Introspection *identity.IntrospectionOptions
}

// takesTokens reports whether callers may bring tokens that perdiem issues.
func (c *identityConfig) takesTokens() bool { return slices.Contains(c.Sources, sourceConfig{}) }

// onlyHeaders reports whether a proxy in front alone says who calls.
func (c *identityConfig) onlyHeaders() bool {
	return !slices.ContainsFunc(c.Sources, func(s sourceConfig) bool { return s.Headers == nil })
}

// checkTier returns a [yamldoc.Problems] where the catalog has no tier for applications first met in a valid token.
func (c *identityConfig) checkTier(in *catalog.Catalog) error {
	if c.UnknownTier == "" || slices.ContainsFunc(in.Tiers, func(t catalog.Tier) bool { return t.Name == c.UnknownTier }) {
		return nil
	}
	problem := c.UnknownTierNamed
	problem.Text = fmt.Sprintf("unknown_applications.tier: the catalog has no tier %q", c.UnknownTier)
	return yamldoc.Problems{problem}
}

func (p *configParser) unknownApplications(n yamldoc.Node) {
	if !n.IsMap() {
		p.oneOf(n, "refuse")
		return
	}
	isMap := n.Map(map[string]func(yamldoc.Node){
		"tier": func(n yamldoc.Node) {
			p.set(n, p.text, &p.config.Identity.UnknownTier)
			p.config.Identity.UnknownTierNamed.Line, p.config.Identity.UnknownTierNamed.Column = n.Place()
		},
	})
	if isMap && n.IsEmpty() {
		n.Missing("tier")
	}
}

func (p *configParser) identity(n yamldoc.Node) {
	var sources []sourceConfig
	var tokens bool
	const nobody = "names no source; without one nobody is let in"
	if n.IsEmpty() {
		n.Problem(nobody)
	}
	n.List(func(_ int, item yamldoc.Node) {
		named := 0
		name := func(read func(yamldoc.Node)) func(yamldoc.Node) {
			return func(n yamldoc.Node) { named++; read(n) }
		}
		isMap := item.Map(map[string]func(yamldoc.Node){
			"tokens": name(func(n yamldoc.Node) {
				if tokens {
					n.Key().Problem("tokens are a source already; leave this one out")
				}
				tokens = true
				n.Map(map[string]func(yamldoc.Node){"header": p.header(&p.config.Identity.TokenHeader)})
				sources = append(sources, sourceConfig{})
			}),
			"headers":       name(func(n yamldoc.Node) { sources = append(sources, sourceConfig{Headers: p.headers(n)}) }),
			"jwt":           name(func(n yamldoc.Node) { sources = append(sources, sourceConfig{JWT: p.jwt(n)}) }),
			"introspection": name(func(n yamldoc.Node) { sources = append(sources, sourceConfig{Introspection: p.introspection(n)}) }),
		})
		if item.IsEmpty() {
			item.Problem(nobody)
		}
		if isMap && named > 1 {
			item.Problem("an item holds one source; begin each with a dash")
		}
	})
	p.config.Identity.Sources = sources
}

// header returns what reads the name of a header that identifies callers.
func (p *configParser) header(field *string) func(yamldoc.Node) {
	return func(n yamldoc.Node) {
		text, ok := p.text(n)
		if !ok {
			return
		}
		anywhere := []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
		if _, err := identity.NewHeaders(identity.HeaderOptions{Application: text, From: anywhere}); err != nil {
			n.Wrong("the name of a header, and not Authorization")
			return
		}
		if httpname.IsReserved(text) {
			n.Problem("%s identifies nobody: perdiem drops what comes under it, from proxies as well; name another header", text)
			return
		}
		*field = text
	}
}

// require reads a map of fields, and reports those of the required that are not there.
func (p *configParser) require(n yamldoc.Node, fields map[string]func(yamldoc.Node), required ...string) bool {
	var keys []string
	for key, read := range fields {
		fields[key] = func(n yamldoc.Node) { keys = append(keys, key); read(n) }
	}
	if !n.Map(fields) {
		return false
	}
	for _, key := range required {
		if !slices.Contains(keys, key) {
			n.Missing(key)
		}
	}
	return true
}

func (p *configParser) headers(n yamldoc.Node) *identity.HeaderOptions {
	o := &identity.HeaderOptions{}
	fields := map[string]func(yamldoc.Node){
		"application": p.header(&o.Application),
		"member":      p.header(&o.Member),
		"from": func(n yamldoc.Node) {
			n.List(func(_ int, item yamldoc.Node) {
				if prefix, ok := p.network(item); ok {
					o.From = append(o.From, prefix)
				}
			})
			if n.IsList() && len(o.From) == 0 && !n.Faulty() {
				n.Problem("names nobody; write the addresses that are believed, such as 127.0.0.0/8")
			}
		},
	}
	if !p.require(n, fields, "application", "from") {
		return o
	}
	if o.Application != "" && strings.EqualFold(strings.ReplaceAll(o.Application, "_", "-"), strings.ReplaceAll(o.Member, "_", "-")) {
		n.Problem("application and member must be two headers")
	}
	return o
}

// The claims that name callers, unless told.
const (
	applicationClaim = "client_id" // RFC 9068, section 2.2; RFC 7662, section 2.2
	memberClaim      = "sub"
)

func (p *configParser) jwt(n yamldoc.Node) *identity.JWTOptions {
	o := &identity.JWTOptions{Application: applicationClaim, Member: memberClaim}
	if p.require(n, map[string]func(yamldoc.Node){
		"jwks":        func(n yamldoc.Node) { p.set(n, p.issuerURL, &o.JWKS) },
		"issuer":      func(n yamldoc.Node) { p.set(n, p.text, &o.Issuer) },
		"audience":    func(n yamldoc.Node) { p.set(n, p.text, &o.Audience) },
		"application": func(n yamldoc.Node) { p.set(n, p.claim, &o.Application) },
		"member":      func(n yamldoc.Node) { p.set(n, p.claim, &o.Member) },
		"ca":          func(n yamldoc.Node) { o.Roots = p.authorities(n) },
	}, "jwks", "issuer", "audience") {
		twoClaims(n, o.Application, o.Member)
	}
	return o
}

func (p *configParser) introspection(n yamldoc.Node) *identity.IntrospectionOptions {
	o := &identity.IntrospectionOptions{Application: applicationClaim, Member: memberClaim}
	if p.require(n, map[string]func(yamldoc.Node){
		"url":           func(n yamldoc.Node) { p.set(n, p.issuerURL, &o.URL) },
		"client_id":     func(n yamldoc.Node) { p.set(n, p.text, &o.ClientID) },
		"client_secret": func(n yamldoc.Node) { p.set(n, p.secret, &o.ClientSecret) },
		"audience":      func(n yamldoc.Node) { p.set(n, p.text, &o.Audience) },
		"application":   func(n yamldoc.Node) { p.set(n, p.claim, &o.Application) },
		"member":        func(n yamldoc.Node) { p.set(n, p.claim, &o.Member) },
		"ca":            func(n yamldoc.Node) { o.Roots = p.authorities(n) },
	}, "url", "client_id", "client_secret") {
		twoClaims(n, o.Application, o.Member)
	}
	return o
}

func twoClaims(n yamldoc.Node, application, member string) {
	if application == member {
		n.Problem("application and member must be two claims")
	}
}

// claim returns the name of a claim.
func (p *configParser) claim(n yamldoc.Node) (string, bool) {
	text, ok := p.text(n)
	if ok && !registry.ValidID(text) {
		n.Problem("must be the name of a claim, 1 to 256 bytes of UTF-8 without control characters")
		return "", false
	}
	return text, ok
}

// issuerURL returns an address at which an issuer may be asked.
func (p *configParser) issuerURL(n yamldoc.Node) (string, bool) {
	text, ok := p.text(n)
	if !ok {
		return "", false
	}
	if err := identity.CheckIssuerURL(text); err != nil {
		n.Problem("%v", err)
		return "", false
	}
	return text, true
}

// secret returns a secret: the text, or what the file has of which it holds the path, as file:PATH. One line break at the file's end is
// no part of it.
func (p *configParser) secret(n yamldoc.Node) (string, bool) {
	text, ok := p.text(n)
	if !ok {
		return "", false
	}
	name, isFile := strings.CutPrefix(text, "file:")
	if !isFile {
		return text, true
	}
	data, err := readBounded(p.inFolder(name))
	if err != nil {
		n.Problem("the secret cannot be read: %v", err)
		return "", false
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if secret == "" {
		n.Problem("%s is empty; it is to hold the secret", p.inFolder(name))
		return "", false
	}
	p.config.Identity.SecretFiles = append(p.config.Identity.SecretFiles, p.inFolder(name))
	return secret, true
}

// authorities returns the certificates of a file in PEM that vouch for an issuer's or a mail server's.
func (p *configParser) authorities(n yamldoc.Node) *x509.CertPool {
	name, ok := p.path(n)
	if !ok {
		return nil
	}
	data, err := readBounded(name)
	if err != nil {
		n.Problem("the certificates cannot be read: %v", err)
		return nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		n.Problem("%s has no certificate in PEM", name)
		return nil
	}
	return roots
}
