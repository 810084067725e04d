package catalog

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/perdiem/perdiem/fault"
)

// Path is a request's path in its one spelling.
type Path struct {
	// Match is what patterns are compared with: decoded, folded where the policy ignores case, and without a trailing slash, except for
	// the root and where the policy is strict about it. Each slash parts two segments. A slash that belongs to its segment, since it
	// came encoded, is a NUL here; there is no other, for an encoded NUL is never let in.
	Match string
	// Forward is what is sent upstream: escaped, in the case and with the trailing slash it came with. Normalising it under the same
	// policy gives the same Path.
	Forward string
}

// NormalizePath brings a path, as it stands in the request line without the query, into its one spelling: it merges doubled
// slashes, resolves dot segments, drops ;parameters unless the policy keeps them, decodes percent-encoded unreserved characters
// (RFC 3986, 2.3), and writes the other escapes in upper case. Characters that a path cannot hold are escaped. A path that is so
// already is returned without an allocation, unless the policy ignores case and the path is not in lower case.
//
// The error, of kind [fault.Invalid], says what could mean two things: an encoded slash (where the policy lets one pass, a dot
// segment beside it), a backslash or NUL, encoded or not, an overlong UTF-8 sequence, an escape that is none, a raw ? or #,
// parameters of nothing or of a dot segment that the policy keeps, and what does not begin with a slash.
func NormalizePath(escaped string, policy PathPolicy) (Path, error) {
	if escaped == "" || escaped[0] != '/' {
		return Path{}, fault.New(fault.Invalid, "The path must begin with a slash.")
	}
	if isNormal(escaped) {
		match := escaped
		if !policy.StrictSlash {
			match = withoutTrailingSlash(match)
		}
		if policy.IgnoreCase {
			match = foldPath(match)
		}
		return Path{Match: match, Forward: escaped}, nil
	}
	var match, forward [256]byte // on the stack; a longer path moves
	p := spelling{match: match[:0], forward: forward[:0]}
	for rest := escaped; rest != ""; {
		segment := rest[1:] // rest begins with a slash
		rest = ""
		if i := strings.IndexByte(segment, '/'); i >= 0 {
			segment, rest = segment[:i], segment[i:]
		}
		if name, _, has := strings.Cut(segment, ";"); has {
			switch policy.Parameters {
			case DropParameters:
				segment = name
			case RejectParameters:
				return Path{}, fault.New(fault.Invalid, "The path has parameters, which are not taken here; write a semicolon as %%3B.")
			case KeepParameters: // add looks at them
			}
		}
		var err error
		if p, err = p.add(segment, policy); err != nil {
			return Path{}, err
		}
	}
	if p.slash || len(p.forward) == 0 {
		p.forward = append(p.forward, '/')
		if policy.StrictSlash {
			p.match = append(p.match, '/')
		}
	}
	if len(p.match) == 0 {
		p.match = append(p.match, '/')
	}
	if overlong(p.match) {
		return Path{}, fault.New(fault.Invalid, "The path has an overlong UTF-8 sequence.")
	}
	path := p.path(escaped)
	if policy.IgnoreCase {
		path.Match = foldPath(path.Match)
	}
	return path, nil
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
	if n := len(p.match); n <= len(forward) && forward[:n] == string(p.match) {
		return Path{Match: forward[:n], Forward: forward}
	}
	return Path{Match: string(p.match), Forward: forward}
}

// add returns the spelling with a segment more, or with what a dot segment asks for.
func (p spelling) add(segment string, policy PathPolicy) (spelling, error) {
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
		case c == '/' && policy.PassEncodedSlash:
			p.match, p.forward = append(p.match, 0), append(p.forward, "%2F"...)
			continue
		case c == ';' && !escape: // the policy keeps it
			if piece := lastPiece(p.match[match+1:]); isDots(piece) || len(p.match) == match+1 {
				return p, fault.New(fault.Invalid, "The path has parameters of an empty or a dot segment, which could mean two things.")
			}
			p.forward = append(p.forward, c)
		case c == '/', c == '\\', c == 0, !escape && (c == '?' || c == '#'):
			return p, fault.New(fault.Invalid, "The path has %s, which could mean two things.", suspects[c])
		case class[c] == unreserved, class[c] == reserved && !escape:
			p.forward = append(p.forward, c)
		default:
			p.forward = append(p.forward, '%', upperHex[c>>4], upperHex[c&15])
		}
		p.match = append(p.match, c)
	}
	written := p.match[match+1:]
	if policy.PassEncodedSlash && hasDots(written) {
		return p, fault.New(fault.Invalid, "The path has a dot segment beside an encoded slash, which could mean two things.")
	}
	switch string(written) {
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
			if next != "" && (next[0] == '/' || next[0] == '.' && beginsWithDots(next)) {
				return false
			}
		case class[c] == other:
			return false
		}
	}
	return true
}

// beginsWithDots reports whether s begins with a segment that is . or ..
func beginsWithDots(s string) bool {
	s, _, _ = strings.Cut(s, "/")
	return s == "." || s == ".."
}

// hasDots reports whether a segment with encoded slashes, which are NULs in it, would have a dot segment were they decoded.
func hasDots(segment []byte) bool {
	for {
		i := bytes.IndexByte(segment, 0)
		if i < 0 {
			return false // what follows the last was looked at, and a segment without any is not for this to judge
		}
		rest := segment[i+1:]
		next, _, _ := bytes.Cut(rest, []byte{0})
		if isDots(segment[:i]) || isDots(next) {
			return true
		}
		segment = rest
	}
}

// lastPiece returns what follows the last encoded slash of a segment, in which it is a NUL.
func lastPiece(segment []byte) []byte { return segment[bytes.LastIndexByte(segment, 0)+1:] }

func isDots(b []byte) bool { return string(b) == "." || string(b) == ".." }

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
		case 0xF8: // forms of five and six bytes, which UTF-8 had once
			if c >= 0x80 && c < 0x88 {
				return true
			}
		case 0xFC:
			if c >= 0x80 && c < 0x84 {
				return true
			}
		}
	}
	return false
}

// foldPath returns the same string for all paths that differ in case alone, to a reader that knows the letters of Unicode: the kelvin
// sign is a k. What is no UTF-8 stays as it is. A path in lower case is returned without an allocation.
func foldPath(path string) string {
	lower := func(c byte) bool { return c < utf8.RuneSelf && (c < 'A' || c > 'Z') }
	i := 0
	for i < len(path) && lower(path[i]) {
		i++
	}
	if i == len(path) {
		return path
	}
	b := append(make([]byte, 0, len(path)), path[:i]...)
	for i < len(path) {
		r, size := utf8.DecodeRuneInString(path[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(b, path[i])
		} else {
			b = utf8.AppendRune(b, foldRune(r))
		}
		i += size
	}
	return string(b)
}

// foldRune returns the least of the letters that differ from r in case alone, and the small one where that is of ASCII.
func foldRune(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	if 'A' <= least && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
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
