package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
