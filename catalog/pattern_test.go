package catalog_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/perdiem/perdiem/catalog"
)

// A catalog may have those patterns together that ServeMux takes together: as they are written, and, a trailing slash being
// ignored, with "/a" for "/a/{$}".
func TestAmbiguityAgreesWithServeMux(t *testing.T) {
	segment := rapid.SampledFrom([]string{"/a", "/b", "/{x}"})
	rapid.Check(t, func(t *rapid.T) {
		c := &catalog.Catalog{CatchAll: catalog.Endpoint{ID: "*", Cost: 1}}
		written, ignoringSlash := http.NewServeMux(), http.NewServeMux()
		var refused any
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
			func() {
				defer func() {
					if r := recover(); r != nil {
						refused = r
					}
				}()
				written.Handle(e.Match(), http.NotFoundHandler())
				if path != "/{$}" {
					ignoringSlash.Handle(strings.TrimSuffix(e.Match(), "/{$}"), http.NotFoundHandler())
				}
			}()
		}
		if err := c.Validate(); (err != nil) != (refused != nil) {
			t.Fatalf("the catalog: %v; ServeMux: %v", err, refused)
		}
	})
}
