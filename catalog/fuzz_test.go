package catalog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/yamldoc"
)

// policyOf returns one of all policies there are.
func policyOf(n uint8) catalog.PathPolicy {
	return catalog.PathPolicy{
		StrictSlash: n&1 != 0, IgnoreCase: n&2 != 0, PassEncodedSlash: n&4 != 0, Parameters: catalog.Parameters(n >> 3 % 3),
	}
}

// loneSlash finds a segment that is one encoded slash. ServeMux takes it for the end of a path: its tree keeps both as "/" (net/http/routing_tree.go).
var loneSlash = regexp.MustCompile(`(?mi)/%2f(/|\s*$)`)

// FuzzMatch makes a catalog of the patterns, one a line, that are allowed beside those before, and asks for a path, under any policy:
//   - what is sent upstream is spelled as it will be, and means what was matched;
//   - the endpoint is the one that ServeMux chooses;
//   - no other spelling of the path meets another endpoint.
func FuzzMatch(f *testing.F) {
	patterns := strings.Join([]string{
		"/{$}", "GET /posts", "/posts/{id}", "POST /posts/", "/posts/{id}/likes", "/files/{rest...}", "GET /{a}/{b}/{c}", "/x%20y/%C3%A9",
	}, "\n")
	for i, spelling := range spellings {
		f.Add(patterns, "GET", spelling, uint64(i), uint8(i))
	}
	for i := range uint8(24) {
		f.Add("/a/{x}\n/a/b/\n/a\n/", "HEAD", "/a/b", uint64(i), i)
		f.Add("GET /a/b/\n/{x...}\nHEAD /a/{y}", "HEAD", "/A/b", uint64(i), i)
		f.Add("/a/{$}\nGET /a\n/{p}/{$}", "POST", "/a/%2e/", uint64(i), i)
		f.Add("/a\n/a/{$}\n/a/\n/{x}/b/\n/a/{y}/{$}", "GET", "/a/b/", uint64(i), i)
		f.Add("/a%2Fb\n/a/b\n/{x}\n/A%2fb/{y}", "GET", "/a%2fB/c", uint64(i), i)
		f.Add("/a%3Bx\n/a\n/a;y", "GET", "/a;x", uint64(i), i)
		f.Add("/K\n/%E2%84%AA/x\n/%C3%89", "GET", "/%E2%84%AA/%e9", uint64(i), i)
		f.Add("/{x}", "GET", "/..%2fa", uint64(i), i)
		f.Add("/%2F", "GET", "///", uint64(i), i)
	}
	f.Fuzz(func(t *testing.T, patterns, method, path string, seed uint64, policy uint8) {
		paths := policyOf(policy)
		s, mux, byPattern := catalogOf(t, patterns, paths)
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
		decoded := strings.ReplaceAll(p.Match, "\x00", "/")
		if !paths.StrictSlash && len(p.Forward) > 1 && strings.HasSuffix(p.Forward, "/") {
			decoded += "/"
		}
		if u, err := url.ParseRequestURI(p.Forward); err != nil || u.EscapedPath() != p.Forward ||
			u.Path != decoded && (!paths.IgnoreCase || !strings.EqualFold(u.Path, decoded)) {
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
		r.Method = strings.ToUpper(method)
		if r.URL, err = url.ParseRequestURI(escaped(p.Match)); err != nil {
			t.Fatal(err)
		}
		h, pattern := mux.Handler(r)
		want := "*"
		if pattern != "" {
			want = byPattern[pattern]
		}
		redirects := paths.StrictSlash && fmt.Sprintf("%T", h) == "*http.redirectHandler" // to where a slash follows, rather than choose
		if e.ID != want && !redirects && !loneSlash.MatchString(patterns) {
			t.Fatalf("%s %q meets %s; ServeMux chooses %s among\n%s", method, p.Match, e.ID, want, patterns)
		}
		spelled := respell(p.Forward, paths, rand.New(rand.NewPCG(seed, 1)))
		other, err := s.NormalizePath(spelled)
		same := strings.TrimSuffix(other.Forward, "/") == strings.TrimSuffix(p.Forward, "/")
		if paths.IgnoreCase {
			same = strings.EqualFold(strings.TrimSuffix(other.Forward, "/"), strings.TrimSuffix(p.Forward, "/"))
		}
		if err != nil || other.Match != p.Match || !same {
			t.Fatalf("%q becomes %+q; in the spelling %q it becomes %+q, %v", path, p, spelled, other, err)
		}
		if again, err := s.Match(other, method, nil, ""); err != nil || again != e {
			t.Fatalf("%q meets %s; in the spelling %q it meets %v, %v", path, e.ID, spelled, again, err)
		}
	})
}

// escaped returns the path of a URL that a mux reads as a policy reads the one that became match.
func escaped(match string) string {
	segments := strings.Split(match, "/")
	for i, s := range segments {
		segments[i] = strings.ReplaceAll(url.PathEscape(s), "%00", "%2F")
	}
	return strings.Join(segments, "/")
}

// folded returns a pattern's path as it is to a policy.
func folded(t *testing.T, path string, paths catalog.PathPolicy) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if s == "" || strings.HasPrefix(s, "{") {
			continue
		}
		p, err := catalog.NormalizePath("/"+s, paths)
		if err != nil {
			t.Fatalf("a pattern that no request can have was allowed: %s: %v", path, err)
		}
		segments[i] = escaped(p.Match)[1:]
	}
	return strings.Join(segments, "/")
}

