package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newTestAddresses(limits Connections) *addresses {
	proxies := netip.MustParsePrefix("10.0.0.0/8")
	return &addresses{limits: limits, trusts: proxies.Contains, of: map[netip.Addr]*address{}}
}

func from(text string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }

func TestPlaces(t *testing.T) {
	a := newTestAddresses(Connections{Total: 6, PerAddress: 2})
	var places []place
	for _, c := range []struct {
		from string
		want error
	}{
		{"192.0.2.1:1", nil},
		{"192.0.2.1:2", nil},
		{"192.0.2.1:3", errTooManyOfThese},
		{"[::ffff:192.0.2.1]:3", errTooManyOfThese},
		{"[2001:db8::1]:1", nil},
		{"[2001:db8::2%eth0]:1", nil},
		{"[2001:db8::3]:1", errTooManyOfThese}, // the same network
		{"[2001:db8:0:1::1]:1", nil},
		{"10.0.0.1:1", nil}, // a trusted proxy
		{"10.0.0.1:2", nil},
		{"10.0.0.1:3", nil},
		{"192.0.2.2:1", nil},
		{"192.0.2.3:1", errTooMany},
		{"10.0.0.1:4", nil},
	} {
		p, err := a.enter(from(c.from))
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", c.from, err, c.want)
		}
		if err == nil {
			places = append(places, p)
		}
	}
	places[0].leave()
	if _, err := a.enter(from("192.0.2.1:4")); err != nil {
		t.Errorf("after one has left: %v", err)
	}
	a.open = 0
	for range 3 {
		if _, err := a.enter(&net.UnixAddr{Name: "@", Net: "unix"}); err != nil {
			t.Errorf("a connection without an address: %v", err)
		}
	}
	place{}.leave()
}

// An address is forgotten when its last connection goes, but not what it owes.
func TestDebtOutlivesConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTestAddresses(DefaultConnections())
		enter := func() place {
			p, err := a.enter(from("192.0.2.1:1"))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		p := enter()
		charge := func(bytes int64) time.Duration {
			until, err := p.charge(bytes)
			if err != nil {
				t.Errorf("%d bytes: %v", bytes, err)
			}
			return time.Until(until)
		}
		if wait := charge(headerBurst); wait > 0 {
			t.Errorf("what may come at once waits %v", wait)
		}
		p.leave()
		p = enter()
		if wait := charge(mostDebt + 1); wait < 900*time.Millisecond || wait > time.Second {
			t.Errorf("a second's bytes more wait %v", wait)
		}
		if _, err := p.charge(1); !errors.Is(err, errFlood) {
			t.Errorf("what would wait for longer: %v", err)
		}
		p.leave()
		time.Sleep(3 * time.Second)
		p = enter()
		p.leave()
		known := func() int {
			a.mu.Lock()
			defer a.mu.Unlock()
			return len(a.of)
		}
		if known() != 1 {
			t.Error("forgotten before all is paid for")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if known() != 0 {
			t.Error("remembered for nothing")
		}
		trusted, err := a.enter(from("10.0.0.1:1"))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if until, err := trusted.charge(1 << 40); err != nil || !until.IsZero() {
				t.Errorf("a trusted proxy waits until %v, %v", until, err)
			}
		}
	})
}

// What is charged after the last connection went, by a read that was under way, is remembered until it is paid for, and not for longer.
func TestDebtAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTestAddresses(DefaultConnections())
		for range 2 {
			p, err := a.enter(from("192.0.2.1:1"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.charge(headersPerSecond); err != nil {
				t.Fatal(err)
			}
			p.leave()
			time.Sleep(500 * time.Millisecond)
			if _, err := p.charge(headersPerSecond); err != nil {
				t.Fatal(err)
			}
		}
		for _, known := range []int{1, 0} {
			time.Sleep(1600 * time.Millisecond)
			synctest.Wait()
			a.mu.Lock()
			if len(a.of) != known {
				t.Errorf("%d addresses are known, want %d", len(a.of), known)
			}
			a.mu.Unlock()
		}
	})
}

