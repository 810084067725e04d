package identity

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdiem/perdiem/fault"
)

// begins begins an attempt that is taken as wanted.
func (e *exchanges) begins(t *testing.T, from netip.Addr, state string, want fault.Kind) func(bool) {
	t.Helper()
	end, err := e.begin(from, state)
	if got := kindOf(err); got != want {
		t.Fatalf("%s from %s: %v", state, from, err)
	}
	return end
}

func kindOf(err error) fault.Kind {
	if err == nil {
		return good
	}
	return fault.KindOf(err)
}

// Attempts in vain are paced by network, and good ones are not.
func TestExchangesPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExchanges()
		count := 0
		attempt := func(from netip.Addr, well bool, want fault.Kind) {
			t.Helper()
			count++
			if end := e.begins(t, from, fmt.Sprint(count), want); end != nil {
				end(well)
			}
		}
		for range 3 * addressPace.burst {
			attempt(home, true, good)
		}
		for range addressPace.burst {
			attempt(home, false, good)
		}
		attempt(home, false, fault.Exhausted)
		attempt(home.Prev(), false, good)
		time.Sleep(addressPace.every - time.Nanosecond)
		attempt(home, false, fault.Exhausted)
		time.Sleep(time.Nanosecond)
		attempt(home, false, good)
		attempt(home, false, fault.Exhausted)
		for range addressPace.burst {
			attempt(netip.MustParseAddr("2001:db8::1"), false, good)
		}
		attempt(netip.MustParseAddr("2001:db8::2"), false, fault.Exhausted) // of the same network
	})
}

// A state is good once, as long as it is remembered, and for that only so many attempts are under way.
func TestExchangesStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExchanges()
		e.begins(t, home, "s", good)(false)
		for _, from := range []netip.Addr{home, anywhere} {
			if _, err := e.begin(from, "s"); !errors.Is(err, errUsed) {
				t.Errorf("again from %s: %v", from, err)
			}
		}
		time.Sleep(rememberUsed)
		e.begins(t, home, "s", good)(false)

		var ends []func(bool)
		for i := range exchangesUnderWay {
			ends = append(ends, e.begins(t, anywhere, fmt.Sprint(i), good))
		}
		e.begins(t, home, "late", fault.Exhausted)
		e.begins(t, home, "", good)(true) // asks for what all ask for together
		ends[0](true)
		e.begins(t, home, "late", good)(true) // it was not used up before
	})
}

// What may be said seldom is said once a minute.
func TestSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s seldom
		for i, c := range []struct {
			after time.Duration
			want  bool
		}{{0, true}, {0, false}, {time.Minute - 1, false}, {1, true}, {time.Second, false}, {time.Hour, true}} {
			time.Sleep(c.after)
			if got := s.may(); got != c.want {
				t.Errorf("%d: %t", i, got)
			}
		}
	})
}

// However many states and networks come, what is kept is bounded.
func TestExchangesBounded(t *testing.T) {
	e := newExchanges()
	for i := range signInsKept + 10 {
		e.begins(t, address(i), fmt.Sprint(i), good)(false)
	}
	if len(e.used) > signInsKept || len(e.addresses) > signInsKept {
		t.Errorf("%d states and %d networks are kept", len(e.used), len(e.addresses))
	}
}
