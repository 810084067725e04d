package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/yamldoc"
	"github.com/perdiem/perdiem/lease/embedledger"
	"github.com/perdiem/perdiem/notify"
	"github.com/perdiem/perdiem/quota"
)

// config is how a node runs: what perdiem.yaml says, and the defaults for what it does not say.
type config struct {
	File   string                     // that it was read from
	Places map[string]yamldoc.Problem // where the file names upstream, data and operator_key_file; without a text

	Gateway string // the address to listen at; empty: no gateway
	Portal  string
	Admin   string
	Ops     string

	Upstream        *url.URL // nil where there is no gateway
	UpstreamTimeout time.Duration
	Protection      protectionConfig

	Data            string // the folder
	Durability      embedledger.Durability
	RetentionDays   int
	HistoryDays     int
	Alerts          alertsConfig
	SMTP            *notify.MailOptions // without the portal's address; nil: no mail is sent
	Catalog         string              // the file; empty: catalogs come by perdiem apply
	CatalogNamed    yamldoc.Problem     // where the configuration names it; without a text
	OperatorKeyFile string

	Day             quota.DayRule
	Headers         answer.Headers
	AdmitWhenDown   bool
	Paths           catalog.PathPolicy
	MethodOverride  bool
	Identity        identityConfig
	UsageForMembers bool
	PortalURL       *url.URL              // nil: the address at which the portal listens
	GatewayURL      *url.URL              // nil: the address at which the gateway listens
	PortalContact   *url.URL              // nil: nobody is named
	OIDC            *identity.OIDCOptions // what the file tells of them; nil: nobody signs in at an issuer
	Edge            edgeConfig
}

const maxKeptDays = 36_500

