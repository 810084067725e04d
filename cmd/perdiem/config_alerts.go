package main

import (
	"crypto/x509"
	"net/mail"
	"net/netip"

	"github.com/perdiem/perdiem/internal/yamldoc"
	"github.com/perdiem/perdiem/notify"
)

// alertsConfig says how alerts are delivered.
type alertsConfig struct {
	WebhooksMayReach []netip.Prefix // besides the public internet
}

func (p *configParser) alerts(n yamldoc.Node) {
	n.Map(map[string]func(yamldoc.Node){
		"webhooks_may_reach": func(n yamldoc.Node) {
			p.config.Alerts.WebhooksMayReach = p.networks(n, "allows nothing; leave it out to allow the public internet alone")
		},
	})
}

// The ports at which mail servers take messages: RFC 6409 3.1, and RFC 8314 3.3 for TLS from the start.
const (
	submissionPort  = 587
	submissionsPort = 465
)

// smtp reads the mail server by which alerts are sent.
func (p *configParser) smtp(n yamldoc.Node) {
	o := &notify.MailOptions{}
	whole := p.require(n, map[string]func(yamldoc.Node){
		"host": func(n yamldoc.Node) { p.set(n, p.text, &o.Host) },
		"port": func(n yamldoc.Node) {
			if port, ok := p.count(n, 65535); ok {
				o.Port = int(port)
			}
		},
		"tls": func(n yamldoc.Node) {
			text, _ := p.oneOf(n, "required", "implicit", "opportunistic", "none")
			o.Encryption = map[string]notify.Encryption{
				"implicit": notify.ImplicitTLS, "opportunistic": notify.Opportunistic, "none": notify.Unencrypted,
			}[text]
		},
		"user":     func(n yamldoc.Node) { p.set(n, p.text, &o.User) },
		"password": func(n yamldoc.Node) { p.set(n, p.secret, &o.Password) },
		"ca":       func(n yamldoc.Node) { o.Roots = p.authorities(n) },
		"from": func(n yamldoc.Node) {
			text, ok := p.text(n)
			if !ok {
				return
			}
			if a, err := mail.ParseAddress(text); err != nil || a.Name != "" || a.Address != text {
				n.Wrong("an address such as perdiem@host.example")
				return
			}
			o.From = text
		},
	}, "host", "from")
	if o.Port == 0 {
		o.Port = submissionPort
		if o.Encryption == notify.ImplicitTLS {
			o.Port = submissionsPort
		}
	}
	p.config.SMTP = o
	switch {
	case !whole:
	case (o.User == "") != (o.Password == ""):
		n.Problem("user and password belong together: give both or neither")
	case o.User != "" && o.Encryption == notify.Unencrypted:
		n.Problem("tls: none would send the password for everybody to read; leave user and password out, or tls")
	}
}

// smtpTold returns what is told of the mail server, in a form that can be compared.
func (c *config) smtpTold() callerSources {
	if c.SMTP == nil {
		return callerSources{}
	}
	o := *c.SMTP
	o.Roots = nil
	return callerSources{options: []any{o}, roots: []*x509.CertPool{c.SMTP.Roots}}
}
