package catalog_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
)

// meets returns the id of the endpoint that a request meets, or the error's message.
func meets(t testing.TB, s *catalog.Snapshot, method, target string, header http.Header) string {
	t.Helper()
	path, query, _ := strings.Cut(target, "?")
	p, err := s.NormalizePath(path)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Match(p, method, header, query)
	switch {
	case err != nil && e == nil && fault.KindOf(err) == fault.Invalid:
		return fault.Message(err)
	case err != nil || e == nil:
		t.Fatalf("%s %s: %v, %v", method, target, e, err)
	}
	return e.ID
}

func TestMatch(t *testing.T) {
	s := snapshot(t, `
catch_all: {}
endpoints:
  - {id: root, match: "/{$}"}
  - {id: posts, match: /rest/posts}
  - {id: posts.get, match: GET /rest/posts}
  - {id: posts.head, match: HEAD /rest/posts}
  - {id: posts.patch, match: PATCH /rest/posts}
  - {id: post, match: "/rest/posts/{id}"}
  - {id: post.get, match: "GET /rest/posts/{id}"}
  - {id: drafts, match: GET /rest/posts/drafts}
  - {id: likes, match: "/rest/posts/{id}/likes"}
  - {id: rest, match: /rest/}
  - {id: files, match: "/files/{path...}"}
  - {id: files.new, match: "POST /files/new/"}
  - {id: users, match: "/users/{id}"}
  - {id: me, match: "/users/me/{rest...}"}
  - {id: dir, match: "/dir/{$}"}
  - {id: café, match: "/caf%C3%A9"}
  - {id: escaped, match: "/a%20b%3Bc"}
`)
	tests := []struct{ method, target, want string }{
		{"GET", "/", "root"},
		{"GET", "/nothing", "*"},
		{"GET", "/rest/posts", "posts.get"},
		{"HEAD", "/rest/posts", "posts.head"},
		{"POST", "/rest/posts", "posts"},
		{"PATCH", "/rest/posts", "posts.patch"},
		{"patch", "/rest/posts", "posts.patch"}, // fetch() sends it so, and some servers take it
		{"QUERY", "/rest/posts", "posts"},
		{"", "/rest/posts", "posts"},
		{"GET", "/rest/posts/", "posts.get"},
		{"GET", "/rest/posts/1", "post.get"},
		{"HEAD", "/rest/posts/1/", "post.get"},
		{"PUT", "/rest/posts/1", "post"},
		{"PUT", "/rest/posts/drafts", "post"},
		{"GET", "/rest/posts/drafts", "drafts"},
		{"GET", "/rest/posts/1/likes", "likes"},
		{"GET", "/rest/posts/drafts/likes", "likes"},
		{"GET", "/rest/posts/1/nothing", "rest"},
		{"GET", "/rest", "rest"},
		{"GET", "/rest/", "rest"},
		{"GET", "/restful", "*"},
		{"GET", "/Rest/posts", "*"},
		{"GET", "/files", "files"},
		{"GET", "/files/a/b/c", "files"},
		{"POST", "/files/new", "files.new"},
		{"POST", "/files/new/x", "files.new"},
		{"GET", "/files/new/x", "files"},
		{"GET", "/users/me", "users"}, // as ServeMux has it: a pattern that matches in full goes first
		{"GET", "/users/me/", "users"},
		{"GET", "/users/me/x", "me"},
		{"GET", "/users/1/x", "*"},
		{"GET", "/dir", "dir"},
		{"GET", "/dir/", "dir"},
		{"GET", "/dir/x", "*"},
		{"GET", "/café", "café"},
		{"GET", "/a%20b%3bc", "escaped"},
		{"GET", "/a%20b;c", "*"},
		{"CONNECT", "/rest/posts", "The method CONNECT is not supported."},
		{"connect", "/rest/posts", "The method CONNECT is not supported."},
	}
	for _, test := range tests {
		if got := meets(t, s, test.method, test.target, nil); got != test.want {
			t.Errorf("%s %s meets %s, want %s", test.method, test.target, got, test.want)
		}
	}
	// A zero Path is the root, so that no request is without an endpoint.
	if e, err := s.Match(catalog.Path{}, "GET", nil, ""); err != nil || e.ID != "root" {
		t.Error(e, err)
	}
}

