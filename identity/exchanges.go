package identity

import (
	"net/netip"
	"sync"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/netaddr"
)

// exchanges bounds what those who sign in have an issuer asked, since anybody can have it asked in vain, with the client's secret. An address, as package network
// counts it, has as many attempts in vain as for passwords; an answer of the issuer's is good for one; and so many are under way at the most. All of it is in memory, bounded.
type exchanges struct {
	underWay chan struct{}

	mu        sync.Mutex
	addresses bounded[netip.Addr, time.Time] // guarded by mu: when what was tried is paid for, at addressPace
	used      bounded[string, time.Time]     // guarded by mu: until when states are remembered that were used
}

const (
	exchangesUnderWay = 8                // at a time: half of the connections to the issuer
	rememberUsed      = 15 * time.Minute // longer than a browser keeps an attempt
)

func newExchanges() *exchanges {
	return &exchanges{
		underWay: make(chan struct{}, exchangesUnderWay), addresses: bounded[netip.Addr, time.Time]{}, used: bounded[string, time.Time]{},
	}
}

// errUsed is the error of an answer that was brought before.
var errUsed = fault.New(fault.Unauthorized, "This sign-in was used already. Begin again.")

// begin counts an attempt, or returns why it may not be made now; whoever may make it has to call end. It uses up the state of an answer. Without one the issuer is
// asked for its endpoints alone, which all do together who wait for them, so that this takes no place among those under way.
func (e *exchanges) begin(address netip.Addr, state string) (end func(good bool), err error) {
	address = netaddr.Network(address)
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now() // how it passes counts, not what it shows: it may be set meanwhile
	if now.Before(e.used[state]) {
		return nil, errUsed
	}
	if wait := addressPace.wait(e.addresses[address], now); wait > 0 {
		return nil, tooOften(wait)
	}
	done := func() {}
	if state != "" {
		select {
		case e.underWay <- struct{}{}:
			done = func() { <-e.underWay }
		default:
			return nil, errTooMany
		}
		e.used.put(state, now.Add(rememberUsed))
	}
	e.addresses.put(address, addressPace.take(e.addresses[address], now))
	return func(good bool) {
		done()
		if good {
			e.takeBack(address)
		}
	}, nil
}

// takeBack undoes the count of an attempt that was not in vain.
func (e *exchanges) takeBack(address netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if paid, ok := e.addresses[address]; ok {
		e.addresses[address] = paid.Add(-addressPace.every)
	}
}

// seldom lets something be said once a minute, so that whoever makes it happen does not fill the log.
type seldom struct {
	mu   sync.Mutex
	last time.Time // guarded by mu
}

// may reports whether it may be said now.
func (s *seldom) may() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.last.IsZero() && now.Sub(s.last) < time.Minute {
		return false
	}
	s.last = now
	return true
}
