package notify

import (
	"fmt"
	"net/netip"
	"syscall"
)

// reach says which addresses webhooks may be sent to: those of the public internet, and those that the operator allows besides. Whoever may set a
// webhook would otherwise have perdiem ask what only it can reach: its own listeners, neighbours, a cloud's metadata service.
type reach struct {
	allowed []netip.Prefix
}

// public are the ranges of addresses that the internet routes, as the registries of special-purpose addresses leave them
// (https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry; of IPv6 only 2000::/3 is given out).
var (
	publicIPv6 = netip.MustParsePrefix("2000::/3")
	nat64      = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: the last four bytes are an IPv4 address
	special    = prefixes(
		"0.0.0.0/8",         // this network; 0.0.0.0 reaches the machine itself
		"10.0.0.0/8",        // private
		"100.64.0.0/10",     // shared by carriers' customers
		"127.0.0.0/8",       // loopback
		"169.254.0.0/16",    // link-local, metadata services
		"172.16.0.0/12",     // private
		"192.0.0.0/24",      // protocol assignments
		"192.0.2.0/24",      // documentation
		"192.31.196.0/24",   // AS112
		"192.52.193.0/24",   // AMT
		"192.88.99.0/24",    // 6to4 relays
		"192.168.0.0/16",    // private
		"192.175.48.0/24",   // AS112
		"198.18.0.0/15",     // benchmarks
		"198.51.100.0/24",   // documentation
		"203.0.113.0/24",    // documentation
		"224.0.0.0/4",       // multicast
		"240.0.0.0/4",       // reserved, broadcast
		"2001::/23",         // protocol assignments: Teredo embeds IPv4 addresses
		"2001:db8::/32",     // documentation
		"2002::/16",         // 6to4 embeds IPv4 addresses
		"2620:4f:8000::/48", // AS112
		"3fff::/20",         // documentation
	)
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// may reports whether webhooks may be sent to an address.
func (r reach) may(a netip.Addr) bool {
	if a = a.Unmap(); nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if a.Zone() != "" {
		return false
	}
	for _, p := range r.allowed {
		if p.Contains(a) {
			return true
		}
	}
	if a.Is6() && !publicIPv6.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsValid()
}

// control refuses a connection to an address that may not be reached. It is asked with the very address that is connected to, after names were
// looked up, so that no name can say one thing first and another later.
func (r reach) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !r.may(to.Addr()) {
		return fmt.Errorf("%s is %w", address, errNotPublic)
	}
	return nil
}
