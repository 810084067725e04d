package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/internal/httpname"
)

// CORS says which web sites' scripts may use the API (the CORS protocol of the Fetch standard). The gateway answers preflights by
// itself, and it is the gateway that tells browsers which origins may read an answer, the upstream's answers included.
type CORS struct {
	Origins []Origin // at least one
	// Methods and Headers are what scripts may use, in requests; nil: whatever they ask for.
	Methods []string
	Headers []string
	// Expose is what scripts may read of an answer's headers, besides those that tell limits and what the upstream exposes.
	Expose []string
	// Credentials lets browsers send cookies. Not with [AnyOrigin].
	Credentials bool
	MaxAge      time.Duration // how long a browser may remember a preflight's answer, in whole seconds; 0: it is not told
}

// Origin is an origin (RFC 6454), or all origins below a name. The zero Origin is none.
type Origin struct {
	scheme string
	host   string // with its port where that is not the scheme's own; of "https://*.example.com" it is "example.com"
	below  bool
}

// AnyOrigin is every origin, "null" included.
var AnyOrigin = Origin{host: "*"}

// ParseOrigin reads an origin as it is written in a configuration: as a browser sends it, https://app.example or
// http://localhost:3000; https://*.example.com for all names below that one; or * for any.
func ParseOrigin(text string) (Origin, error) {
	if text == "*" {
		return AnyOrigin, nil
	}
	o, ok := splitOrigin(strings.ToLower(text))
	if !ok {
		return Origin{}, errors.New("must be an origin as browsers send it, such as https://app.example or http://localhost:3000, without a path; or *")
	}
	rest, below := strings.CutPrefix(o.host, "*.")
	name, port, ok := splitHost(rest)
	if !ok || name == "" || below && (strings.HasPrefix(name, "[") || isIPv4(name)) {
		return Origin{}, errors.New("must have the name of a host after its scheme, such as https://app.example or https://*.example.com")
	}
	if port != "" && port != defaultPorts[o.scheme] {
		name += ":" + port
	}
	return Origin{scheme: o.scheme, host: name, below: below}, nil
}

// defaultPorts are left out of an origin.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

// splitOrigin splits an origin's text at its scheme's end.
func splitOrigin(text string) (Origin, bool) {
	scheme, host, ok := strings.Cut(text, "://")
	return Origin{scheme: scheme, host: host}, ok && isScheme(scheme)
}

