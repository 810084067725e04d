package catalog_test

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/yamldoc"
)

// FuzzMatch makes a catalog of the patterns, one a line, that are allowed beside those before, and asks for a path:
//   - what is sent upstream is spelled as it will be, and means what was matched;
//   - the endpoint is the one that ServeMux chooses;
//   - no other spelling of the path meets another endpoint.
func FuzzMatch(f *testing.F) {
	patterns := strings.Join([]string{
		"/{$}", "GET /posts", "/posts/{id}", "POST /posts/", "/posts/{id}/likes", "/files/{rest...}", "GET /{a}/{b}/{c}", "/x%20y/%C3%A9",
	}, "\n")
	for i, spelling := range spellings {
		f.Add(patterns, "GET", spelling, uint64(i))
	}
	f.Add("/a/{x}\n/a/b/\n/a\n/", "HEAD", "/a/b", uint64(1))
	f.Add("GET /a/b/\n/{x...}\nHEAD /a/{y}", "HEAD", "/a/b", uint64(1))
	f.Add("/a/{$}\nGET /a\n/{p}/{$}", "POST", "/a/%2e/", uint64(1))
	f.Fuzz(func(t *testing.T, patterns, method, path string, seed uint64) {
		s, mux, byPattern := catalogOf(t, patterns)
		p, err := s.NormalizePath(path)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%q: %v", path, err)
			}
			return
		}
		if again, err := s.NormalizePath(p.Forward); err != nil || again != p {
			t.Fatalf("%q becomes %+q, and that %+q, %v", path, p, again, err)
		}
		if u, err := url.ParseRequestURI(p.Forward); err != nil || strings.TrimRight(u.Path, "/") != strings.TrimRight(p.Match, "/") || u.EscapedPath() != p.Forward {
			t.Fatalf("%q is matched as %q and forwarded as %q, which is read as %+v, %v", path, p.Match, p.Forward, u, err)
		}
		e, err := s.Match(p, method, nil, "")
		if err != nil {
			if !strings.EqualFold(method, "CONNECT") {
				t.Fatalf("%q: %v", path, err)
			}
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL = strings.ToUpper(method), &url.URL{Path: p.Match}
		want := "*"
		if _, pattern := mux.Handler(r); pattern != "" {
			want = byPattern[pattern]
		}
		if e.ID != want {
			t.Fatalf("%s %q meets %s; ServeMux chooses %s among\n%s", method, p.Match, e.ID, want, patterns)
		}
		spelled := respell(p.Forward, rand.New(rand.NewPCG(seed, 1)))
		other, err := s.NormalizePath(spelled)
		if err != nil || other.Match != p.Match || strings.TrimSuffix(other.Forward, "/") != strings.TrimSuffix(p.Forward, "/") {
			t.Fatalf("%q becomes %+q; in the spelling %q it becomes %+q, %v", path, p, spelled, other, err)
		}
		if same, err := s.Match(other, method, nil, ""); err != nil || same != e {
			t.Fatalf("%q meets %s; in the spelling %q it meets %v, %v", path, e.ID, spelled, same, err)
		}
	})
}

// catalogOf returns a snapshot of those patterns that are allowed, a mux with the same, and the endpoints by the mux's
// patterns. A pattern's endpoint is called by its line.
func catalogOf(t *testing.T, patterns string) (*catalog.Snapshot, *http.ServeMux, map[string]string) {
	c, err := catalog.Parse("c", []byte("catch_all: {}"))
	if err != nil {
		t.Fatal(err)
	}
	mux, asWritten, byPattern := http.NewServeMux(), http.NewServeMux(), map[string]string{}
	for line := range strings.SplitSeq(patterns, "\n") {
		method, path, found := strings.Cut(line, " ")
		if !found {
			method, path = "", line
		}
		e := catalog.Endpoint{ID: line, Method: method, Path: path, Cost: 1}
		c.Endpoints = append(c.Endpoints, e)
		if len(c.Endpoints) > 20 || c.Validate() != nil {
			c.Endpoints = c.Endpoints[:len(c.Endpoints)-1]
			continue
		}
		// A trailing slash being ignored, "/a/{$}" is "/a".
		pattern := e.Match()
		if path != "/{$}" {
			pattern = strings.TrimSuffix(pattern, "/{$}")
		}
		// Both panic where the catalog allows what ServeMux does not.
		mux.Handle(pattern, http.NotFoundHandler())
		asWritten.Handle(e.Match(), http.NotFoundHandler())
		byPattern[pattern] = e.ID
	}
	s, err := catalog.NewSnapshot(c, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s, mux, byPattern
}

// respell writes a normal path in another way that means the same.
func respell(path string, r *rand.Rand) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '/':
			b.WriteString([]string{"/", "/", "//", "/./", "/%2e/", "/;x/", "/x/../", "/x;y/.%2E/", "/.;/"}[r.IntN(9)])
			if r.IntN(10) == 0 {
				b.WriteString("y//../")
			}
		case c == '%':
			escape := path[i : i+3]
			if r.IntN(2) == 0 {
				escape = strings.ToLower(escape)
			}
			b.WriteString(escape)
			i += 2
		case r.IntN(3) == 0 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0):
			b.WriteByte('%')
			b.WriteByte("0123456789abcdef"[c>>4])
			b.WriteByte("0123456789abcdef"[c&15])
		default:
			b.WriteByte(c)
		}
		if c != '/' && (i+1 == len(path) || path[i+1] == '/') && r.IntN(4) == 0 {
			b.WriteString(";p=%2f")
		}
	}
	return b.String() + []string{"", "/", "/.", "/x/..", "/;", "//"}[r.IntN(6)]
}

// FuzzParse looks for catalogs that the parser cannot bear, and for those it takes that the rest of the package does not.
func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add(limits)
	f.Add(when(`{header: {X-A: b, x-a: c}}`, `{query: {q: "*"}}`, `{query: {q: "*", p: ""}}`))
	f.Add(patterns("/{$}", "GET /a/{x}", "/{y}/b", "/a/", "/a%20b", "HEAD /{z...}"))
	f.Fuzz(func(t *testing.T, yaml string) {
		c, err := catalog.Parse("c", []byte(yaml))
		if err != nil {
			problems, ok := errors.AsType[yamldoc.Problems](err)
			if !ok || len(problems) == 0 || c != nil {
				t.Fatalf("%v, %T: %v", c, err, err)
			}
			for _, p := range problems {
				if strings.ContainsAny(p.Text, "\n\r") || p.Line < 1 || p.Column < 1 {
					t.Errorf("%+q", p.String())
				}
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		canonical := c.Clone()
		canonical.Canonicalize()
		if diff := cmp.Diff(c, canonical); diff != "" {
			t.Error(diff)
		}
		if changes := catalog.Diff(c, canonical); len(changes) > 0 {
			t.Error(changes)
		}
		s, err := catalog.NewSnapshot(c, catalog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range s.Applications() {
			for _, e := range s.Endpoints() {
				if l := s.Limits(a, e); l.Application < 0 || l.Member < 0 {
					t.Error(l)
				}
			}
		}
	})
}
