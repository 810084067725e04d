package gateway

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// FuzzForwarded reads what a trusted proxy may have sent: what is written of it is read again as the same, is bounded, and has nothing in it that
// would end a header or a quoted string.
func FuzzForwarded(f *testing.F) {
	for _, text := range []string{
		"for=192.0.2.1", `for="[2001:db8::1]:80";host="a:1";proto=https, for=unknown`, `for="`, `for=a;;for=b`, `,`, `for="\"\\"`, "for=1.1.1.1 ; by=x , for=_x", strings.Repeat("for=1.1.1.1,", 100) + "for=1.1.1.1",
	} {
		f.Add(text, "203.0.113.7, ::1, x")
	}
	g := &Gateway{trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	f.Fuzz(func(t *testing.T, forwarded, chain string) {
		for _, h := range []map[string][]string{
			{"Forwarded": {forwarded}}, {"X-Forwarded-For": {chain}}, {"X-Forwarded-For": {chain, forwarded}, "X-Forwarded-Host": {forwarded}, "X-Forwarded-Proto": {chain}},
		} {
			hops, host, proto := g.trusted.believe(h)
			if len(hops) > maxHops || host != "" && !isHost(host) || proto != "" && !isProto(proto) {
				t.Fatalf("%q: %d hops, host %q, proto %q", h, len(hops), host, proto)
			}
			client := g.trusted.client(hops)
			if client < 0 || client > len(hops) || client < len(hops) && !hops[client].IsValid() {
				t.Fatalf("%q: the client is %d of %v", h, client, hops)
			}
			var written []byte
			for i, hop := range hops {
				text := unknown
				if hop.IsValid() {
					text = hop.String()
				}
				if i > 0 {
					written = append(written, ", "...)
				}
				written = appendHop(written, text, host, proto)
			}
			if len(hops) == 0 {
				continue
			}
			again := parseForwarded([]string{string(written)})
			if len(again) != len(hops) {
				t.Fatalf("%q is read as %v, written as %s", h, hops, written)
			}
			for i, e := range again {
				if e.node != hops[i] || e.host != host || e.proto != proto {
					t.Fatalf("%q is read as %v, written as %s", h, hops, written)
				}
			}
		}
	})
}

// FuzzHost checks that what is taken for a host has one meaning: a name or an address and a port, which make the same host again.
func FuzzHost(f *testing.F) {
	for _, text := range []string{"api.example", "API.example.:8443", "[2001:db8::1]:1", "a_b", "[::ffff:1.2.3.4]", "a:b:c", "user@a", "[", "a..b", "%61", ":80"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, port, ok := splitHost(text)
		if !ok {
			return
		}
		if strings.ContainsAny(name+port, "@/\\?#%,;\" \t\r\n\x00") || name != strings.ToLower(name) || strings.HasSuffix(name, ".") || strings.Contains(port, ":") {
			t.Errorf("%q is %q and %q", text, name, port)
		}
		again := name
		if port != "" {
			again += ":" + port
		}
		if sameName, samePort, ok := splitHost(again); !ok || sameName != name || samePort != port {
			t.Errorf("%q is %q and %q, which is %q and %q", text, name, port, sameName, samePort)
		}
	})
}

// TestClient shows whose address a request is held to have come from.
func TestClient(t *testing.T) {
	proxies := Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct{ peer, chain, want string }{
		{"203.0.113.7:1", "198.51.100.1", "203.0.113.7"}, // no proxy
		{"10.0.0.1:1", "198.51.100.1, 203.0.113.7", "203.0.113.7"},
		{"10.0.0.1:1", "203.0.113.7, 10.0.0.2", "203.0.113.7"},
		{"10.0.0.1:1", "203.0.113.7, nonsense", "10.0.0.1"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"[::ffff:10.0.0.1]:1", "2001:db8::1", "2001:db8::1"},
		{"@", "203.0.113.7", "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
		if c.chain != "" {
			r.Header.Set("X-Forwarded-For", c.chain)
		}
		if got := proxies.Client(r).String(); got != c.want {
			t.Errorf("%s, told %q: %s, want %s", c.peer, c.chain, got, c.want)
		}
	}
}
