// Package network says which addresses are counted as one, where somebody could have many.
package network

import "net/netip"

// Of returns what an address is counted as: an IPv4 address as itself, also in its IPv6 form, and an IPv6 address as its network of 64 bits, which
// is what one customer gets at the least (RFC 6177). The zero Addr is counted as itself.
func Of(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	return netip.PrefixFrom(a, 64).Masked().Addr()
}
