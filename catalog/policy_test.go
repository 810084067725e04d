package catalog_test

import (
	"strings"
	"testing"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
)

var (
	strict      = catalog.PathPolicy{StrictSlash: true}
	insensitive = catalog.PathPolicy{IgnoreCase: true}
	passing     = catalog.PathPolicy{PassEncodedSlash: true}
	keeping     = catalog.PathPolicy{Parameters: catalog.KeepParameters}
	rejecting   = catalog.PathPolicy{Parameters: catalog.RejectParameters}
)

func TestPolicies(t *testing.T) {
	tests := []struct {
		policy               catalog.PathPolicy
		path, match, forward string
	}{
		{strict, "/", "/", "/"},
		{strict, "//", "/", "/"},
		{strict, "/..", "/", "/"},
		{strict, "/a/..", "/", "/"},
		{strict, "/a", "/a", "/a"},
		{strict, "/a/", "/a/", "/a/"},
		{strict, "/a//", "/a/", "/a/"},
		{strict, "/a/.", "/a/", "/a/"},
		{strict, "/a/b/..", "/a/", "/a/"},
		{strict, "/a/;x", "/a/", "/a/"},
		{strict, "/%61/%20/", "/a/ /", "/a/%20/"},

		{insensitive, "/a/b", "/a/b", "/a/b"},
		{insensitive, "/A/b/", "/a/b", "/A/b/"},
		{insensitive, "/%41", "/a", "/A"},
		{insensitive, "/a/é", "/a/É", "/a/%C3%A9"},
		{insensitive, "/%c3%89", "/É", "/%C3%89"},
		{insensitive, "/%E2%84%AA", "/k", "/%E2%84%AA"}, // the kelvin sign
		{insensitive, "/%C5%BF", "/s", "/%C5%BF"},       // the long s
		{insensitive, "/%E9X", "/\xe9x", "/%E9X"},       // what is no UTF-8 is not mixed up with what else is none
		{insensitive, "/%E8X", "/\xe8x", "/%E8X"},
		{insensitive, "/X;Y", "/x", "/X"},

		{passing, "/a/b", "/a/b", "/a/b"},
		{passing, "/a%2fb/c", "/a\x00b/c", "/a%2Fb/c"},
		{passing, "/%2F", "/\x00", "/%2F"},
		{passing, "/a%2F/", "/a\x00", "/a%2F/"},
		{passing, "/a%2F%2Fb", "/a\x00\x00b", "/a%2F%2Fb"},
		{passing, "/x%2Fy/../a", "/a", "/a"},
		{passing, "/http%3A%2F%2Fexample.com%2F", "/http:\x00\x00example.com\x00", "/http%3A%2F%2Fexample.com%2F"},
		{passing, "/a%2F...%2F.b", "/a\x00...\x00.b", "/a%2F...%2F.b"},
		{passing, "/a%252Fb", "/a%2Fb", "/a%252Fb"},

		{keeping, "/a;b/c;d=e;f", "/a;b/c;d=e;f", "/a;b/c;d=e;f"},
		{keeping, "/a;B/", "/a;B", "/a;B/"},
		{keeping, "/a;", "/a;", "/a;"},
		{keeping, "/a%3Bb", "/a;b", "/a%3Bb"}, // decoded segments are compared
		{keeping, "/a;%41/../b", "/b", "/b"},
		{keeping, "/...;a", "/...;a", "/...;a"},
		{keeping, "/.a;b", "/.a;b", "/.a;b"},
		{rejecting, "/a%3bb", "/a;b", "/a%3Bb"},

		{
			catalog.PathPolicy{StrictSlash: true, IgnoreCase: true, PassEncodedSlash: true, Parameters: catalog.KeepParameters},
			"/A%2fB;C/./D/", "/a\x00b;c/d/", "/A%2FB;C/D/",
		},
	}
	for _, test := range tests {
		want := catalog.Path{Match: test.match, Forward: test.forward}
		if got, err := catalog.NormalizePath(test.path, test.policy); err != nil || got != want {
			t.Errorf("%+v: %s: got %+q, %v; want %+q", test.policy, test.path, got, err, want)
		}
		if again, err := catalog.NormalizePath(test.forward, test.policy); err != nil || again != want {
			t.Errorf("%+v: %s: got %+q, %v the second time; want %+q", test.policy, test.path, again, err, want)
		}
	}
}

