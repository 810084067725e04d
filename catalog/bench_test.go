package catalog_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/catalog"
)

var paths = []struct{ name, path string }{
	{"normal", "/rest/r500/posts/1234567890"},
	{"escapes", "/rest/r500/posts/urn%3Ali%3Ashare%3A1234567890"},
	{"dots", "/rest/./r500//x/../posts/1234567890"},
}

func BenchmarkNormalizePath(b *testing.B) {
	for _, bench := range paths {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := catalog.NormalizePath(bench.path, catalog.PathPolicy{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// large returns a catalog of n endpoints, or a few more, and as many applications as asked for.
func large(b *testing.B, endpoints, applications int) *catalog.Catalog {
	var yaml strings.Builder
	yaml.WriteString("catch_all: {application: 5}\nendpoints:\n")
	for i := range endpoints / 5 {
		fmt.Fprintf(&yaml, "- {id: r%d.create, match: POST /rest/r%d/posts, application: 100, member: 10}\n", i, i)
		fmt.Fprintf(&yaml, "- {id: r%d.get, match: \"GET /rest/r%d/posts/{id}\", application: 100}\n", i, i)
		fmt.Fprintf(&yaml, "- {id: r%d.likes, match: \"/rest/r%d/posts/{id}/likes/{rest...}\"}\n", i, i)
		fmt.Fprintf(&yaml, "- {id: r%d.list, match: GET /rest/r%d/posts}\n", i, i)
		fmt.Fprintf(&yaml, "- {id: r%d.find, match: GET /rest/r%d/posts, when: {header: {X-RestLi-Method: FINDER}, query: {q: author}}}\n", i, i)
	}
	yaml.WriteString("tiers:\n  t: {r0.create: {member: 5}}\napplications:\n")
	for i := range applications {
		fmt.Fprintf(&yaml, "- {id: app%d, name: Application %d, tier: t, overrides: {r0.get: {member: %d}}}\n", i, i, i)
	}
	return parse(b, yaml.String())
}

func BenchmarkMatch(b *testing.B) {
	s, err := catalog.NewSnapshot(large(b, 5000, 1), catalog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	header := http.Header{"Authorization": {"Bearer x"}, "X-Restli-Method": {"FINDER"}, "User-Agent": {"bench"}, "Accept": {"*/*"}}
	for _, bench := range []struct{ name, method, path, query, want string }{
		{"literal", "POST", "/rest/r500/posts", "", "r500.create"},
		{"wildcard", "GET", "/rest/r500/posts/1", "", "r500.get"},
		{"subtree", "GET", "/rest/r500/posts/1/likes/2/3", "", "r500.likes"},
		{"when", "GET", "/rest/r500/posts", "count=10&q=author&start=20", "r500.find"},
		{"when not", "GET", "/rest/r500/posts", "count=10&q=other&start=20", "r500.list"},
		{"catch-all", "GET", "/nothing/here", "", "*"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p, err := s.NormalizePath(bench.path)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if e, err := s.Match(p, bench.method, header, bench.query); err != nil || e.ID != bench.want {
					b.Fatal(e, err)
				}
			}
		})
	}
}

func BenchmarkLimits(b *testing.B) {
	s, err := catalog.NewSnapshot(large(b, 5000, 1000), catalog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	app, _ := s.Application("app1")
	e, _ := s.Endpoint("r0.create")
	b.ReportAllocs()
	for b.Loop() {
		s.Limits(app, e)
	}
}

// BenchmarkNewSnapshot is what a change of a large catalog costs: a node does it once for each.
func BenchmarkNewSnapshot(b *testing.B) {
	c := large(b, catalog.MaxEndpoints, catalog.MaxApplications)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := catalog.NewSnapshot(c, catalog.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDiff(b *testing.B) {
	c := large(b, catalog.MaxEndpoints, catalog.MaxApplications)
	for b.Loop() {
		if changes := catalog.Diff(c, c); len(changes) > 0 {
			b.Fatal(changes)
		}
	}
}
