package gateway

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/perdiem/perdiem/internal/network"
)

// Connections are how many connections clients may have at a time. A field that is 0 is its default.
type Connections struct {
	// Total is how many all clients together may have, trusted proxies apart, so that strangers cannot shut these out: 20,000.
	Total int
	// PerAddress is how many may come from an address, of IPv6 from a network of 64 bits; trusted proxies may have any number: 2,000.
	PerAddress int
}

// DefaultConnections returns what holds where nothing else is told.
func DefaultConnections() Connections { return Connections{Total: 20_000, PerAddress: 2_000} }

func (c Connections) orDefaults() Connections {
	unless := DefaultConnections()
	return Connections{Total: cmp.Or(c.Total, unless.Total), PerAddress: cmp.Or(c.PerAddress, unless.PerAddress)}
}

// Headers cost the processor more than anything else that is read before a request can be decided. So an address has a pace for those
// that are long: what a request's are longer than freeHeaders is counted, and who brings more of that than headersPerSecond, and
// headerBurst at once, is read from no faster. A connection that would have to wait for longer than mostDebt takes is closed: those that wait hold
// what the system has received of them. Requests with ordinary headers, and bodies, have no pace, whoever else comes from their address.
const (
	freeHeaders      = 8 << 10 // bytes
	headersPerSecond = 1 << 20
	headerBurst      = 4 << 20
	mostDebt         = 1 << 20
)

var (
	errTooMany        = errors.New("there are as many as connections.total allows")
	errTooManyOfThese = errors.New("as many come from its address as connections.per_address allows")
	// errFlood is one of reading, so that net/http closes the connection without a word.
	errFlood = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("its address floods with long headers")}
)

// addresses know where connections come from. An address is remembered while it has connections, or has brought more than its pace allows.
type addresses struct {
	limits Connections
	trusts func(netip.Addr) bool

	mu   sync.Mutex
	open int                     // guarded by mu
	of   map[netip.Addr]*address // guarded by mu
}

// address is one of them.
type address struct {
	open int       // guarded by addresses.mu
	paid time.Time // guarded by addresses.mu: when the long headers that it has brought are paid for
	owes bool      // guarded by addresses.mu: a timer will look whether it is to be forgotten
}

// place is a connection's. The zero place is none, and everything may be done to it.
type place struct {
	in   *addresses
	at   netip.Addr
	here *address // nil: of no address; it is only counted
}

// enter makes a place for a connection from an address; a trusted proxy's needs none. The error says why there is none.
func (a *addresses) enter(from net.Addr) (place, error) {
	p := place{in: a}
	if tcp, ok := from.(*net.TCPAddr); ok {
		p.at = tcp.AddrPort().Addr().Unmap()
	}
	bounded := p.at.IsValid()
	if bounded && a.trusts(p.at) {
		return place{}, nil
	}
	p.at = network.Of(p.at)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open >= a.limits.Total {
		return place{}, errTooMany
	}
	if bounded {
		p.here = a.of[p.at]
		if p.here == nil {
			p.here = &address{}
			a.of[p.at] = p.here
		}
		if p.here.open >= a.limits.PerAddress {
			return place{}, errTooManyOfThese
		}
		p.here.open++
	}
	a.open++
	return p, nil
}

// leave gives the place back, once.
func (p place) leave() {
	if p.in == nil {
		return
	}
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.in.open--
	if p.here == nil {
		return
	}
	if p.here.open--; p.here.open > 0 {
		return
	}
	p.forgetLocked()
}

// forgetLocked forgets an address that has no connections, when it owes nothing: it does not get rid of that by connecting anew. One timer an
// address sees to that, and is set again where more was owed meanwhile, as by a read that was still under way.
func (p place) forgetLocked() {
	switch owed := time.Until(p.here.paid); {
	case p.here.open > 0 || p.here.owes:
	case owed > 0:
		p.here.owes = true
		time.AfterFunc(owed, p.forget)
	case p.in.of[p.at] == p.here:
		delete(p.in.of, p.at)
	}
}

func (p place) forget() {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	p.here.owes = false
	p.forgetLocked()
}

// charge counts so many bytes of long headers, or takes them back where it is less than 0, and returns until when nothing further is to be read. The
// error says that this would be too long: nothing is counted then.
func (p place) charge(bytes int64) (time.Time, error) {
	if p.here == nil || bytes == 0 {
		return time.Time{}, nil
	}
	const perByte = time.Second / headersPerSecond
	now := time.Now()
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	paid := p.here.paid
	if paid.Before(now) {
		paid = now
	}
	if bytes > 0 && paid.Sub(now) > (headerBurst+mostDebt)*perByte {
		return time.Time{}, errFlood
	}
	p.here.paid = paid.Add(time.Duration(bytes) * perByte)
	return p.here.paid.Add(-headerBurst * perByte), nil
}

// headerBytes returns how long a request's headers are, about as net/http reckons it.
func headerBytes(r *http.Request) int64 {
	n := len(r.RequestURI) + len(r.Host)
	for name, values := range r.Header {
		for _, value := range values {
			n += len(name) + len(value) + 4
		}
	}
	return int64(n)
}
