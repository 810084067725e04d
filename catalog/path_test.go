package catalog_test

import (
	"strings"
	"testing"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
)

// spellings are paths that all mean /rest/posts/urn:li:1, and must not escape its counter.
var spellings = []string{
	"/rest/posts/urn%3Ali%3A1",
	"/rest/posts/urn%3ali%3a1",
	"/rest/posts/urn%3Ali%3A1/",
	"//rest/posts/urn%3Ali%3A1",
	"/rest//posts///urn%3Ali%3A1",
	"/rest/posts/urn%3Ali%3A1//",
	"/./rest/posts/urn%3Ali%3A1",
	"/rest/./posts/././urn%3Ali%3A1",
	"/rest/posts/urn%3Ali%3A1/.",
	"/rest/posts/urn%3Ali%3A1/./",
	"/rest/posts/x/../urn%3Ali%3A1",
	"/rest/posts/urn%3Ali%3A1/x/..",
	"/rest/posts/urn%3Ali%3A1/x/../",
	"/a/b/../../rest/posts/urn%3Ali%3A1",
	"/../../rest/posts/urn%3Ali%3A1",
	"/rest/x/..//posts/urn%3Ali%3A1",
	"/rest/%2e/posts/urn%3Ali%3A1",
	"/rest/x/%2E%2e/posts/urn%3Ali%3A1",
	"/rest/x/.%2e/posts/urn%3Ali%3A1",
	"/%72%65%73%74/posts/urn%3Ali%3A1",
	"/rest/%70ost%73/%75rn%3Ali%3A%31",
	"/rest/posts;v=1/urn%3Ali%3A1",
	"/rest/posts/urn%3Ali%3A1;jsessionid=1",
	"/rest;a=b;c/posts;/urn%3Ali%3A1;",
	"/rest/;a=b/posts/urn%3Ali%3A1",
	"/rest/x/..;a=b/posts/urn%3Ali%3A1",
	"/rest/x/%2e%2e;a=b/posts/urn%3Ali%3A1",
	"/rest/posts/urn%3Ali%3A1/;",
	"/rest/posts/urn%3Ali%3A1;%2f",
}

func TestSpellings(t *testing.T) {
	s := snapshot(t, `{catch_all: {}, endpoints: [{id: post, match: "/rest/posts/{id}"}]}`)
	for _, spelling := range spellings {
		p, err := s.NormalizePath(spelling)
		if err != nil {
			t.Errorf("%s: %v", spelling, err)
			continue
		}
		if p.Match != "/rest/posts/urn:li:1" || strings.TrimSuffix(p.Forward, "/") != "/rest/posts/urn%3Ali%3A1" {
			t.Errorf("%s becomes %+v", spelling, p)
		}
		if e, err := s.Match(p, "GET", nil, ""); err != nil || e.ID != "post" {
			t.Errorf("%s meets %v, %v", spelling, e, err)
		}
	}
}

