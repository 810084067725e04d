package catalog

import (
	"slices"
	"strings"

	"github.com/perdiem/perdiem/fault"
)

// PathPolicy says how paths are read. So far there is one policy, the zero value: a trailing slash is ignored in matching,
// ;parameters are dropped, case counts, and an encoded slash is refused.
type PathPolicy struct{}

// Path is a request's path in its one spelling.
type Path struct {
	// Match is what patterns are compared with: decoded, without a trailing slash except for the root. Since no encoded slash
	// is let in, each slash parts two segments.
	Match string
	// Forward is what is sent upstream: escaped, with the trailing slash it came with. Normalising it gives the same Path.
	Forward string
}

// NormalizePath brings a path, as it stands in the request line without the query, into its one spelling: it merges doubled
// slashes, resolves dot segments, drops ;parameters, decodes percent-encoded unreserved characters (RFC 3986, 2.3), and
// writes the other escapes in upper case. Characters that a path cannot hold are escaped. A path that is so already is returned
// without an allocation.
//
// The error, of kind [fault.Invalid], says what could mean two things: an encoded slash, a backslash or NUL, encoded or
// not, an overlong UTF-8 sequence, an escape that is none, a raw ? or #, and what does not begin with a slash.
func NormalizePath(escaped string, _ PathPolicy) (Path, error) {
	if escaped == "" || escaped[0] != '/' {
		return Path{}, fault.New(fault.Invalid, "The path must begin with a slash.")
	}
	if isNormal(escaped) {
		return Path{Match: withoutTrailingSlash(escaped), Forward: escaped}, nil
	}
	var match, forward [256]byte // on the stack; a longer path moves
	p := spelling{match: match[:0], forward: forward[:0]}
	for rest := escaped; rest != ""; {
		segment := rest[1:] // rest begins with a slash
		rest = ""
		if i := strings.IndexByte(segment, '/'); i >= 0 {
			segment, rest = segment[:i], segment[i:]
		}
		segment, _, _ = strings.Cut(segment, ";")
		var err error
		if p, err = p.add(segment); err != nil {
			return Path{}, err
		}
	}
	if p.slash || len(p.forward) == 0 {
		p.forward = append(p.forward, '/')
	}
	if len(p.match) == 0 {
		p.match = append(p.match, '/')
	}
	if overlong(p.match) {
		return Path{}, fault.New(fault.Invalid, "The path has an overlong UTF-8 sequence.")
	}
	return p.path(escaped), nil
}

// spelling is a path being written twice, segment by segment. It is handed on by value, which keeps its bytes on the stack.
type spelling struct {
	match, forward []byte // without a trailing slash
	slash          bool   // the path, should it end here, ends with a slash
}

// path returns what was written, sharing what memory it can with the path as it came.
func (p spelling) path(escaped string) Path {
	forward := escaped
	if string(p.forward) != escaped {
		forward = string(p.forward)
	}
	if match := withoutTrailingSlash(forward); match == string(p.match) {
		return Path{Match: match, Forward: forward}
	}
	return Path{Match: string(p.match), Forward: forward}
}

// add returns the spelling with a segment more, or with what a dot segment asks for.
func (p spelling) add(segment string) (spelling, error) {
	match, forward := len(p.match), len(p.forward)
	p.match, p.forward = append(p.match, '/'), append(p.forward, '/')
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		escape := c == '%'
		if escape {
			if i+2 >= len(segment) || unhex(segment[i+1]) > 15 || unhex(segment[i+2]) > 15 {
				return p, fault.New(fault.Invalid, "The path has a percent sign that two hexadecimal digits do not follow.")
			}
			c = unhex(segment[i+1])<<4 | unhex(segment[i+2])
			i += 2
		}
		switch {
		case c == '/', c == '\\', c == 0, !escape && (c == '?' || c == '#'):
			return p, fault.New(fault.Invalid, "The path has %s, which could mean two things.", suspects[c])
		case class[c] == unreserved, class[c] == reserved && !escape:
			p.forward = append(p.forward, c)
		default:
			p.forward = append(p.forward, '%', upperHex[c>>4], upperHex[c&15])
		}
		p.match = append(p.match, c)
	}
	switch string(p.match[match+1:]) {
	case "..": // takes the segment before with it
		match, forward = max(0, lastSlash(p.match[:match])), max(0, lastSlash(p.forward[:forward]))
		fallthrough
	case "", ".":
		p.match, p.forward, p.slash = p.match[:match], p.forward[:forward], true
	default:
		p.slash = false
	}
	return p, nil
}

var suspects = map[byte]string{'/': "an encoded slash", '\\': "a backslash", 0: "a NUL", '?': "a question mark", '#': "a number sign"}

// isNormal reports whether p, which begins with a slash, is spelled as NormalizePath spells, and has no escapes.
func isNormal(p string) bool {
	for i := range len(p) {
		switch c := p[i]; {
		case c == '/':
			next := p[i+1:]
			if next != "" && (next[0] == '/' || next[0] == '.' && isDots(next)) {
				return false
			}
		case class[c] == other:
			return false
		}
	}
	return true
}

// isDots reports whether s begins with a segment that is . or ..
func isDots(s string) bool {
	s, _, _ = strings.Cut(s, "/")
	return s == "." || s == ".."
}

func withoutTrailingSlash(p string) string {
	if len(p) > 1 && p[len(p)-1] == '/' {
		return p[:len(p)-1]
	}
	return p
}

// overlong reports whether b has a character in more bytes of UTF-8 than it needs, by which a lenient decoder would read
// %C0%AF as a slash.
func overlong(b []byte) bool {
	for i := 1; i < len(b); i++ {
		switch c := b[i]; b[i-1] {
		case 0xC0, 0xC1:
			if c >= 0x80 && c < 0xC0 {
				return true
			}
		case 0xE0:
			if c >= 0x80 && c < 0xA0 {
				return true
			}
		case 0xF0:
			if c >= 0x80 && c < 0x90 {
				return true
			}
		}
	}
	return false
}

func lastSlash(b []byte) int {
	for i, c := range slices.Backward(b) {
		if c == '/' {
			return i
		}
	}
	return -1
}

const upperHex = "0123456789ABCDEF"

// unhex returns a hexadecimal digit's value, and more than 15 for what is none.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	default:
		return 0xFF
	}
}

// The classes of bytes in a path.
const (
	other      = iota // has to be escaped, or means something
	unreserved        // never escaped
	reserved          // may stand as it is, and may be escaped: the two differ
)

var class = func() (table [256]byte) {
	for c := range table {
		switch c := byte(c); {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			table[c] = unreserved
		case strings.IndexByte("!$&'()*+,=:@", c) >= 0: // RFC 3986's pchar, less the semicolon
			table[c] = reserved
		}
	}
	return table
}()
