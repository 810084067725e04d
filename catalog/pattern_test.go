package catalog

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Which patterns overlap is known without ServeMux, so that the problem can name both; it must agree with ServeMux.
func TestOverlapAgreesWithServeMux(t *testing.T) {
	draw := func(t *rapid.T, label string) (method, path string) {
		method = rapid.SampledFrom([]string{"", "GET", "HEAD", "POST"}).Draw(t, label+" method")
		segments := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "{x}"}), 0, 4).Draw(t, label+" segments")
		for i, s := range segments {
			path += "/" + strings.ReplaceAll(s, "x", string(rune('p'+i))) // the names of wildcards must differ
		}
		return method, path + rapid.SampledFrom([]string{"", "/", "/{rest...}", "/{$}"}).Draw(t, label+" end")
	}
	rapid.Check(t, func(t *rapid.T) {
		var patterns []pattern
		mux := newServeMux()
		conflict := false
		for _, label := range []string{"one", "other"} {
			method, path := draw(t, label)
			if path == "" {
				path = "/"
			}
			p, err := parsePattern(method, path)
			if err != nil {
				t.Fatal(err)
			}
			patterns = append(patterns, p)
			conflict = mux.add(method, path) != nil
		}
		p, q := patterns[0], patterns[1]
		path, overlaps := p.overlap(q)
		if _, mirrored := q.overlap(p); mirrored != overlaps {
			t.Fatal("overlap depends on the order")
		}
		if same := p.key() == q.key(); conflict != (same || overlaps) {
			t.Fatalf("same %v, overlap %v, ServeMux' conflict %v", same, overlaps, conflict)
		}
		if path == "" {
			return
		}
		for _, p := range patterns {
			var root node
			root.add(&Endpoint{ID: "e"}, p)
			q := &question{method: p.method}
			if e, _ := root.exactly(path, q); e == nil {
				if e, _ := root.under(path, q); e == nil {
					t.Fatalf("%s is said to match %+v", path, p)
				}
			}
		}
	})
}
