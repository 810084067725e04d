package main

import (
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/notify"
)

// TestChangedKeys tells of each key of perdiem.yaml that it has changed, and of none that has not.
func TestChangedKeys(t *testing.T) {
	parse := func(text string) *config {
		t.Helper()
		c, err := parseConfig("/etc/perdiem/perdiem.yaml", []byte(text), getenv)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if got := changedKeys(parse(wholeConfig), parse("# moved down\n"+wholeConfig)); got != nil {
		t.Errorf("unchanged: %v", got)
	}
	known := map[string]bool{}
	for key := range knownKeys(t, parseConfigText) {
		top, rest, below := strings.Cut(key, ".")
		if top == "listen" && below {
			known[top+"."+rest] = true
		} else if top != "listen" {
			known[top] = true
		}
	}
	for _, refused := range []string{"cluster", "listen.rls", "listen.check"} {
		delete(known, refused)
	}
	changed := changedKeys(parse(""), parse(wholeConfig))
	slices.Sort(changed)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(known)), changed); diff != "" {
		t.Errorf("-known +changed\n%s", diff)
	}
	for _, c := range []struct{ from, to, key string }{
		{"identity: [jwt: {jwks: https://a.example/, issuer: a, audience: a}]", "identity: [jwt: {jwks: https://a.example/, issuer: a, audience: b}]", "identity"},
		{"identity: [tokens: {}]", "identity: [tokens: {header: X-Key}]", "identity"},
		{"identity: [headers: {application: A, from: [127.0.0.1]}]", "identity: [headers: {application: A, from: [127.0.0.2]}]", "identity"},
		{"tls: {ops: {cert: a, key: b}}", "tls: {ops: {cert: a, key: c}}", "tls"},
		{"day: {zone: Europe/Berlin}", "day: {zone: Europe/Paris}", "day"},
	} {
		if got := changedKeys(parse(c.from), parse(c.to)); !slices.Equal(got, []string{c.key}) {
			t.Errorf("%s, then %s: %v", c.from, c.to, got)
		}
		if got := changedKeys(parse(c.from), parse(c.from)); got != nil {
			t.Errorf("%s: %v", c.from, got)
		}
	}
}

// TestChangedAuthorities replaces the certificates by which issuers and a mail server are known, by others of the same name.
func TestChangedAuthorities(t *testing.T) {
	pool := func() *x509.CertPool {
		t.Helper()
		certificate, _, err := testkit.Certificate(time.Now(), time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		p := x509.NewCertPool()
		if !p.AppendCertsFromPEM(certificate) {
			t.Fatal("no certificate")
		}
		return p
	}
	told := func(roots *x509.CertPool) *config {
		return &config{SMTP: &notify.MailOptions{Roots: roots}, OIDC: &identity.OIDCOptions{Roots: roots}, Identity: identityConfig{Sources: []sourceConfig{{JWT: &identity.JWTOptions{Roots: roots}}, {Introspection: &identity.IntrospectionOptions{Roots: roots}}}}}
	}
	one, other := pool(), pool()
	for _, c := range []struct {
		from, to *x509.CertPool
		want     []string
	}{
		{one, one, nil},
		{one, one.Clone(), nil},
		{nil, nil, nil},
		{one, other, []string{"smtp", "identity", "oidc"}},
		{one, nil, []string{"smtp", "identity", "oidc"}},
		{nil, one, []string{"smtp", "identity", "oidc"}},
	} {
		if got := changedKeys(told(c.from), told(c.to)); !slices.Equal(got, c.want) {
			t.Errorf("%p, then %p: %v, want %v", c.from, c.to, got, c.want)
		}
	}
}
