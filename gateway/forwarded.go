package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/perdiem/perdiem/internal/httpname"
	"github.com/perdiem/perdiem/internal/netaddr"
)

const (
	// maxHops is how many of the addresses that X-Forwarded-For or Forwarded tell are looked at and sent on, counted from the gateway.
	maxHops = 64
	// maxForwarded bounds the Forwarded headers that are read, in bytes.
	maxForwarded = 8 << 10
)

// way is what the upstream is told of the way on which a request came.
type way struct {
	chain     string // X-Forwarded-For
	host      string // X-Forwarded-Host
	proto     string // X-Forwarded-Proto
	forwarded string // Forwarded (RFC 7239)
	client    string // X-Real-IP; empty where it would say what chain says
}

// way returns what the upstream is told. Of others than trusted proxies only the connection is known.
func (g *Gateway) way(x *exchange, in *http.Request) way {
	proto := "http"
	if in.TLS != nil {
		proto = "https"
	}
	w := way{chain: x.client, host: in.Host, proto: proto}
	var room [256]byte
	b := room[:0]
	if g.trusted == nil {
		w.forwarded = string(appendHop(b, x.client, in.Host, proto))
		return w
	}
	w.client = x.client
	if a, _ := peer(in); !g.trusted.trusts(a) {
		w.forwarded = string(appendHop(b, x.client, in.Host, proto))
		return w
	}

	hops, host, told := g.trusted.believe(x.request.Header)
	if host != "" {
		w.host = host
	}
	if told != "" {
		w.proto = told
	}
	client := g.trusted.client(hops)
	if client < len(hops) {
		w.client = hops[client].String()
	}
	var chain []byte
	for i, hop := range hops {
		text := unknown
		if hop.IsValid() {
			text = hop.String()
		}
		chain = append(append(chain, text...), ", "...)
		// What the client's proxy told belongs to the client.
		if i == client {
			b = appendHop(b, text, host, told)
		} else {
			b = appendHop(b, text, "", "")
		}
		b = append(b, ", "...)
	}
	w.chain = string(append(chain, x.client...))
	if client == len(hops) { // the proxy speaks for itself
		b = appendHop(b, x.client, w.host, w.proto)
	} else {
		b = appendHop(b, x.client, in.Host, proto)
	}
	w.forwarded = string(b)
	return w
}

// Proxies are the ranges of addresses whose word on where a request comes from is believed; nil: nobody's is.
type Proxies []netip.Prefix

// Client returns the address of a request's client: of the nearest on its way that is not one of the proxies. It is not valid where it is not known.
func (p Proxies) Client(r *http.Request) netip.Addr {
	a, _ := peer(r)
	if !p.trusts(a) {
		return a
	}
	hops, _, _ := p.believe(r.Header)
	if i := p.client(hops); i < len(hops) {
		return hops[i]
	}
	return a
}

// trusts reports whether what a peer says of its own peers is believed.
func (p Proxies) trusts(a netip.Addr) bool { return netaddr.In(p, a) }

// client returns which of the hops behind a trusted proxy is the client: the nearest that is not trusted itself, or the farthest if all
// are. Behind a hop that is not known by its address nothing is known; len(hops) is the proxy itself.
func (p Proxies) client(hops []netip.Addr) int {
	for i, hop := range slices.Backward(hops) {
		switch {
		case !hop.IsValid():
			return i + 1
		case !p.trusts(hop):
			return i
		}
	}
	return 0
}

// believe returns what a trusted proxy told of those from whom it had the request, the nearest last; a hop that is told otherwise than
// by an address is not valid. Where both kinds of header are there, X-Forwarded-For counts: a proxy that sets it may let a client's
// Forwarded through.
func (p Proxies) believe(h http.Header) (hops []netip.Addr, host, proto string) {
	if lines := h["X-Forwarded-For"]; len(lines) > 0 {
		hops = parseChain(lines)
	} else if elements := parseForwarded(h["Forwarded"]); len(elements) > 0 {
		for _, e := range elements {
			hops = append(hops, e.node)
		}
		e := elements[min(p.client(hops), len(elements)-1)]
		host, proto = e.host, e.proto
	}
	if text := last(h["X-Forwarded-Host"]); isHost(text) {
		host = text
	}
	if text := strings.ToLower(last(h["X-Forwarded-Proto"])); isProto(text) {
		proto = text
	}
	return hops, host, proto
}

// last returns the last value of a header that may be a list: what the nearest proxy said.
func last(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	line := lines[len(lines)-1]
	return strings.Trim(line[strings.LastIndexByte(line, ',')+1:], " \t")
}