// isScheme follows RFC 3986, section 3.1, in lower case.
func isScheme(text string) bool {
	for i := range len(text) {
		c := text[i]
		if !('a' <= c && c <= 'z' || i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return text != ""
}

// cors is a CORS, with the headers that it comes to made beforehand. Nobody changes them.
type cors struct {
	any     bool
	exact   map[string][]string // the value of Access-Control-Allow-Origin, by origin
	below   map[Origin]bool
	methods []string // of Access-Control-Allow-Methods; nil: whatever is asked for
	headers []string
	expose  []string
	maxAge  []string
	cookies bool
}

var (
	anyOrigin     = []string{"*"}
	allowed       = []string{"true"}
	byOrigin      = []string{"Origin"}
	byQuestion    = []string{"Access-Control-Request-Method, Access-Control-Request-Headers"}
	exposedNames  = []string{"RateLimit", "RateLimit-Policy", "Retry-After"}
	exposedLegacy = []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
)

func newCORS(o *CORS, headers answer.Headers) (*cors, error) {
	if o == nil {
		return nil, nil
	}
	c := &cors{exact: map[string][]string{}, below: map[Origin]bool{}, cookies: o.Credentials}
	for _, origin := range o.Origins {
		switch {
		case origin == Origin{}:
			return nil, errors.New("gateway: cors: an origin is empty")
		case origin == AnyOrigin:
			c.any = true
		case origin.below:
			c.below[origin] = true
		default:
			text := origin.scheme + "://" + origin.host
			c.exact[text] = []string{text}
		}
	}
	if !c.any && len(c.exact) == 0 && len(c.below) == 0 {
		return nil, errors.New("gateway: cors: no origins")
	}
	if c.any && c.cookies {
		return nil, errors.New("gateway: cors: credentials need a list of origins")
	}
	expose := slices.Clone(exposedNames)
	if headers == answer.Legacy {
		expose = append(expose, exposedLegacy...)
	}
	for _, list := range []struct {
		option string
		names  []string
		field  *[]string
	}{{"methods", o.Methods, &c.methods}, {"headers", o.Headers, &c.headers}, {"expose", append(expose, o.Expose...), &c.expose}} {
		for _, name := range list.names {
			if !httpname.IsToken(name) {
				return nil, fmt.Errorf("gateway: cors: %s: %q is no name", list.option, name)
			}
		}
		if list.names != nil {
			*list.field = []string{strings.Join(list.names, ", ")}
		}
	}
	if o.MaxAge > 0 {
		c.maxAge = []string{strconv.FormatInt(int64(o.MaxAge/time.Second), 10)}
	}
	return c, nil
}

// maxOrigin bounds the origins that are looked at, in bytes.
const maxOrigin = 512

// allows returns the value of Access-Control-Allow-Origin for a request with these headers; nil where its origin is not allowed, or
// not told.
func (c *cors) allows(h http.Header) []string {
	if c.any {
		return anyOrigin
	}
	told := h["Origin"]
	if len(told) != 1 || len(told[0]) > maxOrigin {
		return nil
	}
	if value, ok := c.exact[told[0]]; ok {
		return value
	}
	if len(c.below) == 0 {
		return nil
	}
	o, ok := splitOrigin(told[0])
	if !ok {
		return nil
	}
	if _, _, ok := splitHost(o.host); !ok {
		return nil
	}
	o.below = true
	for {
		_, above, found := strings.Cut(o.host, ".")
		if !found {
			return nil
		}
		if o.host = above; c.below[o] {
			return told[:1:1]
		}
	}
}

// mark lets the origin that is allowed read an answer; allowed is what allows returned for its request.
func (c *cors) mark(h http.Header, allowedOrigin []string) {
	if !c.any {
		h["Vary"] = append(h["Vary"], byOrigin...)
	}
	if allowedOrigin == nil {
		return
	}
	h["Access-Control-Allow-Origin"] = allowedOrigin
	h["Access-Control-Expose-Headers"] = c.expose
	if c.cookies {
		h["Access-Control-Allow-Credentials"] = allowed
	}
}

// markUpstream does the same for an answer of the upstream, whose headers are added to h later. Who may read it is for the gateway to
// say, and said once; what may be read besides, the upstream knows too.
func (c *cors) markUpstream(h, upstream http.Header, allowedOrigin []string) {
	delete(upstream, "Access-Control-Allow-Origin")
	delete(upstream, "Access-Control-Allow-Credentials")
	if allowedOrigin == nil {
		delete(upstream, "Access-Control-Expose-Headers")
	}
	c.mark(h, allowedOrigin)
	for _, list := range upstream["Vary"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, "Origin") {
				delete(h, "Vary")
				return
			}
		}
	}
}

// isPreflight reports whether a browser asks what a script may do. It never sends a credential with the question.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0 && r.RequestURI != "*"
}

// maxAsked bounds what a preflight may ask for, in bytes: it is repeated to it.
const maxAsked = 8 << 10

// answerPreflight answers a preflight; it is nobody's call.
func (g *Gateway) answerPreflight(x *exchange, r *http.Request) {
	c := g.cors
	method, headers, ok := asked(r.Header)
	switch {
	case x.allowed == nil:
		g.reject(x, http.StatusForbidden, "The origin of this script may not use the API.")
		return
	case !ok:
		g.reject(x, http.StatusBadRequest, "The preflight asks for what is no method or no list of headers.")
		return
	}
	x.observation.Outcome = Preflight
	g.write(x, func(h http.Header, body []byte) (int, []byte) {
		h["Vary"] = byQuestion
		h["Access-Control-Allow-Methods"] = c.methods
		if c.methods == nil {
			h["Access-Control-Allow-Methods"] = method
		}
		if allow := c.headers; allow != nil {
			h["Access-Control-Allow-Headers"] = allow
		} else if headers != nil {
			h["Access-Control-Allow-Headers"] = headers
		}
		if c.maxAge != nil {
			h["Access-Control-Max-Age"] = c.maxAge
		}
		return http.StatusNoContent, body
	})
}

// asked returns what a preflight asks for. ok is false where that is malformed, or longer than any that makes sense.
func asked(h http.Header) (method, headers []string, ok bool) {
	method, headers = h["Access-Control-Request-Method"], h["Access-Control-Request-Headers"]
	if len(method) != 1 || len(method[0]) > maxAsked || !httpname.IsToken(method[0]) {
		return nil, nil, false
	}
	length := 0
	for _, list := range headers {
		if length += len(list); length > maxAsked {
			return nil, nil, false
		}
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.Trim(name, " \t"); name != "" && !httpname.IsToken(name) {
				return nil, nil, false
			}
		}
	}
	return method, headers, true
}
