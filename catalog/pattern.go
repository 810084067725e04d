package catalog

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// usagePath is where every door tells callers their usage, uncharged, whatever the catalog says.
const usagePath = "/perdiem/usage"

// MaxPattern is the length of the longest pattern, in bytes.
const MaxPattern = 4096

// pattern is a method and a path of [http.ServeMux]'s kind, read under a policy. Where that ignores a trailing slash, "/a/{$}" is "/a".
type pattern struct {
	method   string   // "" for any
	segments []string // as in [Path].Match; "" is a wildcard, for any one segment
	subtree  bool     // goes on to any depth: the path ends with a slash or with {name...}
	slash    bool     // written with {$}: to ServeMux, and to a policy that is strict, another path than without
	strict   bool     // the policy is strict about trailing slashes
}

// parsePattern reads a pattern for requests whose paths are read by a policy. The error says what is wrong, without repeating the pattern.
func parsePattern(method, path string, policy PathPolicy) (pattern, error) {
	p := pattern{method: method, strict: policy.StrictSlash}
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
	case strings.Contains(path, ";") && policy.Parameters == DropParameters:
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
			p.slash = true
		case strings.HasPrefix(raw, "{"):
			p.segments = append(p.segments, "")
			filled.WriteString("/x")
			want.WriteString("/x")
		default:
			literal, err := decodeLiteral(raw)
			if err != nil {
				return p, fmt.Errorf("a percent sign must be followed by two hexadecimal digits")
			}
			if policy.IgnoreCase {
				literal = foldPath(literal)
			}
			p.segments = append(p.segments, literal)
			filled.WriteString("/" + raw)
			want.WriteString("/" + literal)
		}
	}
	if filled.Len() == 0 {
		return p, nil
	}
	normal, err := NormalizePath(filled.String(), policy)
	if err != nil {
		return p, fmt.Errorf("no request can have this path: %s", strings.TrimSuffix(err.Error(), "."))
	}
	if normal.Match != want.String() {
		return p, fmt.Errorf("no request can have this path: paths are normalised before they are matched, and this one becomes %s", normal.Forward)
	}
	if !p.subtree && normal.Match == usagePath && (!p.slash || !p.strict) {
		return p, fmt.Errorf("no request can meet this: perdiem answers %s itself; leave the endpoint out", usagePath)
	}
	return p, nil
}

// decodeLiteral decodes a segment to what it is in [Path].Match, where an encoded slash is a NUL. What NormalizePath refuses, an encoded NUL
// among it, is left to NormalizePath.
func decodeLiteral(raw string) (string, error) {
	literal, err := url.PathUnescape(raw)
	if err != nil || !strings.Contains(literal, "/") {
		return literal, err
	}
	return strings.ReplaceAll(literal, "/", "\x00"), nil // raw had no slash of its own
}

// refusedByServeMux returns why ServeMux refuses a pattern by itself, or nil. ServeMux panics at what it refuses; that is
// its way to return an error.
func refusedByServeMux(method, path string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			// parsing "GET /{a}/{a}": at offset 9: duplicate wildcard name "a"
			text := fmt.Sprint(r)
			if _, after, ok := strings.Cut(text, "at offset "); ok {
				_, text, _ = strings.Cut(after, ": ")
			}
			err = fmt.Errorf("http.ServeMux refuses it: %s", text)
		}
	}()
	if method != "" {
		path = method + " " + path
	}
	http.NewServeMux().Handle(path, http.NotFoundHandler())
	return nil
}

// relation is how what one pattern matches lies to what another matches. Both narrower and wider: they overlap. Neither: they
// are the same.
type relation struct{ narrower, wider, disjoint bool }

// overlap reports whether p and q match a request in common without either being more specific. Where their paths do so
// by themselves, path is one that both match; else it is "".
func (p pattern) overlap(q pattern) (path string, overlaps bool) {
	methods := compareMethods(p.method, q.method)
	paths, common := p.comparePaths(q)
	switch {
	case methods.disjoint || paths.disjoint:
		return "", false
	case paths.narrower && paths.wider:
		return common, true
	default:
		return "", methods.narrower && paths.wider || methods.wider && paths.narrower
	}
}

func compareMethods(p, q string) relation {
	switch {
	case p == q:
		return relation{}
	case p == "" || p == http.MethodGet && q == http.MethodHead:
		return relation{wider: true}
	case q == "" || q == http.MethodGet && p == http.MethodHead:
		return relation{narrower: true}
	default:
		return relation{disjoint: true}
	}
}

// comparePaths compares as ServeMux does, to which /a/ and /a have no path in common, but /a/ and /a/{$} do. It returns
// a path that both match, unless they are disjoint.
func (p pattern) comparePaths(q pattern) (r relation, common string) {
	var b strings.Builder
	shared := min(len(p.segments), len(q.segments))
	both := p.subtree && q.subtree || p.slash || q.slash // then the path that both match ends with a slash, where that counts
	for i := range shared {
		one, other := p.segments[i], q.segments[i]
		switch {
		case one == other:
		case one == "":
			r.wider = true
		case other == "":
			r.narrower = true
		default:
			return relation{disjoint: true}, ""
		}
		b.WriteString("/" + written(cmp.Or(one, other, "x")))
	}
	pRest, qRest := p.segments[shared:], q.segments[shared:]
	switch {
	case len(pRest) == len(qRest) && p.subtree == q.subtree && (!p.strict || p.slash == q.slash):
	case p.subtree && len(pRest) == 0 && (len(qRest) > 0 || q.slash):
		r.wider = true
	case q.subtree && len(qRest) == 0 && (len(pRest) > 0 || p.slash):
		r.narrower = true
	default:
		return relation{disjoint: true}, ""
	}
	for _, s := range slices.Concat(pRest, qRest) {
		b.WriteString("/" + written(cmp.Or(s, "x")))
	}
	if p.strict && both {
		b.WriteByte('/')
	}
	return r, b.String()
}

// written returns a segment of a pattern for somebody to read.
func written(segment string) string { return strings.ReplaceAll(segment, "\x00", "%2F") }