// pacedConn returns a connection from an address, and a func that has so many bytes read of it, and returns how long that took.
func pacedConn(t *testing.T, a *addresses) (c *clientConn, read func(bytes int64) time.Duration) {
	near, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	p, err := a.enter(from("192.0.2.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	c = &clientConn{Conn: near, answer: time.Minute, place: p, closed: make(chan struct{})}
	return c, func(bytes int64) time.Duration {
		began := time.Now()
		go func() { _, _ = io.CopyN(far, zeros{}, bytes) }()
		if n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{io.LimitReader(c, bytes)}, make([]byte, 4<<10)); n != bytes {
			t.Errorf("read %d of %d bytes: %v", n, bytes, err)
		}
		return time.Since(began)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestLongHeadersArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTestAddresses(DefaultConnections())
		c, read := pacedConn(t, a)
		defer c.Close()
		other, readOther := pacedConn(t, a)
		defer other.Close()

		for range 2000 { // ordinary headers
			if took := read(freeHeaders); took > 0 {
				t.Fatalf("ordinary headers take %v", took)
			}
			c.over(http.StateIdle)
		}
		if took := read(freeHeaders + headerBurst); took > 0 {
			t.Errorf("what may come at once takes %v", took)
		}
		if took := read(3 * headersPerSecond); took < 2900*time.Millisecond || took > 3*time.Second {
			t.Errorf("three seconds' bytes take %v", took)
		}
		if took := readOther(freeHeaders); took > 0 {
			t.Errorf("ordinary headers beside them take %v", took)
		}
		if took := readOther(headersPerSecond); took < 900*time.Millisecond {
			t.Errorf("another connection's long headers take %v", took)
		}

		// A body's bytes are none of headers.
		request, err := http.NewRequest("POST", "/", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for range 100 { // the beginning of the body is read with the headers
			c.over(http.StateIdle)
			read(headersPerSecond / 8)
			request.ProtoMajor = 1
			c.received(request)
			if took := read(1 << 20); took > 0 {
				t.Fatalf("a body takes %v", took)
			}
		}
		// A connection that has become another protocol's is read as it comes.
		c.over(http.StateHijacked)
		if took := read(64 << 20); took > 0 {
			t.Errorf("another protocol takes %v", took)
		}
		// HTTP/2 tells by the request how long its headers are.
		request.ProtoMajor = 2
		c.received(request)
		request.Header.Set("X-Long", strings.Repeat("x", headerBurst+headersPerSecond+freeHeaders))
		if took := read(1 << 20); took > 0 {
			t.Errorf("HTTP/2 takes %v", took)
		}
		c.received(request)
		if took := read(1); took < 900*time.Millisecond {
			t.Errorf("long headers by HTTP/2 take %v", took)
		}
	})
}

// A connection that would wait for long is closed, and one that does not bring long headers goes on.
func TestFloodsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTestAddresses(DefaultConnections())
		c, read := pacedConn(t, a)
		defer c.Close()
		other, readOther := pacedConn(t, a)
		defer other.Close()
		read(freeHeaders + headerBurst)
		if _, err := c.place.charge(mostDebt + 4<<10); err != nil {
			t.Fatal(err)
		}
		near, far := net.Pipe()
		defer far.Close()
		flood := &clientConn{Conn: near, answer: time.Minute, place: c.place, closed: make(chan struct{})}
		go func() { _, _ = io.CopyN(far, zeros{}, 1<<20) }()
		if n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{flood}, make([]byte, 4<<10)); n != freeHeaders || !errors.Is(err, errFlood) {
			t.Errorf("read %d bytes: %v", n, err)
		}
		if took := readOther(freeHeaders); took > 0 {
			t.Errorf("ordinary headers take %v", took)
		}
	})
}

// Closing a connection ends its pause.
func TestCloseEndsAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pacedConn(t, newTestAddresses(DefaultConnections()))
		if err := c.charge(1 << 40); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		go func() { time.Sleep(time.Second); _ = c.Close(); _ = c.Close() }()
		if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if c.place.in.open != 0 {
			t.Errorf("%d connections are counted", c.place.in.open)
		}
	})
}
