package catalog

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPattern is the length of the longest pattern, in bytes.
const MaxPattern = 4096

// pattern is a method and a path of [http.ServeMux]'s kind, read. A trailing slash being ignored, "/a/{$}" is "/a".
type pattern struct {
	method   string    // "" for any
	segments []segment // without the subtree's own wildcard
	subtree  bool      // goes on to any depth: the path ends with a slash or with {name...}
}

// segment is a literal, decoded, or any one segment.
type segment struct {
	literal string // "" for any
}

// parsePattern reads a pattern. The error says what is wrong, without repeating the pattern.
func parsePattern(method, path string) (pattern, error) {
	p := pattern{method: method}
	switch {
	case path == "":
		return p, fmt.Errorf("write a method and a path, such as GET /rest/posts, or a path alone")
	case len(method)+len(path) > MaxPattern:
		return p, fmt.Errorf("has %d bytes; at most %d are allowed", len(method)+len(path), MaxPattern)
	case path[0] != '/' && strings.Contains(path, "/"):
		return p, fmt.Errorf("a host cannot be matched; begin the path with a slash")
	case path[0] != '/':
		return p, fmt.Errorf("begin the path with a slash")
	case method != strings.ToUpper(method):
		return p, fmt.Errorf("methods are in upper case; write %s", strings.ToUpper(method))
	case method == http.MethodConnect:
		return p, fmt.Errorf("CONNECT requests are always refused; leave the endpoint out")
	case !utf8.ValidString(path) || strings.ContainsFunc(path, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }):
		return p, fmt.Errorf("the path has a space or a control character; write it as an escape, such as %%20")
	case strings.Contains(path, "?"):
		return p, fmt.Errorf("a pattern has no query; name its parameters under when")
	case strings.Contains(path, ";"):
		return p, fmt.Errorf("parameters are dropped from paths before they are matched; leave them out")
	}
	if err := refusedByServeMux(method, path); err != nil {
		return p, err
	}
	// What is left is a path that ServeMux takes. Filled in, it must be one that a request can have after it is normalised.
	var filled, want strings.Builder
	for rest := path; rest != ""; {
		raw := rest[1:]
		rest = ""
		if i := strings.IndexByte(raw, '/'); i >= 0 {
			raw, rest = raw[:i], raw[i:]
		}
		switch {
		case raw == "" && rest == "", strings.HasPrefix(raw, "{") && strings.HasSuffix(raw, "...}"):
			p.subtree = true
		case raw == "":
			return p, fmt.Errorf("no request can have this path: doubled slashes are merged before paths are matched")
		case raw == "{$}":
		case strings.HasPrefix(raw, "{"):
			p.segments = append(p.segments, segment{})
			filled.WriteString("/x")
			want.WriteString("/x")
		default:
			literal, err := url.PathUnescape(raw)
			if err != nil {
				return p, fmt.Errorf("a percent sign must be followed by two hexadecimal digits")
			}
			p.segments = append(p.segments, segment{literal: literal})
			filled.WriteString("/" + raw)
			want.WriteString("/" + literal)
		}
	}
	if filled.Len() == 0 {
		return p, nil
	}
	normal, err := NormalizePath(filled.String(), PathPolicy{})
	if err != nil {
		return p, fmt.Errorf("no request can have this path: %s", strings.TrimSuffix(err.Error(), "."))
	}
	if normal.Match != want.String() {
		return p, fmt.Errorf("no request can have this path: paths are normalised before they are matched, and this one becomes %s", normal.Forward)
	}
	return p, nil
}

// key is the same for two patterns that match the same requests, and for no others.
func (p pattern) key() string {
	var b strings.Builder
	b.WriteString(p.method)
	for _, s := range p.segments {
		b.WriteByte('/')
		if s.literal == "" {
			b.WriteByte(0) // no literal has it
		}
		b.WriteString(s.literal)
	}
	if p.subtree {
		b.WriteByte('/')
	}
	return b.String()
}

// serveMuxPattern returns the pattern as ServeMux takes it, without a trailing {$}.
func serveMuxPattern(method, path string) string {
	if path != "/{$}" {
		path = strings.TrimSuffix(path, "/{$}")
	}
	if method == "" {
		return path
	}
	return method + " " + path
}

// refusedByServeMux returns why ServeMux refuses a pattern by itself, or nil.
func refusedByServeMux(method, path string) error {
	err := register(http.NewServeMux(), serveMuxPattern(method, path))
	if err == nil {
		return nil
	}
	// parsing "GET /{a}/{a}": at offset 9: duplicate wildcard name "a"
	text := err.Error()
	if i := strings.Index(text, "at offset "); i >= 0 {
		if _, after, ok := strings.Cut(text[i:], ": "); ok {
			text = after
		}
	}
	return fmt.Errorf("http.ServeMux refuses it: %s", text)
}

// register adds a pattern to mux. ServeMux panics at what it refuses; that is its way to return an error.
func register(mux *http.ServeMux, pattern string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	mux.Handle(pattern, http.NotFoundHandler())
	return nil
}

// conflict finds in ServeMux's error the pattern that was registered before and stands in the way, and a path that both
// match; each is "" where the error does not name it.
func conflict(err error) (other, like string) {
	find := func(quoted *regexp.Regexp) string {
		if m := quoted.FindStringSubmatch(err.Error()); m != nil {
			text, _ := strconv.Unquote(m[1])
			return text
		}
		return ""
	}
	return find(conflictsWith), find(commonPath)
}

var (
	conflictsWith = regexp.MustCompile(`conflicts with pattern ("(?:[^"\\]|\\.)*")`)
	commonPath    = regexp.MustCompile(`both match some paths, like ("(?:[^"\\]|\\.)*")`)
)