func TestConditions(t *testing.T) {
	s := snapshot(t, `
catch_all: {}
endpoints:
  - {id: plain, match: GET /posts}
  - {id: q, match: GET /posts, when: {query: {q: "*"}}}
  - {id: author, match: GET /posts, when: {query: {q: author}}}
  - {id: author.ids, match: GET /posts, when: {query: {q: author, ids: "*"}}}
  - {id: finder, match: GET /posts, when: {query: {q: author, ids: "*"}, header: {x-restli-method: Finder}}}
  - {id: empty, match: GET /posts, when: {query: {q: ""}}}
`)
	const finder = "X-RestLi-Method: FINDER"
	tests := []struct{ query, header, want string }{
		{"", "", "plain"},
		{"x=1", "", "plain"},
		{"q=other", "", "q"},
		{"q=author", "", "author"},
		{"Q=AUTHOR", "", "author"},
		{"q=author&ids=1", "", "author.ids"},
		{"ids&q=author", "", "author.ids"},
		{"ids=1", "", "plain"},
		{"q=author&ids=1", finder, "finder"},
		{"q=author&ids=1", "x-restli-method: finder", "finder"},
		{"q=author&ids=1", "X-RestLi-Method: BATCH_GET", "author.ids"},
		{"q=author", finder, "author"},
		{"", finder, "plain"},
		{"q=", "", "empty"},
		{"q", "", "empty"},
		{"&&q=author&", "", "author"},
		{"%71=%61uthor", "", "author"},
		{"q=author+", "", "q"},
		{"q=author%20", "", "q"},
		{"+q=author", "", "plain"},
		{"q=author=1", "", "q"},
		{"q=author&q=author", "", "author"},
		{"q=author&Q=AUTHOR", "", "author"},
		{"x=1&x=2&q=author", "", "author"},
		{"x=a;b&q=author", "", "author"},
		{"x=%zz&q=author", "", "author"},
		{"q=a%3Bb", "", "q"},
		{"q=author&ids=1", finder + "\n" + finder, "finder"},
		{"q=author&ids=1", finder + "\nX-RestLi-Method: finder", "finder"},

		// What could mean two things.
		{"q=author&q=other", "", "The query has q more than once with different values."},
		{"q=author&q", "", "The query has q more than once with different values."},
		{"ids=1&ids=2", "", "The query has ids more than once with different values."},
		{"q=author&IDS=1&%69ds=2", "", "The query has ids more than once with different values."},
		{"q=author;x=1", "", "The query has a semicolon beside q, which could mean two things; write it as %3B."},
		{"x=1;q=author", "", "The query has a semicolon beside q, which could mean two things; write it as %3B."},
		{"x=1;%71", "", "The query has a semicolon beside q, which could mean two things; write it as %3B."},
		{"q;", "", "The query has a semicolon beside q, which could mean two things; write it as %3B."},
		{"q=%zz", "", "The query has a value of q that cannot be decoded."},
		{"%u0071=author", "", "The query has a name that cannot be decoded."},
		{"q%00=author", "", "The query has a name that cannot be decoded."},
		{"", finder + "\nX-RestLi-Method: BATCH_GET", "The header X-Restli-Method is given more than once with different values."},
		{"", "X_RestLi_Method: FINDER", "The header X_restli_method can be taken for X-Restli-Method; send the latter."},
		{"", finder + "\nX-RestLi_Method: FINDER", "The header X-Restli_method can be taken for X-Restli-Method; send the latter."},
		{"q=other", "X_RestLi_Methods: FINDER\nX_Other: a", "q"},
	}
	for _, test := range tests {
		if got := meets(t, s, "GET", "/posts?"+test.query, header(test.header)); got != test.want {
			t.Errorf("%s %q meets %s, want %s", test.query, test.header, got, test.want)
		}
	}
}

// header reads a header as net/http does.
func header(lines string) http.Header {
	h := http.Header{}
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(line, ":")
		h.Add(name, strings.TrimSpace(value))
	}
	return h
}

// Names and values of other endpoints' patterns are not looked at.
func TestOnlyTestedNamesMustBeClear(t *testing.T) {
	s := snapshot(t, `
catch_all: {}
endpoints:
  - {id: a, match: /a}
  - {id: b, match: /b, when: {query: {q: x}}}
  - {id: b.post, match: POST /b, when: {query: {p: x}}}
`)
	for target, want := range map[string]string{
		"/a?q=1&q=2":     "a",
		"/b?p=1&p=2":     "*",
		"/b?p=1&p=2&q=x": "b",
		"/c?q=1;q=2":     "*",
	} {
		if got := meets(t, s, "GET", target, nil); got != want {
			t.Errorf("%s meets %s, want %s", target, got, want)
		}
	}
}

