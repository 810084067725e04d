package gateway

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"github.com/perdiem/perdiem/answer"
)

// Host is a name, or all names below one, for which a gateway answers.
type Host struct {
	name  string // in lower case, without a final dot; of "*.example.com" it is "example.com"
	port  string // empty: any
	below bool   // not the name itself, but all below it
}

// ParseHost reads a host as it is written in a configuration: api.example.com, api.example.com:8443, *.example.com for
// all names below that one, 192.0.2.1 or [2001:db8::1]. Without a port, it is any port.
func ParseHost(text string) (Host, error) {
	rest, below := strings.CutPrefix(text, "*.")
	name, port, ok := splitHost(rest)
	if !ok || name == "" || below && (strings.HasPrefix(name, "[") || isIPv4(name)) {
		return Host{}, errors.New("must be the name of a host, perhaps with a port, such as api.example.com or *.example.com")
	}
	return Host{name: name, port: port, below: below}, nil
}

// Example returns a host that it is, as a request names it: of all names below one, one of them.
func (h Host) Example() string {
	name := h.name
	if h.below {
		name = "any." + name
	}
	if h.port != "" {
		name += ":" + h.port
	}
	return name
}

// hosts is the set of hosts that a gateway answers for.
type hosts map[Host]bool

func newHosts(list []Host) hosts {
	if len(list) == 0 {
		return nil
	}
	set := make(hosts, len(list))
	for _, h := range list {
		set[h] = true
	}
	return set
}

// answersFor reports whether the gateway answers for a host, as splitHost returns it. A request that names no port means the
// scheme's own.
func (s hosts) answersFor(name, port string, encrypted bool) bool {
	if port == "" {
		port = "80"
		if encrypted {
			port = "443"
		}
	}
	if s[Host{name: name}] || s[Host{name: name, port: port}] {
		return true
	}
	for i := strings.IndexByte(name, '.'); i >= 0; {
		above := name[i+1:]
		if s[Host{name: above, below: true}] || s[Host{name: above, port: port, below: true}] {
			return true
		}
		next := strings.IndexByte(above, '.')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return false
}

// maxHost is the longest name of a host (RFC 1035, section 2.3.4), with room for a port.
const maxHost = 253 + len(":65535")

// splitHost splits what a Host header holds (RFC 9110, section 7.2). The name is in lower case, without a final dot; a literal
// IPv6 address keeps its brackets. ok is false where it is neither a name nor an address, which different readers would take for
// different hosts.
func splitHost(host string) (name, port string, ok bool) {
	if len(host) > maxHost {
		return "", "", false
	}
	name = host
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return "", "", false
		}
		a, err := netip.ParseAddr(host[1:end])
		if err != nil || !a.Is6() || a.Zone() != "" {
			return "", "", false
		}
		name, port = host[:end+1], host[end+1:]
		if port != "" && port[0] != ':' {
			return "", "", false
		}
	} else if i := strings.IndexByte(host, ':'); i >= 0 {
		name, port = host[:i], host[i:]
	}
	if port != "" {
		if port = port[1:]; !isPort(port) {
			return "", "", false
		}
	}
	if !strings.HasPrefix(name, "[") {
		if !isName(name) {
			return "", "", false
		}
		name = strings.TrimSuffix(name, ".")
	}
	return strings.ToLower(name), port, name != "" || host == ""
}

// isName reports whether text has only what names of hosts are made of, the underscore among it, which some internal names have,
// and no empty label but a last one.
func isName(text string) bool {
	label := 0
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_':
			label++
		case c == '.' && label > 0:
			label = 0
		default:
			return false
		}
	}
	return true
}

func isIPv4(name string) bool {
	a, err := netip.ParseAddr(name)
	return err == nil && a.Is4()
}

func isPort(text string) bool {
	if text == "" || len(text) > len("65535") {
		return false
	}
	n := 0
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
		n = 10*n + int(text[i]-'0')
	}
	return 0 < n && n <= 65535
}

// receive looks at what a request is addressed to and where it comes from, before anything else is decided. It reports whether the
// request goes on; if not, it has been answered, and costs nobody anything.
func (g *Gateway) receive(x *exchange, r *http.Request) bool {
	x.request = r
	name, port, ok := splitHost(r.Host)
	if told := r.Header["Host"]; ok && len(told) > 0 { // HTTP/2 can tell it beside :authority (RFC 9113, section 8.3.1)
		ok = len(told) == 1 && strings.EqualFold(told[0], r.Host)
	}
	if !ok {
		g.reject(x, http.StatusBadRequest, "The Host header is malformed.")
		return false
	}
	if g.cors != nil {
		x.allowed = g.cors.allows(r.Header)
	}
	if g.hosts != nil && !g.hosts.answersFor(name, port, r.TLS != nil) {
		g.reject(x, http.StatusMisdirectedRequest, "This gateway does not answer for the host that the request names.")
		return false
	}
	if g.cors != nil && isPreflight(r) {
		g.answerPreflight(x, r)
		return false
	}
	return true
}

// reject answers a request that is not even decided.
func (g *Gateway) reject(x *exchange, status int, detail string) {
	x.observation.Outcome = Rejected
	g.write(x, func(h http.Header, body []byte) (int, []byte) { return answer.Problem(h, body, status, detail) })
}