// readConfig reads the configuration file. The error is a [yamldoc.Problems] with everything that is wrong with it; or it says what kept the
// file from being read. What the file names is not looked at; see [config.inspect].
func readConfig(file string, getenv func(string) (string, bool)) (*config, error) {
	data, err := readConfigFile(file)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(file, data, getenv)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func readConfigFile(file string) ([]byte, error) {
	data, err := readBounded(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist: write it, or name another configuration by -c", file)
	}
	return data, err
}

// readCatalog reads the catalog that the configuration names; nil where it names none. The error is a [yamldoc.Problems]. Where the file cannot be
// read, that is a problem of the configuration.
func (c *config) readCatalog() (*catalog.Catalog, error) {
	if c.Catalog == "" {
		return nil, nil
	}
	data, err := readBounded(c.Catalog)
	if err != nil {
		problem := c.CatalogNamed
		problem.Text = fmt.Sprintf("catalog: %v", err)
		if errors.Is(err, fs.ErrNotExist) {
			problem.Text = fmt.Sprintf("catalog: %s does not exist: write it, or leave catalog out", c.Catalog)
		}
		return nil, yamldoc.Problems{problem}
	}
	parsed, err := catalog.Parse(c.Catalog, data, c.Paths)
	if err != nil {
		return nil, err
	}
	return parsed, c.Identity.checkTier(parsed)
}

// parseConfig reads a configuration. The error is a [yamldoc.Problems] with everything that is wrong with it; what could be read is returned
// all the same then.
func parseConfig(file string, data []byte, getenv func(string) (string, bool)) (*config, error) {
	folder := filepath.Dir(file)
	utc, err := quota.NewDayRule("UTC", "00:00")
	if err != nil {
		return nil, err
	}
	p := configParser{
		values: values{getenv: getenv, folder: folder},
		config: &config{
			Places:          map[string]yamldoc.Problem{},
			Portal:          "127.0.0.1:8081",
			Admin:           "127.0.0.1:8082",
			Ops:             "127.0.0.1:9090",
			UpstreamTimeout: time.Minute,
			Protection:      defaultProtection(),
			Data:            filepath.Join(folder, "data"),
			RetentionDays:   8,
			HistoryDays:     400,
			Day:             utc,
			Identity:        identityConfig{Sources: []sourceConfig{{}}},
			UsageForMembers: true,
			Edge:            edgeConfig{Timeouts: gateway.DefaultTimeouts(), Connections: gateway.DefaultConnections()},
		},
	}
	doc := yamldoc.Parse(file, data)
	p.root(doc.Root())
	p.config.File = file
	p.config.CatalogNamed.File = file
	p.config.Identity.UnknownTierNamed.File = file
	if p.config.OperatorKeyFile == "" {
		p.config.OperatorKeyFile = filepath.Join(p.config.Data, "operator.key")
	}
	return p.config, doc.Err()
}

// configParser fills a config from a document. Its methods are named after the keys that they read.
type configParser struct {
	values
	config *config
}

func (p *configParser) root(n yamldoc.Node) {
	c := p.config
	var upstream bool
	fields := map[string]func(yamldoc.Node){
		"listen":   p.listen,
		"upstream": func(n yamldoc.Node) { upstream = true; p.keepPlace(n); c.Upstream = p.upstream(n) },
		"upstream_timeout": func(n yamldoc.Node) {
			if d, ok := p.duration(n); ok {
				c.UpstreamTimeout = d
			}
		},
		"protection": p.protection,
		"data":       func(n yamldoc.Node) { p.keepPlace(n); p.set(n, p.path, &c.Data) },
		"durability": func(n yamldoc.Node) {
			if text, _ := p.oneOf(n, "disk", "process"); text == "process" {
				c.Durability = embedledger.Process
			}
		},
		"retention_days": func(n yamldoc.Node) { p.days(n, &c.RetentionDays) },
		"history_days":   func(n yamldoc.Node) { p.days(n, &c.HistoryDays) },
		"alerts":         p.alerts,
		"smtp":           p.smtp,
		"catalog": func(n yamldoc.Node) {
			p.set(n, p.path, &c.Catalog)
			c.CatalogNamed.Line, c.CatalogNamed.Column = n.Place()
		},
		"day": p.day,
		"headers": func(n yamldoc.Node) {
			if text, ok := p.oneOf(n, "ietf", "legacy", "none"); ok {
				c.Headers, _ = answer.ParseHeaders(text)
			}
		},
		"when_ledger_is_down": func(n yamldoc.Node) {
			text, _ := p.oneOf(n, "refuse", "admit")
			c.AdmitWhenDown = text == "admit"
		},
		"paths":                p.paths,
		"unknown_applications": p.unknownApplications,
		"identity":             p.identity,
		"operator_key_file":    func(n yamldoc.Node) { p.keepPlace(n); p.set(n, p.path, &c.OperatorKeyFile) },
		"usage": func(n yamldoc.Node) {
			if _, ok := p.oneOf(n, "application"); ok {
				c.UsageForMembers = false
			}
		},
		"portal_url":      func(n yamldoc.Node) { c.PortalURL = p.url(n) },
		"gateway_url":     func(n yamldoc.Node) { c.GatewayURL = p.url(n) },
		"portal_contact":  func(n yamldoc.Node) { c.PortalContact = p.contact(n) },
		"oidc":            p.oidc,
		"method_override": p.methodOverride,
	}
	p.edge(fields)
	for _, key := range []string{"cluster"} {
		fields[key] = func(n yamldoc.Node) { refuse(n, key) }
	}
	if n.Silent() || !n.IsNull() && !n.Map(fields) {
		return
	}
	if c.Gateway != "" && !upstream {
		at, _ := n.At("listen", "gateway")
		at.Key().Problem("a gateway needs an upstream; say at the top where admitted requests go, such as upstream: http://127.0.0.1:9000")
	}
}

// keepPlace keeps where a key at the top has its value.
func (p *configParser) keepPlace(n yamldoc.Node) {
	var at yamldoc.Problem
	at.Line, at.Column = n.Place()
	p.config.Places[n.Name()] = at
}

// set stores in field what read returns.
func (p *configParser) set(n yamldoc.Node, read func(yamldoc.Node) (string, bool), field *string) {
	if text, ok := read(n); ok {
		*field = text
	}
}

// days stores in field for how many days something is kept.
func (p *configParser) days(n yamldoc.Node, field *int) {
	if days, ok := p.count(n, maxKeptDays); ok {
		*field = int(days)
	}
}

// refuse reports a key that perdiem knows and cannot do yet.
func refuse(n yamldoc.Node, key string) {
	n.Key().Problem("%s is not built yet; leave it out", key)
}

func (p *configParser) listen(n yamldoc.Node) {
	taken := listeners{}
	at := func(field *string) func(yamldoc.Node) {
		return func(n yamldoc.Node) {
			text, ok := p.address(n)
			if !ok {
				return
			}
			*field = text
			if other := taken.by(text); other != "" {
				n.Problem("%s is the address of %s already", text, other)
			}
			taken[n.Name()] = text
		}
	}
	n.Map(map[string]func(yamldoc.Node){
		"gateway": at(&p.config.Gateway),
		"portal":  at(&p.config.Portal),
		"admin":   at(&p.config.Admin),
		"ops":     at(&p.config.Ops),
		"rls":     func(n yamldoc.Node) { refuse(n, "listen.rls") },
		"check":   func(n yamldoc.Node) { refuse(n, "listen.check") },
	})
	// Listeners that are not named have addresses, too.
	for _, l := range []struct{ name, address string }{{"portal", p.config.Portal}, {"admin", p.config.Admin}, {"ops", p.config.Ops}} {
		if other := taken.by(l.address); other != "" && taken[l.name] == "" {
			n.Key().Problem("%s, the address of %s, is that of %s unless told; give one of them another", l.address, other, l.name)
		}
	}
}

func (p *configParser) day(n yamldoc.Node) {
	zone, starts := p.config.Day.Zone(), p.config.Day.Starts()
	n.Map(map[string]func(yamldoc.Node){
		"zone": func(n yamldoc.Node) {
			text, ok := p.text(n)
			if !ok {
				return
			}
			if _, err := quota.NewDayRule(text, starts); err != nil {
				n.Wrong("the name of an IANA zone such as UTC or Europe/Berlin")
				return
			}
			zone = text
		},
		"starts": func(n yamldoc.Node) {
			text, ok := p.text(n)
			if !ok {
				return
			}
			if _, err := quota.NewDayRule("UTC", text); err != nil {
				n.Wrong(`a time of day as "HH:MM" or "HH:MM:SS"`)
				return
			}
			starts = text
		},
	})
	if rule, err := quota.NewDayRule(zone, starts); err == nil {
		p.config.Day = rule
	}
}

// readBounded reads a file that somebody wrote, unless it is larger than any that makes sense.
func readBounded(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a folder; name a file", file)
	}
	if info.Size() > yamldoc.MaxSize {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", file, info.Size(), yamldoc.MaxSize)
	}
	return os.ReadFile(file)
}

// listeners are addresses, by the names of those that listen there.
type listeners map[string]string

// by returns the first by name of those that keep others from listening at an address, or an empty text.
func (l listeners) by(address string) string {
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if overlap(l[name], address) {
			return name
		}
	}
	return ""
}

// overlap reports whether two listeners cannot have these addresses at a time. Names are not looked up.
func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || isEverywhere(hostA) || isEverywhere(hostB)
}

// isEverywhere reports whether who listens at a host listens at all of the machine's addresses.
func isEverywhere(host string) bool {
	at, err := netip.ParseAddr(host)
	return host == "" || err == nil && at.IsUnspecified()
}