func TestNormalizePath(t *testing.T) {
	tests := []struct{ path, match, forward string }{
		{"/", "/", "/"},
		{"//", "/", "/"},
		{"/.", "/", "/"},
		{"/..", "/", "/"},
		{"/../..//./", "/", "/"},
		{"/;a", "/", "/"},
		{"/a/..", "/", "/"},
		{"/a", "/a", "/a"},
		{"/a/", "/a", "/a/"},
		{"/a/.", "/a", "/a/"},
		{"/a/b/..", "/a", "/a/"},
		{"/a/b/../", "/a", "/a/"},
		{"/a//../b", "/b", "/b"}, // slashes are merged first
		{"/a;x/../b", "/b", "/b"},
		{"/...", "/...", "/..."},
		{"/.a/..b/c.", "/.a/..b/c.", "/.a/..b/c."},
		{"/a%20b", "/a b", "/a%20b"},
		{"/a b", "/a b", "/a%20b"},
		{"/a+b", "/a+b", "/a+b"},
		{"/%7euser/%2D%5f", "/~user/-_", "/~user/-_"},
		{"/a%3bb", "/a;b", "/a%3Bb"}, // an encoded semicolon is data
		{"/a%3B%3Bb;c", "/a;;b", "/a%3B%3Bb"},
		{"/urn:li:1", "/urn:li:1", "/urn:li:1"}, // reserved characters stay as they came
		{"/!$&'()*+,=:@", "/!$&'()*+,=:@", "/!$&'()*+,=:@"},
		{"/%21%24%26", "/!$&", "/%21%24%26"},
		{"/100%25", "/100%", "/100%25"},
		{"/%2525", "/%25", "/%2525"}, // decoded once
		{"/%252e%252e/a", "/%2e%2e/a", "/%252e%252e/a"},
		{"/%3f%23", "/?#", "/%3F%23"},
		{"/caf%c3%a9", "/café", "/caf%C3%A9"},
		{"/café", "/café", "/caf%C3%A9"},
		{"/%e9", "/\xe9", "/%E9"},
		{"/%c3", "/\xc3", "/%C3"},
		{"/%c1a", "/\xc1a", "/%C1a"},
		{"/%0d%0A", "/\r\n", "/%0D%0A"},
		{"/\"<>^`{|}", "/\"<>^`{|}", "/%22%3C%3E%5E%60%7B%7C%7D"},
	}
	for _, test := range tests {
		want := catalog.Path{Match: test.match, Forward: test.forward}
		if got, err := catalog.NormalizePath(test.path, catalog.PathPolicy{}); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", test.path, got, err, want)
		}
		if again, err := catalog.NormalizePath(test.forward, catalog.PathPolicy{}); err != nil || again != want {
			t.Errorf("%s: got %+v, %v the second time; want %+v", test.path, again, err, want)
		}
	}
}

func TestNormalizePathRefuses(t *testing.T) {
	const two = ", which could mean two things."
	tests := []struct{ path, want string }{
		{"", "The path must begin with a slash."},
		{"*", "The path must begin with a slash."},
		{"a/b", "The path must begin with a slash."},
		{"http://a/b", "The path must begin with a slash."},
		{"/a%2fb", "The path has an encoded slash" + two},
		{"/a%2Fb", "The path has an encoded slash" + two},
		{"/%2f", "The path has an encoded slash" + two},
		{"/a%5cb", "The path has a backslash" + two},
		{"/a%5Cb", "The path has a backslash" + two},
		{`/a\b`, "The path has a backslash" + two},
		{"/a%00b", "The path has a NUL" + two},
		{"/a\x00b", "The path has a NUL" + two},
		{"/a?b", "The path has a question mark" + two},
		{"/a#b", "The path has a number sign" + two},
		{"/%", "The path has a percent sign that two hexadecimal digits do not follow."},
		{"/%4", "The path has a percent sign that two hexadecimal digits do not follow."},
		{"/%zz", "The path has a percent sign that two hexadecimal digits do not follow."},
		{"/%u002f", "The path has a percent sign that two hexadecimal digits do not follow."},
		{"/%/41", "The path has a percent sign that two hexadecimal digits do not follow."},
		{"/%;41", "The path has a percent sign that two hexadecimal digits do not follow."},
		{"/%c0%af", "The path has an overlong UTF-8 sequence."},
		{"/%C1%9C", "The path has an overlong UTF-8 sequence."},
		{"/%e0%80%af", "The path has an overlong UTF-8 sequence."},
		{"/%f0%80%80%af", "The path has an overlong UTF-8 sequence."},
		{"/x%2f/..", "The path has an encoded slash" + two}, // though it would not be sent
	}
	for _, test := range tests {
		p, err := catalog.NormalizePath(test.path, catalog.PathPolicy{})
		if fault.KindOf(err) != fault.Invalid || fault.Message(err) != test.want || p != (catalog.Path{}) {
			t.Errorf("%q: got %+v, %v; want %s", test.path, p, err, test.want)
		}
	}
}

func TestNormalPathsCostNoAllocation(t *testing.T) {
	for _, path := range []string{"/", "/rest/posts", "/rest/posts/123/", "/urn:li:1/.well-known/a..b"} {
		if n := testing.AllocsPerRun(100, func() { _, _ = catalog.NormalizePath(path, catalog.PathPolicy{}) }); n > 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}
