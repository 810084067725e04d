// Package httpname says what the names of headers may be, and which of them no client says anything by.
package httpname

import "strings"

// IsToken reports whether text is a token of RFC 9110, section 5.6.2, as the names of headers and methods are.
func IsToken(text string) bool {
	for i := range len(text) {
		c := text[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return text != ""
}

// IsReserved reports whether a header is perdiem's own or a proxy's to say, or would make the upstream serve another request
// than the one that was matched. The gateway drops such headers before it looks at a request. Many an upstream does not tell "_" from "-",
// so neither does this.
func IsReserved(name string) bool {
	if name == "" {
		return false
	}
	switch name[0] {
	case 'X', 'x':
		return HasPrefix(name, "x-perdiem-") || HasPrefix(name, "x-forwarded-") || Is(name, "x-real-ip") ||
			Is(name, "x-http-method-override") || Is(name, "x-http-method") || Is(name, "x-method-override") ||
			Is(name, "x-original-url") || Is(name, "x-rewrite-url") // some frameworks route by these instead of the path
	case 'F', 'f':
		return Is(name, "forwarded")
	case 'H', 'h':
		return Is(name, "http2-settings") // goes with an upgrade to h2c
	default:
		return false
	}
}

// Is reports whether name is lower, which is in lower case, to a reader that takes "_" for "-" and ignores case.
func Is(name, lower string) bool {
	return len(name) == len(lower) && HasPrefix(name, lower)
}

// HasPrefix reports whether name begins with lower, which is in lower case, to such a reader.
func HasPrefix(name, lower string) bool {
	if len(name) < len(lower) {
		return false
	}
	for i := range len(lower) {
		c := name[i]
		switch {
		case c == '_':
			c = '-'
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
