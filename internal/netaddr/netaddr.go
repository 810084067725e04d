// Package netaddr answers questions about network addresses, however they are written.
package netaddr

import (
	"net/netip"
	"slices"
)

// IsLoopback reports whether a host, a name or an address without brackets, is this machine as only it can reach itself. Of names it knows localhost alone.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// In reports whether an address is in one of several ranges. An IPv4 client of a listener for both versions is of IPv4, and the interface of a link-local
// address does not matter.
func In(ranges []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Network returns what an address is counted as, where somebody could have many: an IPv4 address as itself, also in its IPv6 form, and an IPv6 address as
// its network of 64 bits, which is what one customer gets at the least (RFC 6177). The zero Addr is counted as itself.
func Network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	return netip.PrefixFrom(a, 64).Masked().Addr()
}
