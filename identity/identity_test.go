package identity

import (
	"bufio"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/fault"
)

// request returns what net/http makes of a request with the given header lines, so that names are spelt as it spells them.
func request(t testing.TB, peer string, lines ...string) Request {
	t.Helper()
	raw := "GET /rest/posts HTTP/1.1\r\nHost: api.example\r\n"
	for _, line := range lines {
		raw += line + "\r\n"
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw + "\r\n")))
	if err != nil {
		t.Fatalf("the request is not even HTTP: %v", err)
	}
	var addr netip.Addr
	if peer != "" {
		addr = netip.MustParseAddr(peer)
	}
	return Request{Header: r.Header, Peer: addr}
}

func newHeaders(t testing.TB) *Headers {
	t.Helper()
	h, err := NewHeaders(HeaderOptions{
		Application: "x-app-id", Member: "X-Member-ID",
		From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fe80::/10")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHeaders(t *testing.T) {
	chain := New(newHeaders(t))
	for _, test := range []struct {
		name  string
		peer  string
		lines []string
		want  Caller
		kind  fault.Kind // where want is zero
	}{
		{"an application", "127.0.0.1", []string{"X-App-Id: acme"}, Caller{Application: "acme"}, 0},
		{"an application and a member", "127.0.0.1", []string{"X-App-Id: acme", "X-Member-Id: m-1"}, Caller{Application: "acme", Member: "m-1"}, 0},
		{"names in any case", "127.0.0.1", []string{"x-APP-id: acme", "X-MEMBER-ID: m-1"}, Caller{Application: "acme", Member: "m-1"}, 0},
		{"an IPv4 peer as IPv6 writes it", "::ffff:127.0.0.1", []string{"X-App-Id: acme"}, Caller{Application: "acme"}, 0},
		{"a link-local peer with its interface", "fe80::1%eth0", []string{"X-App-Id: acme"}, Caller{Application: "acme"}, 0},
		{"a member that is the application", "127.0.0.1", []string{"X-App-Id: acme", "X-Member-Id: acme"}, Caller{Application: "acme"}, 0},
		{"an untrusted peer", "10.0.0.1", []string{"X-App-Id: acme"}, Caller{}, fault.Unauthorized},
		{"no peer", "", []string{"X-App-Id: acme"}, Caller{}, fault.Unauthorized},
		{"nothing", "127.0.0.1", nil, Caller{}, fault.Unauthorized},
		{"a member without an application", "127.0.0.1", []string{"X-Member-Id: m-1"}, Caller{}, fault.Unauthorized},
		{"names spelt with _", "127.0.0.1", []string{"X_App_Id: acme", "X-Member_Id: m-1"}, Caller{}, fault.Unauthorized},
		{"a name spelt with _ beside the right one", "127.0.0.1", []string{"X-App-Id: acme", "X_App_Id: beta"}, Caller{Application: "acme"}, 0},
		{"an application of 0 bytes", "127.0.0.1", []string{"X-App-Id:"}, Caller{}, fault.Invalid},
		{"an application twice, the same", "127.0.0.1", []string{"X-App-Id: acme", "x-app-id:  acme "}, Caller{Application: "acme"}, 0},
		{"an application twice, different", "127.0.0.1", []string{"X-App-Id: acme", "x-app-id: beta"}, Caller{}, fault.Invalid},
		{"an application twice, once empty", "127.0.0.1", []string{"X-App-Id: acme", "X-App-Id:"}, Caller{}, fault.Invalid},
		{"a member twice, the same", "127.0.0.1", []string{"X-App-Id: acme", "X-Member-Id: m", "X-Member-Id: m"}, Caller{Application: "acme", Member: "m"}, 0},
		{"a member twice, different", "127.0.0.1", []string{"X-App-Id: acme", "X-Member-Id: m", "X-Member-Id: n"}, Caller{}, fault.Invalid},
		{"two members in one line are one id", "127.0.0.1", []string{"X-App-Id: acme", "X-Member-Id: m, n"}, Caller{Application: "acme", Member: "m, n"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := chain.Identify(t.Context(), request(t, test.peer, test.lines...))
			if got != test.want || (err == nil) != (test.want != Caller{}) || err != nil && fault.KindOf(err) != test.kind {
				t.Errorf("got %+v, %v; want %+v or an error of kind %q", got, err, test.want, test.kind)
			}
		})
	}
}

// TestMemberIDs has a proxy send what no HTTP parser would let through, too: the rule must hold by itself.
func TestMemberIDs(t *testing.T) {
	headers := newHeaders(t)
	for _, test := range []struct {
		name string
		id   string
		ok   bool
	}{
		{"0 bytes", "", false},
		{"1 byte", "m", true},
		{"256 bytes", strings.Repeat("m", 256), true},
		{"257 bytes", strings.Repeat("m", 257), false},
		{"256 bytes of two-byte characters", strings.Repeat("é", 128), true},
		{"258 bytes of two-byte characters", strings.Repeat("é", 129), false},
		{"1 KiB", strings.Repeat("m", 1024), false},
		{"NUL", "m\x00n", false},
		{"a newline", "m\nn", false},
		{"a carriage return", "m\r", false},
		{"a tab", "m\tn", false},
		{"DEL", "m\x7f", false},
		{"a control character of two bytes", "m\u0085", false},
		{"a slash", "urn/li/1", true},
		{"a colon", "urn:li:person:1", true},
		{"a space", "m n", true},
		{"not UTF-8", "m\xff", false},
		{"half a character", "m\xc3", false},
		{"an overlong slash", "m\xc0\xaf", false},
		{"a surrogate", "m\xed\xa0\x80", false},
		{"an astral character", "m😀", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			peer := netip.MustParseAddr("127.0.0.1")
			for _, which := range []string{"X-App-Id", "X-Member-Id"} {
				h := http.Header{"X-App-Id": {"acme"}}
				h[which] = []string{test.id}
				_, found, err := headers.Identify(t.Context(), Request{Header: h, Peer: peer})
				if found != test.ok || err == nil != test.ok || !test.ok && fault.KindOf(err) != fault.Invalid {
					t.Errorf("%s: found %t, %v; want %t or an error of kind %q", which, found, err, test.ok, fault.Invalid)
				}
			}
		})
	}
}

func TestHeaderOptions(t *testing.T) {
	from := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, test := range []struct {
		name    string
		options HeaderOptions
		want    []string // in the error; none: no error
	}{
		{"both headers", HeaderOptions{"X-App-Id", "X-Member-Id", from}, nil},
		{"no member's", HeaderOptions{"X-App-Id", "", from}, nil},
		{"nothing", HeaderOptions{}, []string{"headers.application", "headers.from"}},
		{"no names", HeaderOptions{"X App", "X:Member", from}, []string{"headers.application", "headers.member"}},
		{"a control character", HeaderOptions{"X-App\r\n", "", from}, []string{"headers.application"}},
		{"one header for both", HeaderOptions{"X-App-Id", "x_app_id", from}, []string{"headers.member"}},
		{"Authorization", HeaderOptions{"authorization", "", from}, []string{"Authorization"}},
		{"no range", HeaderOptions{"X-App-Id", "", []netip.Prefix{{}}}, []string{"headers.from"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewHeaders(test.options)
			if (err == nil) != (len(test.want) == 0) {
				t.Fatalf("error %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %s", err, want)
				}
			}
		})
	}
}