// catalogOf returns a snapshot of those patterns that are allowed, a mux with the same, and the endpoints by the mux's
// patterns. A pattern's endpoint is called by its line.
func catalogOf(t *testing.T, patterns string, paths catalog.PathPolicy) (*catalog.Snapshot, *http.ServeMux, map[string]string) {
	c, err := catalog.Parse("c", []byte("catch_all: {}"), catalog.PathPolicy{})
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
		if len(c.Endpoints) > 20 || c.Validate(paths) != nil {
			c.Endpoints = c.Endpoints[:len(c.Endpoints)-1]
			continue
		}
		pattern := e
		pattern.Path = folded(t, path, paths)
		if path != "/{$}" && !paths.StrictSlash { // then "/a/{$}" is "/a"
			pattern.Path = strings.TrimSuffix(pattern.Path, "/{$}")
		}
		// Both panic where the catalog allows what ServeMux does not.
		mux.Handle(pattern.Match(), http.NotFoundHandler())
		asWritten.Handle(e.Match(), http.NotFoundHandler())
		byPattern[pattern.Match()] = e.ID
	}
	s, err := catalog.NewSnapshot(c, catalog.Options{Paths: paths})
	if err != nil {
		t.Fatal(err)
	}
	return s, mux, byPattern
}

// respell writes a normal path in another way that means the same to a policy.
func respell(path string, paths catalog.PathPolicy, r *rand.Rand) string {
	var b strings.Builder
	slashes, ends, parameters := []string{"/", "/", "//", "/./", "/%2e/", "/x/../"}, []string{""}, ""
	if !paths.StrictSlash || strings.HasSuffix(path, "/") {
		ends = []string{"", "/", "/.", "/x/..", "//"}
	}
	if paths.Parameters == catalog.DropParameters {
		slashes = append(slashes, "/;x/", "/x;y/.%2E/", "/.;/")
		parameters = ";p=%2f"
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '/':
			b.WriteString(slashes[r.IntN(len(slashes))])
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
		case paths.IgnoreCase && r.IntN(2) == 0 && (c|0x20 >= 'a' && c|0x20 <= 'z'):
			b.WriteByte(c ^ 0x20)
		default:
			b.WriteByte(c)
		}
		if c != '/' && (i+1 == len(path) || path[i+1] == '/') && r.IntN(4) == 0 {
			b.WriteString(parameters)
		}
	}
	return b.String() + ends[r.IntN(len(ends))]
}

// FuzzParse looks for catalogs that the parser cannot bear, and for those it takes that the rest of the package does not.
func FuzzParse(f *testing.F) {
	f.Add(example, uint8(0))
	f.Add(limits, uint8(0))
	f.Add(when(`{header: {X-A: b, x-a: c}}`, `{query: {q: "*"}}`, `{query: {q: "*", p: ""}}`), uint8(0))
	for i := range uint8(24) {
		f.Add(patterns("/{$}", "GET /a/{x}", "/{y}/b", "/a/", "/a%20b", "HEAD /{z...}", "/A%2fb/{$}", "/a;b"), i)
	}
	f.Fuzz(func(t *testing.T, yaml string, policy uint8) {
		paths := policyOf(policy)
		c, err := catalog.Parse("c", []byte(yaml), paths)
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
		if err := c.Validate(paths); err != nil {
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
		s, err := catalog.NewSnapshot(c, catalog.Options{Paths: paths})
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
