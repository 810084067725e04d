package main

import (
	"crypto/x509"
	"reflect"
	"slices"
	"strings"

	"github.com/perdiem/perdiem/quota"
)

// atStart are the keys of perdiem.yaml by what a node has of them: all of them are read at the start alone.
var atStart = []struct {
	key string
	of  func(*config) any
}{
	{"listen.gateway", func(c *config) any { return c.Gateway }},
	{"listen.portal", func(c *config) any { return c.Portal }},
	{"listen.admin", func(c *config) any { return c.Admin }},
	{"listen.ops", func(c *config) any { return c.Ops }},
	{"tls", func(c *config) any { return c.tlsFiles() }},
	{"upstream", func(c *config) any { return c.Upstream }},
	{"upstream_timeout", func(c *config) any { return c.UpstreamTimeout }},
	{"protection", func(c *config) any { return c.Protection }},
	{"trusted_proxies", func(c *config) any { return c.Edge.TrustedProxies }},
	{"hosts", func(c *config) any { return c.Edge.Hosts }},
	{"cors", func(c *config) any { return c.Edge.CORS }},
	{"timeouts", func(c *config) any { return c.Edge.Timeouts }},
	{"connections", func(c *config) any { return c.Edge.Connections }},
	{"data", func(c *config) any { return c.Data }},
	{"durability", func(c *config) any { return c.Durability }},
	{"retention_days", func(c *config) any { return c.RetentionDays }},
	{"history_days", func(c *config) any { return c.HistoryDays }},
	{"alerts", func(c *config) any { return c.Alerts }},
	{"smtp", func(c *config) any { return c.smtpTold() }},
	{"catalog", func(c *config) any { return c.Catalog }},
	{"operator_key_file", func(c *config) any { return c.OperatorKeyFile }},
	{"day", func(c *config) any { return dayText(c.Day) }},
	{"headers", func(c *config) any { return c.Headers }},
	{"when_ledger_is_down", func(c *config) any { return c.AdmitWhenDown }},
	{"paths", func(c *config) any { return c.Paths }},
	{"method_override", func(c *config) any { return c.MethodOverride }},
	{"unknown_applications", func(c *config) any { return c.Identity.UnknownTier }},
	{"identity", func(c *config) any { return c.Identity.callers() }},
	{"usage", func(c *config) any { return c.UsageForMembers }},
	{"portal_url", func(c *config) any { return c.PortalURL }},
	{"gateway_url", func(c *config) any { return c.GatewayURL }},
	{"portal_contact", func(c *config) any { return c.PortalContact }},
	{"oidc", func(c *config) any { return c.oidcTold() }},
}

// changedKeys returns the keys, in the order of the documentation, that mean another thing in b than in a.
func changedKeys(a, b *config) (keys []string) {
	for _, k := range atStart {
		if !isSame(k.of(a), k.of(b)) {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// isSame reports whether two values of a key mean the same.
func isSame(a, b any) bool {
	if a, ok := a.(callerSources); ok {
		return a.equal(b.(callerSources))
	}
	return reflect.DeepEqual(a, b)
}

// tlsFiles returns the files of the listeners' pairs, wherever the configuration names them.
func (c *config) tlsFiles() map[string][2]string {
	files := map[string][2]string{}
	for listener, pair := range c.Edge.TLS {
		files[listener] = [2]string{pair.Certificate, pair.Key}
	}
	return files
}

// dayText is a rule without what its zone keeps in memory.
func dayText(r quota.DayRule) string { return r.Zone() + " " + r.Starts() }

// callerSources are what the sources are told, in a form that can be compared.
type callerSources struct {
	options []any
	roots   []*x509.CertPool // that issuers and mail servers prove who they are to, by source; nil: the system's
	header  string
}

func (c callerSources) equal(other callerSources) bool {
	return c.header == other.header && reflect.DeepEqual(c.options, other.options) && slices.EqualFunc(c.roots, other.roots, (*x509.CertPool).Equal)
}

// callers returns what the sources are told.
func (c *identityConfig) callers() callerSources {
	told := callerSources{header: c.TokenHeader}
	for _, s := range c.Sources {
		var options any
		var roots *x509.CertPool
		switch {
		case s.Headers != nil:
			options = *s.Headers
		case s.JWT != nil:
			o := *s.JWT
			roots, o.Roots = o.Roots, nil
			options = o
		case s.Introspection != nil:
			o := *s.Introspection
			roots, o.Roots = o.Roots, nil
			options = o
		}
		told.options, told.roots = append(told.options, options), append(told.roots, roots)
	}
	return told
}

// tellChanged says which of the configuration's keys have changed since the start, and that the node goes on without them.
func (n *node) tellChanged() {
	if n.reread == nil {
		return
	}
	now, err := n.reread()
	if err != nil {
		for _, line := range lines(err) {
			n.log.Warn("the configuration has changed, and a node would not start with it: this one goes on with what it read at its start", "err", line)
		}
		return
	}
	if keys := changedKeys(n.config, now); len(keys) > 0 {
		n.log.Warn(n.config.File + " has changed: what it says now of " + strings.Join(keys, ", ") + " holds from the next start on")
	}
}