func TestPoliciesRefuse(t *testing.T) {
	const (
		dots   = "The path has a dot segment beside an encoded slash, which could mean two things."
		nobody = "The path has parameters of an empty or a dot segment, which could mean two things."
		none   = "The path has parameters, which are not taken here; write a semicolon as %3B."
	)
	tests := []struct {
		policy     catalog.PathPolicy
		path, want string
	}{
		{passing, "/a/..%2Fb", dots},
		{passing, "/a/%2e%2E%2fb", dots},
		{passing, "/a/b%2F..", dots},
		{passing, "/a/.%2Fb", dots},
		{passing, "/a/b%2F.%2Fc", dots},
		{passing, "/a/b%2F%2F..", dots},
		{passing, "/a/b%2F..;c", dots},
		{passing, "/a%5Cb", "The path has a backslash, which could mean two things."},
		{passing, "/a%00b", "The path has a NUL, which could mean two things."},
		{passing, "/a%c0%afb", "The path has an overlong UTF-8 sequence."},
		{passing, "/a%2", "The path has a percent sign that two hexadecimal digits do not follow."},
		{keeping, "/a/..;x/b", nobody},
		{keeping, "/a/.;x", nobody},
		{keeping, "/a/%2e%2e;/b", nobody},
		{keeping, "/a/;x/b", nobody},
		{keeping, "/;", nobody},
		{keeping, "/a%2Fb;c", "The path has an encoded slash, which could mean two things."},
		{catalog.PathPolicy{PassEncodedSlash: true, Parameters: catalog.KeepParameters}, "/a%2F..;x/b", nobody},
		{rejecting, "/a;b", none},
		{rejecting, "/a;", none},
		{rejecting, "/a;x/../b", none}, // though they would not be sent
		{strict, "/a%2Fb", "The path has an encoded slash, which could mean two things."},
		{insensitive, "/a%f8%80%80%80%afb", "The path has an overlong UTF-8 sequence."},
		{insensitive, "/a%FC%80%80%80%80%AFb", "The path has an overlong UTF-8 sequence."},
	}
	for _, test := range tests {
		p, err := catalog.NormalizePath(test.path, test.policy)
		if fault.KindOf(err) != fault.Invalid || fault.Message(err) != test.want || p != (catalog.Path{}) {
			t.Errorf("%+v: %q: got %+q, %v; want %s", test.policy, test.path, p, err, test.want)
		}
	}
}

