package gateway_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func prefixes(t testing.TB, texts ...string) (list []netip.Prefix) {
	t.Helper()
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		must(t, err)
		list = append(list, p)
	}
	return list
}

// TestForwarded tells an upstream on which way a request came.
func TestForwarded(t *testing.T) {
	long := strings.Repeat("10.1.1.1, ", 5000) + "10.1.1.2"
	trusted := []string{"127.0.0.0/8", "10.0.0.0/8", "fd00::/8"}
	for _, test := range []struct {
		name    string
		trusted []string
		sent    []string // "|" ends a line
		want    map[string]string
	}{
		{"nobody is trusted", nil, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Forwarded-Port: 1", "Forwarded: for=1.1.1.1", "X-Real-IP: 1.1.1.1"}, map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http", "Forwarded": "for=127.0.0.1;host=api.example;proto=http",
		}},
		{"others are trusted", []string{"10.0.0.0/8"}, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Forwarded-Port: 1", "Forwarded: for=1.1.1.1"}, map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http", "Forwarded": "for=127.0.0.1;host=api.example;proto=http",
			"X-Real-Ip": "127.0.0.1",
		}},
		{"the proxy says nothing", trusted, nil, map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http", "Forwarded": "for=127.0.0.1;host=api.example;proto=http",
			"X-Real-Ip": "127.0.0.1",
		}},
		{"a client behind a proxy", trusted, []string{"X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: HTTPS", "X-Forwarded-Host: shop.example:8443", "X-Forwarded-Port: 8443", "X_Forwarded_Prefix: forged"}, map[string]string{
			"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Host": "shop.example:8443", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "8443",
			"Forwarded": `for=203.0.113.7;host="shop.example:8443";proto=https, for=127.0.0.1;host=api.example;proto=http`, "X-Real-Ip": "203.0.113.7",
		}},
		{"what the client forged is not the client", trusted, []string{"X-Forwarded-For: 6.6.6.6 , 203.0.113.7:1234,,10.9.9.9", "X-Forwarded-For: [fd00::1]:5"}, map[string]string{
			"X-Forwarded-For": "6.6.6.6, 203.0.113.7, 10.9.9.9, fd00::1, 127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http",
			"Forwarded": `for=6.6.6.6, for=203.0.113.7, for=10.9.9.9, for="[fd00::1]", for=127.0.0.1;host=api.example;proto=http`, "X-Real-Ip": "203.0.113.7",
		}},
		{"all are trusted", trusted, []string{"X-Forwarded-For: 10.0.0.1, ::ffff:10.0.0.2"}, map[string]string{
			"X-Forwarded-For": "10.0.0.1, 10.0.0.2, 127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http",
			"Forwarded": "for=10.0.0.1, for=10.0.0.2, for=127.0.0.1;host=api.example;proto=http", "X-Real-Ip": "10.0.0.1",
		}},
		{"nonsense hides what is behind it", trusted, []string{"X-Forwarded-For: 203.0.113.7, <script>, 10.0.0.2", "X-Forwarded-Proto: gopher", "X-Forwarded-Host: a/b"}, map[string]string{
			"X-Forwarded-For": "203.0.113.7, unknown, 10.0.0.2, 127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http",
			"Forwarded": "for=203.0.113.7, for=unknown, for=10.0.0.2, for=127.0.0.1;host=api.example;proto=http", "X-Real-Ip": "10.0.0.2",
		}},
		{"the proxy told the nearest last", trusted, []string{"X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: http, https", "X-Forwarded-Host: evil, [2001:db8::1]"}, map[string]string{
			"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Host": "[2001:db8::1]", "X-Forwarded-Proto": "https",
			"Forwarded": `for=203.0.113.7;host="[2001:db8::1]";proto=https, for=127.0.0.1;host=api.example;proto=http`, "X-Real-Ip": "203.0.113.7",
		}},
		{"Forwarded alone", trusted, []string{`Forwarded: For="[2001:DB8::7]:4711";Proto=HTTPS;by=_x, for=10.0.0.1;host="in\ternal"`, `Forwarded: for=10.0.0.2`}, map[string]string{
			"X-Forwarded-For": "2001:db8::7, 10.0.0.1, 10.0.0.2, 127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "https",
			"Forwarded": `for="[2001:db8::7]";proto=https, for=10.0.0.1, for=10.0.0.2, for=127.0.0.1;host=api.example;proto=http`, "X-Real-Ip": "2001:db8::7",
		}},
		{"Forwarded of a hidden client", trusted, []string{`Forwarded: for=_hidden;host=shop.example, for=unknown;proto=https;host=inner.example`}, map[string]string{
			"X-Forwarded-For": "unknown, unknown, 127.0.0.1", "X-Forwarded-Host": "inner.example", "X-Forwarded-Proto": "https",
			"Forwarded": `for=unknown, for=unknown, for=127.0.0.1;host=inner.example;proto=https`, "X-Real-Ip": "127.0.0.1",
		}},
		{"Forwarded beside X-Forwarded-For", trusted, []string{"X-Forwarded-For: 203.0.113.7", "Forwarded: for=6.6.6.6;proto=https;host=evil"}, map[string]string{
			"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http",
			"Forwarded": "for=203.0.113.7, for=127.0.0.1;host=api.example;proto=http", "X-Real-Ip": "203.0.113.7",
		}},
		{"Forwarded that is malformed", trusted, []string{`Forwarded: for="203.0.113.7;proto=https`}, map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http",
			"Forwarded": "for=127.0.0.1;host=api.example;proto=http", "X-Real-Ip": "127.0.0.1",
		}},
		{"a long chain", trusted, []string{"X-Forwarded-For: " + long}, map[string]string{
			"X-Forwarded-For": strings.Repeat("10.1.1.1, ", 63) + "10.1.1.2, 127.0.0.1", "X-Forwarded-Host": "api.example", "X-Forwarded-Proto": "http",
			"Forwarded": strings.Repeat("for=10.1.1.1, ", 63) + "for=10.1.1.2, for=127.0.0.1;host=api.example;proto=http", "X-Real-Ip": "10.1.1.1",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, func(c *setup) { c.options.TrustedProxies = prefixes(t, test.trusted...) })
			if got := s.raw("GET /rest/posts/1 HTTP/1.1", test.sent...); got.StatusCode != 200 {
				t.Fatalf("%d %s", got.StatusCode, got.body)
			}
			told := map[string]string{}
			for name, values := range s.upstream.last(t).Header {
				if !strings.HasPrefix(name, "X-Perdiem-") {
					told[name] = strings.Join(values, "|")
				}
			}
			if diff := cmp.Diff(test.want, told); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestIdentityOfTrustedProxies shows that whom a proxy is trusted to speak for does not identify anybody: that is for the TCP peer to say.
func TestIdentityOfTrustedProxies(t *testing.T) {
	s := start(t, func(c *setup) { c.options.TrustedProxies = prefixes(t, "127.0.0.0/8") })
	if got := s.raw("GET /rest/posts/1 HTTP/1.1", "X-Forwarded-For: 203.0.113.7"); got.StatusCode != 200 {
		t.Errorf("a believed peer's headers: %d", got.StatusCode)
	}
}