func TestStrip(t *testing.T) {
	secret, _ := testKey.NewToken()
	tokens, err := NewTokens(TokenOptions{Registry: newRegistry(t), Key: testKey, Header: "X-Api-Key"})
	if err != nil {
		t.Fatal(err)
	}
	chain := New(tokens, newHeaders(t))
	jwt := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtLTEifQ.pdm_c2ln"
	for _, test := range []struct {
		name  string
		lines []string
		keep  []string // of lines
	}{
		{"what is nobody's business", []string{"Accept: text/html", "X-App: a", "X-App-Ids: b", "Cookie: c=d"}, []string{"Accept: text/html", "X-App: a", "X-App-Ids: b", "Cookie: c=d"}},
		{"identity headers", []string{"X-App-Id: acme", "X-Member-Id: m", "X-Member-Id: n", "Accept: a"}, []string{"Accept: a"}},
		{"identity headers in other spellings", []string{"X_App_Id: acme", "x_app-id: acme", "X-APP_ID: acme", "x_MEMBER_id: m", "X_Api_Key: k"}, nil},
		{"a token", []string{"Authorization: Bearer " + secret}, nil},
		{"a token in another case", []string{"authorization: bEARER " + secret}, nil},
		{"a token twice", []string{"Authorization: Bearer " + secret, "Authorization: Bearer " + secret}, nil},
		{"a token with a scheme that is none", []string{"Authorization: Token " + secret}, nil},
		{"a token without a scheme", []string{"Authorization: " + secret}, nil},
		{"a garbled token", []string{"Authorization: Bearer  " + secret + ", Bearer x"}, nil},
		{"a token behind the end of a longer word", []string{"Authorization: Bearer x" + TokenPrefix + " " + secret}, nil},
		{"a token as a parameter", []string{`Authorization: Digest key="` + secret + `"`}, nil},
		{"a key", []string{"X-Api-Key: " + secret}, nil},
		{"a JWT", []string{"Authorization: Bearer " + jwt}, []string{"Authorization: Bearer " + jwt}},
		{"a password for the upstream", []string{"Authorization: Basic dTpw", "X-Api-Key: " + secret}, []string{"Authorization: Basic dTpw"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := request(t, "10.0.0.1", test.lines...).Header
			chain.Strip(got)
			if diff := cmp.Diff(request(t, "10.0.0.1", test.keep...).Header, got); diff != "" {
				t.Errorf("what is left (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOrder has two sources that both find something.
func TestOrder(t *testing.T) {
	registry := newRegistry(t)
	secret := issue(t, registry, "beta", "m-2")
	unknown, _ := testKey.NewToken()
	tokens := newTokens(t, registry)
	headers := newHeaders(t)
	both := []string{"Authorization: Bearer " + secret, "X-App-Id: acme"}
	rejected := []string{"Authorization: Bearer " + unknown, "X-App-Id: acme"}
	foreign := []string{"Authorization: Basic dTpw", "X-App-Id: acme"}
	for _, test := range []struct {
		name  string
		chain *Chain
		lines []string
		want  string // the application; empty: Unauthorized
	}{
		{"tokens first", New(tokens, headers), both, "beta"},
		{"headers first", New(headers, tokens), both, "acme"},
		{"a rejected token ends the search", New(tokens, headers), rejected, ""},
		{"a rejected token that nobody reaches", New(headers, tokens), rejected, "acme"},
		{"another's credential is passed over", New(tokens, headers), foreign, "acme"},
		{"no sources", New(), both, ""},
		{"nothing, where tokens are taken", New(headers, tokens), nil, ""},
		{"nothing, where they are not", New(headers), nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			caller, err := test.chain.Identify(t.Context(), request(t, "127.0.0.1", test.lines...))
			if caller.Application != test.want || (err == nil) != (test.want != "") || err != nil && fault.KindOf(err) != fault.Unauthorized {
				t.Errorf("got %+v, %v; want %q", caller, err, test.want)
			}
			if test.lines == nil && strings.Contains(err.Error(), "Bearer") != (len(test.chain.sources) > 1) {
				t.Errorf("it is told %q", err)
			}
		})
	}
}
