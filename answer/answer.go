// Package answer writes what a caller sees of a decision: the RateLimit headers of an admitted call, and the
// status, headers and body of every call that is not let through. All doors (the gateway, forward-auth, Envoy's
// rate limit service, the portal's API) answer with it, so that a refusal reads the same through each of them.
//
// Bodies are problem details (RFC 9457) with the members that clients of the model API match on: message, code,
// status and serviceErrorCode. Headers follow draft-ietf-httpapi-ratelimit-headers-11, or the older X-RateLimit-*
// names, or are left out, as [Writer] is told.
//
// Functions that write an answer set its headers, append its body to the slice they are given, and return the HTTP
// status with the longer slice; [Send] puts both on an http.ResponseWriter. Nothing here reads a clock or does I/O,
// and everything is safe for concurrent use, each call with its own header and slice.
package answer

import (
	"fmt"
	"net/http"
)

// Headers says in which headers callers are told their limits.
type Headers uint8

// The ways to tell limits. The zero value is the default.
const (
	IETF   Headers = iota // RateLimit-Policy and RateLimit
	Legacy                // X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset
	None                  // not at all: no numbers in bodies either
)

var headersNames = [...]string{IETF: "ietf", Legacy: "legacy", None: "none"}

// String returns the name as it is written in a configuration: ietf, legacy or none.
func (h Headers) String() string {
	if int(h) < len(headersNames) {
		return headersNames[h]
	}
	return fmt.Sprintf("headers %d", uint8(h))
}

// ParseHeaders reads the name of a way to tell limits. The error says which there are.
func ParseHeaders(s string) (Headers, error) {
	for h, name := range headersNames {
		if s == name {
			return Headers(h), nil
		}
	}
	return 0, fmt.Errorf("headers %q: must be ietf, legacy or none", s)
}

// Writer writes the answers that depend on how limits are told. The zero Writer tells them in IETF headers.
type Writer struct {
	Headers Headers
}

// Send writes an answer whose headers are set already. An error means that the caller is gone, which is nobody's
// fault, and is not reported.
func Send(w http.ResponseWriter, status int, body []byte) {
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