func isHost(text string) bool {
	_, _, ok := splitHost(text)
	return ok && text != ""
}

func isProto(text string) bool { return text == "http" || text == "https" }

// parseChain reads X-Forwarded-For from its end on.
func parseChain(lines []string) []netip.Addr {
	var found [maxHops]netip.Addr
	n := maxHops
	for i := len(lines) - 1; i >= 0 && n > 0; i-- {
		for line := lines[i]; line != "" && n > 0; {
			comma := strings.LastIndexByte(line, ',')
			element := strings.Trim(line[comma+1:], " \t")
			line = line[:max(comma, 0)]
			if element != "" {
				n--
				found[n] = parseNode(element)
			}
		}
	}
	return append([]netip.Addr(nil), found[n:]...)
}

// parseNode reads an address, perhaps with a port; not valid where it is none.
func parseNode(text string) netip.Addr {
	if len(text) > maxHost {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		if name, _, ok := splitHost(text); ok {
			a, _ = netip.ParseAddr(strings.Trim(name, "[]"))
		}
	}
	if a.Zone() != "" {
		return netip.Addr{}
	}
	return a.Unmap()
}

// element is one element of Forwarded; what it does not tell is empty.
type element struct {
	node  netip.Addr
	host  string
	proto string
}

// parseForwarded reads Forwarded (RFC 7239, section 4): the last elements, or none where it is malformed, or longer than any that makes
// sense.
func parseForwarded(lines []string) []element {
	var elements []element
	length := 0
	for _, rest := range lines {
		if length += len(rest); length > maxForwarded {
			return nil
		}
		for rest = trimSpace(rest); rest != ""; {
			var e element
			for more := true; more; {
				var name, value string
				var ok bool
				if name, value, rest, ok = cutPair(rest); !ok {
					return nil
				}
				switch strings.ToLower(name) {
				case "for":
					e.node = parseNode(value)
				case "host":
					if isHost(value) {
						e.host = value
					}
				case "proto":
					if value = strings.ToLower(value); isProto(value) {
						e.proto = value
					}
				}
				rest = trimSpace(rest)
				more = strings.HasPrefix(rest, ";")
				if more {
					rest = trimSpace(rest[1:])
				}
			}
			elements = append(elements, e)
			if rest == "" {
				break
			}
			if rest[0] != ',' {
				return nil
			}
			if rest = trimSpace(rest[1:]); rest == "" {
				return nil
			}
		}
	}
	return elements[max(0, len(elements)-maxHops):]
}

func trimSpace(text string) string { return strings.Trim(text, " \t") }

// cutPair cuts a name, "=", and a token or a quoted string from the beginning of text.
func cutPair(text string) (name, value, rest string, ok bool) {
	name, rest, ok = strings.Cut(text, "=")
	if !ok || !httpname.IsToken(name) {
		return "", "", "", false
	}
	if !strings.HasPrefix(rest, `"`) {
		end := strings.IndexAny(rest, ";, \t")
		if end < 0 {
			end = len(rest)
		}
		return name, rest[:end], rest[end:], httpname.IsToken(rest[:end])
	}
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			return name, b.String(), rest[i+1:], true
		case c == '\\' && i+1 < len(rest):
			i++
			b.WriteByte(rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", "", false
}

// unknown is how Forwarded calls a node that is not known by its address (RFC 7239, section 6.2).
const unknown = "unknown"

// appendHop appends an element of Forwarded: the node from which a request came, and how it was asked, where that is told.
func appendHop(b []byte, node, host, proto string) []byte {
	b = append(b, "for="...)
	switch {
	case node == "":
		b = append(b, unknown...)
	case strings.IndexByte(node, ':') >= 0: // section 6: an IPv6 address is in brackets, and quoted
		b = append(append(append(b, `"[`...), node...), `]"`...)
	default:
		b = append(b, node...)
	}
	if host != "" {
		b = append(b, ";host="...)
		if httpname.IsToken(host) {
			b = append(b, host...)
		} else { // a port or brackets; what would end a quoted string is in no host
			b = append(append(append(b, '"'), host...), '"')
		}
	}
	if proto != "" {
		b = append(append(b, ";proto="...), proto...)
	}
	return b
}

// keepForwarded puts into the headers of a request that goes upstream what else a trusted proxy told under X-Forwarded names.
func (g *Gateway) keepForwarded(x *exchange, in *http.Request, h http.Header) {
	if g.trusted == nil {
		return
	}
	if a, _ := peer(in); !g.trusted.trusts(a) {
		return
	}
	for name, values := range x.request.Header {
		if strings.HasPrefix(name, "X-Forwarded-") {
			h[name] = values
		}
	}
}