func TestMatchUnderPolicies(t *testing.T) {
	const paths = `{catch_all: {}, endpoints: [
		{id: a, match: /a}, {id: a/, match: "/a/{$}"}, {id: under, match: /a/}, {id: x, match: "/a/{x}"}, {id: any, match: "/c/{y}/{$}"},
		{id: root, match: "/{$}"}, {id: b, match: "POST /b/{$}"}]}`
	const slashes = `{catch_all: {}, endpoints: [
		{id: a, match: "/a%2Fb"}, {id: ab, match: /a/b}, {id: x, match: "/a/{x}"}, {id: one, match: "/{x}"}, {id: upper, match: "/C%2fD/{y}"}]}`
	const cases = `{catch_all: {}, endpoints: [{id: a, match: /Rest/Posts}, {id: x, match: "/REST/{X}"}, {id: e, match: /caf%C3%89}]}`
	const parameters = `{catch_all: {}, endpoints: [{id: a, match: /a}, {id: v1, match: /a;v=1}, {id: v2, match: /a%3Bv=2}]}`
	tests := []struct {
		policy        catalog.PathPolicy
		catalog, path string
		want          string
	}{
		{strict, paths, "/", "root"},
		{strict, paths, "/a", "a"},
		{strict, paths, "/a/", "a/"},
		{strict, paths, "/a//", "a/"},
		{strict, paths, "/a/b/..", "a/"},
		{strict, paths, "/a/b", "x"},
		{strict, paths, "/a/b/", "under"},
		{strict, paths, "/a/b/c", "under"},
		{strict, paths, "/b", "*"}, // ServeMux would redirect to where a slash follows
		{strict, paths, "/b/", "b"},
		{strict, paths, "/c/d", "*"},
		{strict, paths, "/c/d/", "any"},

		{passing, slashes, "/a%2fb", "a"},
		{passing, slashes, "/%61%2Fb/", "a"},
		{passing, slashes, "/a/b", "ab"},
		{passing, slashes, "/a/b%2Fc", "x"},
		{passing, slashes, "/a%2Fb%2Fc", "one"},
		{passing, slashes, "/C%2FD/e", "upper"},
		{passing, slashes, "/a%252Fb", "one"},

		{insensitive, cases, "/rest/posts", "a"},
		{insensitive, cases, "/REST/pOSTS/", "a"},
		{insensitive, cases, "/re%C5%BFt/posts", "a"},
		{insensitive, cases, "/rest/Other", "x"},
		{insensitive, cases, "/CAF%C3%A9", "e"},
		{insensitive, cases, "/restful", "*"},

		{keeping, parameters, "/a", "a"},
		{keeping, parameters, "/a;v=1", "v1"},
		{keeping, parameters, "/a%3Bv=1", "v1"},
		{keeping, parameters, "/a;v=2", "v2"},
		{keeping, parameters, "/a;v=3", "*"},
	}
	for _, test := range tests {
		c, err := catalog.Parse("c.yaml", []byte(test.catalog), test.policy)
		if err != nil {
			t.Fatalf("%+v: %v", test.policy, err)
		}
		s, err := catalog.NewSnapshot(c, catalog.Options{Paths: test.policy})
		if err != nil {
			t.Fatal(err)
		}
		method := "GET"
		if test.want == "b" {
			method = "POST"
		}
		if got := meets(t, s, method, test.path, nil); got != test.want {
			t.Errorf("%+v: %s meets %s, want %s", test.policy, test.path, got, test.want)
		}
	}
}

// TestPoliciesJudgePatterns has each policy say of a catalog what its own requests make wrong.
func TestPoliciesJudgePatterns(t *testing.T) {
	const same = "ambiguous with endpoint e0, which matches the same requests; tell them apart by when"
	tests := []struct {
		policy   catalog.PathPolicy
		patterns []string
		want     string // of the last of the patterns; "" where nothing is wrong
	}{
		{catalog.PathPolicy{}, []string{"/a", "/a/{$}"}, same},
		{strict, []string{"/a", "/a/{$}"}, ""},
		{strict, []string{"/a/{$}", "/a/{$}"}, same},
		{strict, []string{"/a/", "/{x}/{$}"}, "ambiguous with /a/ of endpoint e0: both match /a/; neither is more specific"},
		{strict, []string{"/a/{y}/", "/{x}/b/"}, "ambiguous with /a/{y}/ of endpoint e0: both match /a/b/; neither is more specific"},
		{strict, []string{"/perdiem/usage"}, "no request can meet this: perdiem answers /perdiem/usage itself; leave the endpoint out"},
		{strict, []string{"/perdiem/usage/{$}"}, ""},
		{catalog.PathPolicy{}, []string{"/perdiem/usage/{$}"}, "no request can meet this: perdiem answers /perdiem/usage itself; leave the endpoint out"},

		{catalog.PathPolicy{}, []string{"/Posts", "/posts"}, ""},
		{insensitive, []string{"/Posts", "/posts"}, same},
		{insensitive, []string{"/%C3%89", "/%C3%A9"}, same},
		{insensitive, []string{"/A/{x}", "/{y}/b", "/a/B"}, "ambiguous with /A/{x} of endpoint e0: both match /a/b; neither is more specific"},
		{insensitive, []string{"/Perdiem/USAGE"}, "no request can meet this: perdiem answers /perdiem/usage itself; leave the endpoint out"},
		{insensitive, []string{"/Posts", "GET /posts"}, ""},

		{catalog.PathPolicy{}, []string{"/a%2Fb"}, "no request can have this path: The path has an encoded slash, which could mean two things"},
		{passing, []string{"/a%2Fb", "/a/b"}, ""},
		{passing, []string{"/a%2Fb", "/a%2fb"}, same},
		{passing, []string{"/a%2Fb/{x}", "/{y}/c"}, "ambiguous with /a%2Fb/{x} of endpoint e0: both match /a%2Fb/c; neither is more specific"},
		{passing, []string{"/a%00b"}, "no request can have this path: The path has a NUL, which could mean two things"},
		{passing, []string{"/a%2F.."}, "no request can have this path: The path has a dot segment beside an encoded slash, which could mean two things"},

		{catalog.PathPolicy{}, []string{"/a;b"}, "parameters are dropped from paths before they are matched; leave them out"},
		{keeping, []string{"/a", "/a;b"}, ""},
		{keeping, []string{"/a;b", "/a%3Bb"}, same},
		{keeping, []string{"/..;b"}, "no request can have this path: The path has parameters of an empty or a dot segment, which could mean two things"},
		{rejecting, []string{"/a;b"}, "no request can have this path: The path has parameters, which are not taken here; write a semicolon as %3B"},
	}
	for _, test := range tests {
		c := &catalog.Catalog{CatchAll: catalog.Endpoint{ID: "*", Cost: 1}}
		for i, pattern := range test.patterns {
			e := catalog.Endpoint{ID: "e" + string(rune('0'+i)), Path: pattern, Cost: 1}
			if method, path, found := strings.Cut(pattern, " "); found {
				e.Method, e.Path = method, path
			}
			c.Endpoints = append(c.Endpoints, e)
		}
		got := ""
		if err := c.Validate(test.policy); err != nil {
			lines := strings.Split(err.Error(), "\n")
			_, got, _ = strings.Cut(lines[0], "match: ")
		}
		if got != test.want {
			t.Errorf("%+v: %v:\ngot  %s\nwant %s", test.policy, test.patterns, got, test.want)
		}
		_, err := catalog.NewSnapshot(c, catalog.Options{Paths: test.policy})
		if (err != nil) != (test.want != "") {
			t.Errorf("%+v: %v: NewSnapshot: %v", test.policy, test.patterns, err)
		}
	}
}

