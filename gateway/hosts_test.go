package gateway_test

import (
	"strings"
	"testing"

	"github.com/perdiem/perdiem/gateway"
)

func hostsOf(t testing.TB, texts ...string) func(*setup) {
	t.Helper()
	var list []gateway.Host
	for _, text := range texts {
		h, err := gateway.ParseHost(text)
		must(t, err)
		list = append(list, h)
	}
	return func(c *setup) { c.options.Hosts = list }
}

func TestHosts(t *testing.T) {
	s := start(t, hostsOf(t, "api.example", "Ported.example:8443", "*.wild.example", "*.odd.example:81", "[2001:db8::1]", "192.0.2.1", "plain.example:80"))
	want := map[string]int{
		"api.example": 200, "API.Example": 200, "api.example:1": 200, "api.example.": 200, "api.example.:80": 200,
		"ported.example:8443": 200, "ported.example": 421, "ported.example:443": 421,
		"a.wild.example": 200, "a.b.wild.example:9": 200, "wild.example": 421, "awild.example": 421, ".wild.example": 400,
		"a.odd.example:81": 200, "a.odd.example": 421, "plain.example": 200, "plain.example:443": 421,
		"[2001:db8::1]": 200, "[2001:db8::1]:8443": 200, "[2001:db8::2]": 421, "192.0.2.1:80": 200, "192.0.2.2": 421,
		"other.example": 421, "api.example.evil": 421, "example": 421, "xapi.example": 421, "": 421,
		"api.example:x": 400, "api.example:": 400, "api.example:0": 400, "api.example:65536": 400, "a:b:c": 400, "user@api.example": 400, "[::1": 400, "[::1]x": 400,
		"[fe80::1%25eth0]": 400, "::1": 400, "api..example": 400, "api.example,api.example": 400, ":80": 400, ".": 400, "[127.0.0.1]": 400, "ap%69.example": 400,
		strings.Repeat("a", 300): 400,
	}
	charged := int64(0)
	for host, status := range want {
		w := s.dial()
		w.send("GET /rest/posts/1 HTTP/1.1\r\nHost: " + host + "\r\nX-App-Id: acme\r\nConnection: close\r\n\r\n")
		got := w.reply()
		if got.StatusCode != status {
			t.Errorf("Host %q: %d, want %d", host, got.StatusCode, status)
		}
		switch code := `"code":"MISDIRECTED_REQUEST"`; {
		case status == 200:
			charged++
		case status == 421 && !strings.Contains(got.body, code):
			t.Errorf("%s", got.body)
		}
	}
	if u := s.used("posts.get"); u.Used != charged || s.upstream.count() != int(charged) {
		t.Errorf("used %+v, want %d; %d at the upstream", u, charged, s.upstream.count())
	}
	// Without a list any host will do, and a malformed one will not.
	s = start(t)
	for host, status := range map[string]int{"other.example": 200, "under_score": 200, "": 200, "a:b:c": 400, "user@a": 400} {
		w := s.dial()
		w.send("GET /rest/posts/1 HTTP/1.1\r\nHost: " + host + "\r\nX-App-Id: acme\r\nConnection: close\r\n\r\n")
		if got := w.reply(); got.StatusCode != status {
			t.Errorf("Host %q: %d, want %d", host, got.StatusCode, status)
		}
	}
	for _, text := range []string{"", "*", "*.", "*.*.x", "a b", "https://a", "a/", "a:0", "*.[::1]", "*.10.0.0.1", "a:99999", "[::1"} {
		if _, err := gateway.ParseHost(text); err == nil {
			t.Errorf("%q is taken for a host", text)
		}
	}
}

// TestHostsOverTLS shows that a request without a port means the scheme's own.
func TestHostsOverTLS(t *testing.T) {
	by, files, _ := encrypted(t)
	s := start(t, by, hostsOf(t, "a.example:443", "b.example:80"))
	for _, http2 := range []bool{false, true} {
		client := tlsClient(t, files.roots(), http2)
		for host, status := range map[string]int{"a.example": 200, "a.example:443": 200, "b.example": 421, "b.example:80": 200} {
			if got, err := ask(client, "GET", "https://"+s.address+"/rest/posts/1", nil, "Host", host); err != nil || got.StatusCode != status {
				t.Errorf("%s: %d %v, want %d", host, got.StatusCode, err, status)
			}
		}
	}
}

func TestHostExample(t *testing.T) {
	for text, want := range map[string]string{
		"API.example": "api.example", "api.example:8443": "api.example:8443", "*.wild.example": "any.wild.example", "*.odd.example:81": "any.odd.example:81",
		"[2001:db8::1]:1": "[2001:db8::1]:1", "192.0.2.1": "192.0.2.1",
	} {
		h, err := gateway.ParseHost(text)
		must(t, err)
		if got := h.Example(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
