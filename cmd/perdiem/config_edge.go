package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/internal/httpname"
	"github.com/perdiem/perdiem/internal/keypair"
	"github.com/perdiem/perdiem/internal/yamldoc"
)

// edgeConfig is how clients are met.
type edgeConfig struct {
	TLS            map[string]pairConfig // by the listener's name
	TrustedProxies []netip.Prefix
	Hosts          []gateway.Host
	CORS           *gateway.CORS
	Timeouts       gateway.Timeouts
	Connections    gateway.Connections
}

// pairConfig is a listener's certificate and key, and where the configuration names them.
type pairConfig struct {
	keypair.Files
	CertNamed, KeyNamed yamldoc.Problem // without a text
}

// maxEntries bounds the lists of names and addresses.
const maxEntries = 10_000

// edge returns the readers of the keys that say how clients are met.
func (p *configParser) edge(fields map[string]func(yamldoc.Node)) {
	c := &p.config.Edge
	fields["tls"] = p.tls
	fields["trusted_proxies"] = func(n yamldoc.Node) { c.TrustedProxies = p.networks(n, "names nobody; leave it out to believe nobody") }
	fields["hosts"] = p.hosts
	fields["cors"] = p.cors
	fields["timeouts"] = p.timeouts
	fields["connections"] = p.connections
}

// items reads each item of a list that must not be empty.
func (p *configParser) items(n yamldoc.Node, empty string, read func(yamldoc.Node)) {
	items := 0
	n.List(func(_ int, item yamldoc.Node) {
		if items++; items <= maxEntries {
			read(item)
		}
	})
	switch {
	case n.IsEmpty() && n.IsList():
		n.Problem("%s", empty)
	case items > maxEntries:
		n.Problem("has %d items; at most %d are read", items, maxEntries)
	}
}

func (p *configParser) networks(n yamldoc.Node, empty string) (list []netip.Prefix) {
	p.items(n, empty, func(item yamldoc.Node) {
		if prefix, ok := p.network(item); ok {
			list = append(list, prefix)
		}
	})
	return list
}

func (p *configParser) tls(n yamldoc.Node) {
	p.config.Edge.TLS = map[string]pairConfig{}
	fields := map[string]func(yamldoc.Node){}
	for _, listener := range []string{"gateway", "portal", "admin", "ops"} {
		fields[listener] = func(n yamldoc.Node) { p.pair(n, listener) }
	}
	for _, listener := range []string{"rls", "check"} {
		fields[listener] = func(n yamldoc.Node) { refuse(n, "tls."+listener) }
	}
	n.Map(fields)
}

func (p *configParser) pair(n yamldoc.Node, listener string) {
	var c pairConfig
	file := func(field *string, named *yamldoc.Problem) func(yamldoc.Node) {
		return func(n yamldoc.Node) {
			p.set(n, p.path, field)
			named.Line, named.Column = n.Place()
		}
	}
	whole := n.Map(map[string]func(yamldoc.Node){
		"cert": file(&c.Certificate, &c.CertNamed),
		"key":  file(&c.Key, &c.KeyNamed),
	})
	if !whole {
		return
	}
	for _, need := range []struct {
		key   string
		named yamldoc.Problem
	}{{"cert", c.CertNamed}, {"key", c.KeyNamed}} {
		if need.named.Line == 0 {
			n.Missing(need.key)
		}
	}
	p.config.Edge.TLS[listener] = c
}

func (p *configParser) hosts(n yamldoc.Node) {
	p.items(n, "names no host; leave it out to answer for any", func(item yamldoc.Node) {
		text, ok := p.text(item)
		if !ok {
			return
		}
		host, err := gateway.ParseHost(text)
		if err != nil {
			item.Problem("%v, not %s", err, shown(text))
			return
		}
		p.config.Edge.Hosts = append(p.config.Edge.Hosts, host)
	})
}

