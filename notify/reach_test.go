package notify

import (
	"net/netip"
	"testing"
)

func TestReach(t *testing.T) {
	allowed := reach{prefixes("10.1.0.0/16", "fd00::/8")}
	for _, test := range []struct {
		address               string
		everybody, configured bool
	}{
		{"1.1.1.1", true, true},
		{"::ffff:1.1.1.1", true, true},
		{"2606:4700:4700::1111", true, true},
		{"64:ff9b::1.1.1.1", true, true},
		{"10.1.2.3", false, true},
		{"::ffff:10.1.2.3", false, true},
		{"64:ff9b::10.1.2.3", false, true},
		{"fd00::1", false, true},
		{"10.2.0.1", false, false},
		{"::ffff:10.0.0.1", false, false},
		{"64:ff9b::10.0.0.1", false, false},
		{"64:ff9b::127.0.0.1", false, false},
		{"64:ff9b:1::1.1.1.1", false, false},
		{"127.0.0.1", false, false},
		{"127.255.255.254", false, false},
		{"0.0.0.0", false, false},
		{"0.1.2.3", false, false},
		{"169.254.169.254", false, false},
		{"100.64.0.1", false, false},
		{"100.127.255.255", false, false},
		{"100.128.0.1", true, true},
		{"172.16.0.1", false, false},
		{"172.31.255.255", false, false},
		{"172.32.0.1", true, true},
		{"192.168.1.1", false, false},
		{"192.0.0.8", false, false},
		{"192.0.2.1", false, false},
		{"198.19.0.1", false, false},
		{"198.51.100.1", false, false},
		{"203.0.113.1", false, false},
		{"224.0.0.1", false, false},
		{"239.255.255.255", false, false},
		{"240.0.0.1", false, false},
		{"255.255.255.255", false, false},
		{"::", false, false},
		{"::1", false, false},
		{"::ffff:127.0.0.1", false, false},
		{"::7f00:1", false, false}, // IPv4-compatible
		{"fe80::1", false, false},
		{"fe80::1%eth0", false, false},
		{"2606:4700:4700::1111%eth0", false, false},
		{"fec0::1", false, false},
		{"fc00::1", false, false},
		{"ff02::1", false, false},
		{"2002:7f00:1::", false, false},   // 6to4 of 127.0.0.1
		{"2001:0:7f00:1::", false, false}, // Teredo
		{"2001:db8::1", false, false},
		{"3fff::1", false, false},
		{"100::1", false, false},
		{"5f00::1", false, false},
		{"4000::1", false, false},
	} {
		a := netip.MustParseAddr(test.address)
		if got := (reach{}).may(a); got != test.everybody {
			t.Errorf("%s may be reached: %t", a, got)
		}
		if got := allowed.may(a); got != test.configured {
			t.Errorf("%s may be reached where others are allowed: %t", a, got)
		}
	}
	if (reach{}).may(netip.Addr{}) {
		t.Error("no address may be reached")
	}
	for _, address := range []string{"", "1.1.1.1", "localhost:80", "127.0.0.1:80", "[::ffff:10.0.0.1]:443"} {
		if (reach{}).control("tcp", address, nil) == nil {
			t.Errorf("%q may be dialled", address)
		}
	}
	if err := (reach{}).control("tcp", "1.1.1.1:443", nil); err != nil {
		t.Error(err)
	}
}
