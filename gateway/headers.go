package gateway

import (
	"maps"
	"net/http"
	"strings"

	"github.com/perdiem/perdiem/internal/httpname"
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
		if httpname.IsReserved(name) {
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