func (p *configParser) cors(n yamldoc.Node) {
	c := &gateway.CORS{MaxAge: 10 * time.Minute}
	var origins bool
	var credentials yamldoc.Node
	names := func(field *[]string, what, none string) func(yamldoc.Node) {
		return func(n yamldoc.Node) {
			*field = []string{}
			p.items(n, none, func(item yamldoc.Node) {
				text, ok := p.text(item)
				if ok && (text == "*" || !httpname.IsToken(text)) {
					item.Wrong(what)
				} else if ok {
					*field = append(*field, text)
				}
			})
		}
	}
	whole := n.Map(map[string]func(yamldoc.Node){
		"origins": func(n yamldoc.Node) {
			origins = true
			p.items(n, "names no origin; write those of the web sites whose scripts may use the API, or leave cors out", func(item yamldoc.Node) {
				text, ok := p.text(item)
				if !ok {
					return
				}
				origin, err := gateway.ParseOrigin(text)
				if err != nil {
					item.Problem("%v, not %s", err, shown(text))
					return
				}
				c.Origins = append(c.Origins, origin)
			})
		},
		"methods": names(&c.Methods, "the name of a method", "names no method; leave it out to allow any"),
		"headers": names(&c.Headers, "the name of a header", "names no header; leave it out to allow any"),
		"expose":  names(&c.Expose, "the name of a header", "names no header; leave it out to add none"),
		"credentials": func(n yamldoc.Node) {
			c.Credentials, _ = n.Bool()
			credentials = n
		},
		"max_age": func(n yamldoc.Node) {
			d, ok := p.duration(n)
			switch {
			case ok && d%time.Second != 0:
				n.Problem("must be whole seconds")
			case ok:
				c.MaxAge = d
			}
		},
	})
	if !whole {
		return
	}
	if !origins {
		n.Missing("origins")
	}
	if c.Credentials && slices.Contains(c.Origins, gateway.AnyOrigin) {
		credentials.Key().Problem("credentials need a list of origins: with * any web site could act in a user's name")
	}
	p.config.Edge.CORS = c
}

func (p *configParser) timeouts(n yamldoc.Node) {
	t := &p.config.Edge.Timeouts
	duration := func(field *time.Duration) func(yamldoc.Node) {
		return func(n yamldoc.Node) {
			if d, ok := p.duration(n); ok {
				*field = d
			}
		}
	}
	n.Map(map[string]func(yamldoc.Node){
		"headers": duration(&t.Headers),
		"body":    duration(&t.Body),
		"body_rate": func(n yamldoc.Node) {
			if rate, ok := p.count(n, maxBodyRate); ok {
				t.BodyRate = int(rate)
			}
		},
		"answer": duration(&t.Answer),
		"idle":   duration(&t.Idle),
	})
}

func (p *configParser) connections(n yamldoc.Node) {
	c := &p.config.Edge.Connections
	count := func(field *int) func(yamldoc.Node) {
		return func(n yamldoc.Node) {
			if connections, ok := p.count(n, maxConnections); ok {
				*field = int(connections)
			}
		}
	}
	n.Map(map[string]func(yamldoc.Node){"total": count(&c.Total), "per_address": count(&c.PerAddress)})
}

// maxConnections is the most connections that may be allowed.
const maxConnections = 1_000_000

// maxBodyRate is the fastest body that may be demanded, in bytes a second.
const maxBodyRate = 1_000_000_000

// upstream returns where admitted requests go; nil where there was a problem.
func (p *configParser) upstream(n yamldoc.Node) *url.URL {
	text, ok := p.text(n)
	if !ok {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || !slices.Contains([]string{"http", "https", "h2c"}, u.Scheme) || u.Hostname() == "" || u.Opaque != "":
		n.Wrong("http://HOST:PORT, https://HOST or h2c://HOST:PORT, perhaps with a path")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		n.Problem("only a scheme, a host and a path may be told")
	case strings.Contains(u.Path, "//"):
		n.Problem("the path must not have a doubled slash")
	default:
		return u
	}
	return nil
}

// openPairs reads the certificates and keys that the configuration names. The error is a [yamldoc.Problems] with each that cannot be used.
func (c *config) openPairs() (map[string]*keypair.Pair, error) {
	pairs := map[string]*keypair.Pair{}
	var broken yamldoc.Problems
	for listener, files := range c.Edge.TLS {
		pair, err := keypair.Open(files.Files)
		if err != nil {
			broken = append(broken, c.pairProblem(listener, err))
			continue
		}
		pairs[listener] = pair
	}
	if len(broken) > 0 {
		return nil, yamldoc.Join(broken, nil)
	}
	return pairs, nil
}

// pairProblem says of what is wrong with a listener's files where the configuration names them.
func (c *config) pairProblem(listener string, err error) yamldoc.Problem {
	named, key := c.Edge.TLS[listener].CertNamed, "cert"
	if wrong, ok := errors.AsType[*keypair.Error](err); ok && wrong.InKey {
		named, key = c.Edge.TLS[listener].KeyNamed, "key"
	}
	named.File = c.File
	named.Text = fmt.Sprintf("%s: %v", key, err)
	return named
}

// shown returns a text for a message, in quotes and shortened where it would not be plain.
func shown(text string) string {
	if len(text) > 64 || !httpname.IsToken(strings.NewReplacer("/", "", ":", "", "[", "", "]", "").Replace(text)) {
		return fmt.Sprintf("%.64q", text)
	}
	return text
}
