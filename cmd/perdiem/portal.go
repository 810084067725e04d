package main

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/perdiem/perdiem/admit"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/netaddr"
	"github.com/perdiem/perdiem/portal"
)

// openPortal serves the Developer Portal. sources are those that callers are identified by.
func (n *node) openPortal(sources []identity.Source) (err error) {
	signIns, err := identity.NewSignIns(identity.SignInOptions{Account: n.registry.Account, Passwords: n.passwords, Browsers: n.browserKey})
	if err != nil {
		return err
	}
	caller, err := n.tokenCallers(sources)
	if err != nil {
		return err
	}
	oidc, err := n.newOIDC()
	if err != nil {
		return err
	}
	if u := n.config.PortalURL; u != nil && u.Scheme == "http" && !netaddr.IsLoopback(u.Hostname()) {
		n.log.Warn("portal_url is http, and not of this machine: browsers keep a session for https alone, so that nobody can sign in there; have a proxy speak TLS, and give its https address", "portal_url", u.String())
	}
	n.pages, err = portal.New(portal.Options{
		Accounts:    n.registry,
		Tokens:      n.registry,
		NewToken:    n.tokenKey.NewToken,
		TakesTokens: n.config.Identity.takesTokens(),
		Revoked:     n.revoked,
		Alerts:      n.registry,
		TestAlert:   n.records.alerts.Test,
		MailsAlerts: n.config.SMTP != nil,
		Call:        n.testCall(),
		Contact:     n.config.PortalContact,
		Catalog:     n.snapshots.current,
		Usage:       n.usage,
		History:     n.records.history,
		SignIn:      signIns.SignIn,
		Mark:        n.browserKey.Mark,
		OIDC:        oidc,
		Caller:      caller,
		From:        gateway.Proxies(n.config.Edge.TrustedProxies).Client,
		URL:         n.portalURL(),
		URLUntold:   n.config.PortalURL == nil,
		Gateway:     n.gatewayURL(),
		Now:         n.now,
		Log:         n.log,
		Operators: portal.OperatorOptions{
			Runtime:      n.registry,
			Audit:        n.registry.Audit,
			Changed:      n.snapshots.refresh,
			HashPassword: n.passwords.Hash,
			Health:       n.health,
		},
	})
	if err != nil {
		return err
	}
	n.portal = n.server(n.pages)
	n.serve("listen.portal", n.doors.portal, n.encrypted("portal", n.portal))
	return nil
}

// newOIDC returns sign-in at the issuer that the configuration names; nil: it names none.
func (n *node) newOIDC() (*identity.OIDC, error) {
	if n.config.OIDC == nil {
		return nil, nil
	}
	o := *n.config.OIDC
	o.Redirect = strings.TrimRight(n.portalURL().String(), "/") + portal.OIDCCallback
	o.Accounts, o.Now, o.Logger = n.registry, n.now, n.log
	return identity.NewOIDC(o)
}

// tokenCallers returns how it is found out who asks for usage at the portal: by tokens alone. A header that names an application is believed of those
// who reach the gateway, not of whatever proxy is before the portal.
func (n *node) tokenCallers(sources []identity.Source) (func(*http.Request) (identity.Caller, error), error) {
	var tokens []identity.Source
	for _, s := range sources {
		if _, ok := s.(*identity.Headers); !ok {
			tokens = append(tokens, s)
		}
	}
	if len(tokens) == 0 {
		return func(*http.Request) (identity.Caller, error) {
			return identity.Caller{}, fault.New(fault.Unauthorized, "Here usage is told by tokens, and callers are identified by headers alone: ask for /perdiem/usage where calls go.")
		}, nil
	}
	admitter, err := admit.New(admit.Options{
		Catalog: n.snapshots.current, Callers: identity.New(tokens...), Take: n.take, Now: n.now, Register: n.register(),
	})
	if err != nil {
		return nil, err
	}
	return func(r *http.Request) (identity.Caller, error) {
		return admitter.Identify(r.Context(), admit.Request{Header: r.Header})
	}, nil
}

// portalURL returns where browsers find the portal: portal_url, else where it listens.
func (n *node) portalURL() *url.URL {
	if n.config.PortalURL != nil {
		return n.config.PortalURL
	}
	return n.listenerURL("portal", n.address.Portal)
}

// gatewayURL returns where callers find the gateway: gateway_url, else where it listens; and where that is at all of the machine's addresses, the one that
// browsers find the portal at, if that is told. Empty: there is none, or callers find it behind a proxy that alone says who they are. It may stand in a
// shell's quotes.
func (n *node) gatewayURL() string {
	u := n.config.GatewayURL
	switch {
	case n.config.Identity.onlyHeaders() || u == nil && n.address.Gateway == "":
		return ""
	case u == nil:
		u = n.listenerURL("gateway", n.address.Gateway)
		if at := n.config.PortalURL; at != nil {
			u.Host = reachableAs(n.address.Gateway, at.Hostname())
		}
	}
	return strings.ReplaceAll(strings.TrimRight(u.String(), "/"), "'", "%27")
}

// listenerURL returns the URL of a listener for somebody on this machine.
func (n *node) listenerURL(listener, address string) *url.URL {
	u := &url.URL{Scheme: "http", Host: reachable(address)}
	if n.pairs[listener] != nil {
		u.Scheme = "https"
	}
	return u
}
