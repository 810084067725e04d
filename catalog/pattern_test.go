package catalog_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/perdiem/perdiem/catalog"
)

// A catalog may have those patterns together that ServeMux takes together: as they are written, and, where a trailing slash is
// ignored, with "/a" for "/a/{$}" as well.
func TestAmbiguityAgreesWithServeMux(t *testing.T) {
	segment := rapid.SampledFrom([]string{"/a", "/b", "/{x}"})
	rapid.Check(t, func(t *rapid.T) {
		c := &catalog.Catalog{CatchAll: catalog.Endpoint{ID: "*", Cost: 1}}
		written, ignoringSlash := http.NewServeMux(), http.NewServeMux()
		refused := func(mux *http.ServeMux, pattern string) (refused bool) {
			defer func() { refused = recover() != nil }()
			mux.Handle(pattern, http.NotFoundHandler())
			return false
		}
		var asWritten, without bool // refused
		for i := range rapid.IntRange(2, 5).Draw(t, "patterns") {
			path := ""
			for j, s := range rapid.SliceOfN(segment, 0, 4).Draw(t, "segments") {
				path += strings.ReplaceAll(s, "x", string(rune('p'+j))) // the names of wildcards must differ
			}
			path += rapid.SampledFrom([]string{"", "/", "/{rest...}", "/{$}"}).Draw(t, "end")
			if path == "" {
				path = "/"
			}
			e := catalog.Endpoint{ID: fmt.Sprint(i), Method: rapid.SampledFrom([]string{"", "GET", "HEAD", "POST"}).Draw(t, "method"), Path: path, Cost: 1}
			c.Endpoints = append(c.Endpoints, e)
			asWritten = refused(written, e.Match()) || asWritten
			if path != "/{$}" {
				without = refused(ignoringSlash, strings.TrimSuffix(e.Match(), "/{$}")) || without
			}
		}
		if err := c.Validate(catalog.PathPolicy{}); (err != nil) != (asWritten || without) {
			t.Fatalf("the catalog: %v; ServeMux refuses as written %v, without slash %v", err, asWritten, without)
		}
		if err := c.Validate(strict); (err != nil) != asWritten {
			t.Fatalf("the catalog, strict: %v; ServeMux refuses %v", err, asWritten)
		}
	})
}
