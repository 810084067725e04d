package gateway

import (
	"maps"
	"net/http"
	"strings"
)

// clean returns the headers of a request without those that are not sent on, credentials excepted, which are still to be read. h
// itself is not changed; when it is clean, which is the rule, it is returned as it is.
func clean(h http.Header) http.Header {
	cleaned := h
	drop := func(name string) {
		if _, there := cleaned[name]; !there {
			return
		}
		if len(cleaned) == len(h) {
			cleaned = maps.Clone(h)
		}
		delete(cleaned, name)
	}
	for name := range h {
		if isReserved(name) {
			drop(name)
		}
	}
	// What a client calls hop-by-hop ends here (RFC 9110, section 7.6.1). The proxy takes it off; the matching
	// must not see it either.
	for _, list := range h["Connection"] {
		if isCommon(list) {
			continue
		}
		for option := range strings.SplitSeq(list, ",") {
			switch name := http.CanonicalHeaderKey(strings.TrimSpace(option)); name {
			case "Upgrade", "Te": // the proxy makes these anew for the next hop
			default:
				drop(name)
			}
		}
	}
	if protocols := h["Upgrade"]; len(protocols) > 0 && !mayUpgrade(protocols) {
		drop("Upgrade")
	}
	return cleaned
}

// isCommon reports whether a Connection header's value is one of those that name no header.
func isCommon(list string) bool {
	return strings.EqualFold(list, "keep-alive") || strings.EqualFold(list, "close") || strings.EqualFold(list, "upgrade")
}

// isReserved reports whether a header is perdiem's own or a proxy's to say, or would make the upstream serve another request
// than the one that was matched. Many an upstream does not tell "_" from "-", so neither does this.
func isReserved(name string) bool {
	if name == "" {
		return false
	}
	switch name[0] {
	case 'X', 'x':
		return hasPrefixFold(name, "x-perdiem-") || hasPrefixFold(name, "x-forwarded-") || isFold(name, "x-real-ip") ||
			isFold(name, "x-http-method-override") || isFold(name, "x-http-method") || isFold(name, "x-method-override") ||
			isFold(name, "x-original-url") || isFold(name, "x-rewrite-url") // some frameworks route by these instead of the path
	case 'F', 'f':
		return isFold(name, "forwarded")
	case 'H', 'h':
		return isFold(name, "http2-settings") // goes with an upgrade to h2c
	default:
		return false
	}
}

// isFold reports whether name is lower, which is in lower case, to a reader that takes "_" for "-" and ignores case.
func isFold(name, lower string) bool {
	return len(name) == len(lower) && hasPrefixFold(name, lower)
}

func hasPrefixFold(name, lower string) bool {
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
