package netaddr

import (
	"net/netip"
	"testing"
)

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.9.10": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "localhost.example": false, "[::1]": false, "fe80::1%lo": false,
	} {
		if IsLoopback(host) != want {
			t.Errorf("%q: %t", host, !want)
		}
	}
}

func TestIn(t *testing.T) {
	ranges := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("192.0.2.1/32")}
	for address, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "fe80::1%eth0": true, "192.0.2.1": true,
		"11.1.2.3": false, "192.0.2.2": false, "::1": false, "2001:db8::1": false,
	} {
		if In(ranges, netip.MustParseAddr(address)) != want {
			t.Errorf("%s: %t", address, !want)
		}
	}
	if In(nil, netip.MustParseAddr("10.0.0.1")) || In(ranges, netip.Addr{}) {
		t.Error("no ranges, or no address, match")
	}
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"::ffff:192.0.2.1":     "192.0.2.1",
		"2001:db8::1":          "2001:db8::",
		"2001:db8:0:0:f::1":    "2001:db8::",
		"2001:db8:0:1::1":      "2001:db8:0:1::",
		"fe80::1%eth0":         "fe80::",
		"::1":                  "::",
		"::ffff:192.0.2.1%lo0": "192.0.2.1",
	} {
		if got := Network(netip.MustParseAddr(address)); got != netip.MustParseAddr(want) {
			t.Errorf("Network(%s) is %s, want %s", address, got, want)
		}
	}
	if got := Network(netip.Addr{}); got.IsValid() {
		t.Errorf("Network of no address is %s", got)
	}
}