func TestFallThrough(t *testing.T) {
	s := snapshot(t, `
catch_all: {}
endpoints:
  - {id: literal, match: GET /a/b, when: {query: {l: "*"}}}
  - {id: head, match: HEAD /a/b, when: {query: {h: "*"}}}
  - {id: literal.any, match: /a/b, when: {query: {a: "*"}}}
  - {id: wild, match: "/a/{x}", when: {query: {w: "*"}}}
  - {id: wilder, match: "/{x}/{y}", when: {query: {v: "*"}}}
  - {id: sub, match: "/a/b/", when: {query: {s: "*"}}}
  - {id: all, match: "/", when: {query: {x: "*"}}}
`)
	order := []struct{ method, query, want string }{
		{"GET", "h&l&a&w&v&s&x", "literal"},
		{"HEAD", "h&l&a&w&v&s&x", "head"},
		{"HEAD", "l&a&w&v&s&x", "literal"},
		{"GET", "a&w&v&s&x", "literal.any"},
		{"POST", "h&l&a&w&v&s&x", "literal.any"},
		{"GET", "w&v&s&x", "wild"},
		{"GET", "v&s&x", "wilder"},
		{"GET", "s&x", "sub"},
		{"GET", "x", "all"},
		{"GET", "", "*"},
	}
	for _, test := range order {
		for _, slash := range []string{"", "/"} {
			if got := meets(t, s, test.method, "/a/b"+slash+"?"+test.query, nil); got != test.want {
				t.Errorf("%s %s%s meets %s, want %s", test.method, test.query, slash, got, test.want)
			}
		}
	}
	// What could mean two things on the way down is refused; what no walk reaches is not.
	for query, want := range map[string]string{
		"a=1&a=2":         "The query has a more than once with different values.",
		"w=1&w=2":         "The query has w more than once with different values.",
		"l=1&w=1&w=2":     "literal",
		"w=1&s=1&s=2&s=3": "wild",
	} {
		if got := meets(t, s, "GET", "/a/b?"+query, nil); got != want {
			t.Errorf("%s meets %s, want %s", query, got, want)
		}
	}
}

// Two endpoints of which neither contains the other's conditions are allowed where a third has those of both.
func TestDecidedTies(t *testing.T) {
	s := snapshot(t, `
catch_all: {}
endpoints:
  - {id: p, match: /a, when: {query: {p: "*"}}}
  - {id: q, match: /a, when: {query: {q: "*"}}}
  - {id: pq, match: /a, when: {query: {p: "*", q: "*"}}}
  - {id: p1, match: /a, when: {query: {p: "1"}}}
  - {id: p2, match: /a, when: {query: {p: "2"}}}
  - {id: p1q, match: /a, when: {query: {p: "1", q: "*"}}}
  - {id: p2q, match: /a, when: {query: {p: "2", q: "*"}}}
`)
	for query, want := range map[string]string{
		"p": "p", "q": "q", "p&q": "pq", "p=1": "p1", "p=2": "p2", "p=3": "p", "p=1&q": "p1q", "p=2&q=1": "p2q", "p=3&q": "pq", "": "*",
	} {
		if got := meets(t, s, "GET", "/a?"+query, nil); got != want {
			t.Errorf("%s meets %s, want %s", query, got, want)
		}
	}
}

// More names than a route keeps on the stack.
func TestManyTestedNames(t *testing.T) {
	var b strings.Builder
	b.WriteString("catch_all: {}\nendpoints:\n")
	for i := range 30 {
		fmt.Fprintf(&b, "  - {id: e%d, match: /a, when: {query: {kind: k%d, n%d: \"*\"}}}\n", i, i, i)
	}
	s := snapshot(t, b.String())
	for i := range 30 {
		if got, want := meets(t, s, "GET", fmt.Sprintf("/a?N%d=x&kind=K%d", i, i), nil), fmt.Sprintf("e%d", i); got != want {
			t.Errorf("%d meets %s", i, got)
		}
	}
}