// TestPoliciesCostNoAllocation reads paths as they usually come.
func TestPoliciesCostNoAllocation(t *testing.T) {
	for policy, path := range map[catalog.PathPolicy]string{
		strict: "/rest/posts/", insensitive: "/rest/posts/1", passing: "/rest/posts/1/", keeping: "/rest/posts;v=1/1", rejecting: "/rest/posts",
	} {
		if n := testing.AllocsPerRun(100, func() { _, _ = catalog.NormalizePath(path, policy) }); n > 0 {
			t.Errorf("%+v: %s: %v allocations", policy, path, n)
		}
	}
}

func TestParametersNames(t *testing.T) {
	for _, p := range []catalog.Parameters{catalog.DropParameters, catalog.KeepParameters, catalog.RejectParameters} {
		if got, ok := catalog.ParseParameters(p.String()); !ok || got != p {
			t.Errorf("%v is read as %v, %v", p, got, ok)
		}
	}
	if _, ok := catalog.ParseParameters("drop"); ok {
		t.Error("drop means something")
	}
}

// TestQueriesThatEndEarly sends queries of which some servers would see a part.
func TestQueriesThatEndEarly(t *testing.T) {
	s := snapshot(t, `{catch_all: {}, endpoints: [{id: found, match: /a, when: {query: {q: author}}}, {id: a, match: /a}]}`)
	for query, want := range map[string]string{
		"q=author":          "found",
		"q=author%23":       "a",
		"q=author#":         "The query has a raw number sign, which could mean two things; write it as %23.",
		"#":                 "The query has a raw number sign, which could mean two things; write it as %23.",
		"q=author HTTP/1.1": "The query has a space or a control character, which could mean two things; write it as an escape.",
		"q=author\r\nX: y":  "The query has a space or a control character, which could mean two things; write it as an escape.",
		"q=author\x7f":      "The query has a space or a control character, which could mean two things; write it as an escape.",
		"q=author\xff":      "a",
		"q=%61uthor&x=\"<>": "found",
	} {
		if got := meets(t, s, "GET", "/a?"+query, nil); got != want {
			t.Errorf("%q: got %s, want %s", query, got, want)
		}
	}
}
