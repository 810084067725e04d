package network

import (
	"net/netip"
	"testing"
)

func TestOf(t *testing.T) {
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
		if got := Of(netip.MustParseAddr(address)); got != netip.MustParseAddr(want) {
			t.Errorf("Of(%s) is %s, want %s", address, got, want)
		}
	}
	if got := Of(netip.Addr{}); got.IsValid() {
		t.Errorf("Of no address is %s", got)
	}
}
