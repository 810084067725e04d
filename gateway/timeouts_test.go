package gateway

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestWriteWaitsForTheClient has a client take nothing: a write gives up in time, and however long nobody wrote, the next write has time again.
func TestWriteWaitsForTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := &clientConn{Conn: near, answer: time.Minute, closed: make(chan struct{})}
		defer c.Close()
		take := func() {
			if _, err := io.ReadFull(far, make([]byte, 3)); err != nil {
				t.Error(err)
			}
		}
		for range 3 {
			go take()
			if _, err := c.Write([]byte("one")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		for range 10 { // each within the time, all together not
			go func() { time.Sleep(40 * time.Second); take() }()
			if _, err := c.Write([]byte("two")); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if _, err := c.Write([]byte("six")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("nobody took it: %v", err)
		}
		if waited := time.Since(began); waited < 45*time.Second || waited > time.Minute {
			t.Errorf("waited %s", waited)
		}
	})
}

// TestSlowReader has a client take a long answer byte by byte: it is waited for as long as it takes any. When it stops, the write ends.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := &clientConn{Conn: near, answer: time.Minute, closed: make(chan struct{})}
		defer c.Close()
		take := func(bytes int) {
			for range bytes {
				time.Sleep(40 * time.Second)
				if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
					t.Error(err)
				}
			}
		}
		go take(100)
		if n, err := c.Write(make([]byte, 100)); n != 100 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		go take(5)
		began := time.Now()
		if n, err := c.Write(make([]byte, 100)); n != 5 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes, %v", n, err)
		}
		if waited := time.Since(began) - 5*40*time.Second; waited < time.Minute || waited > 2*time.Minute {
			t.Errorf("waited %s after the last byte", waited)
		}
		// A bound from outside is not stretched.
		if err := c.SetWriteDeadline(time.Now().Add(50 * time.Second)); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		go take(1)
		if n, err := c.Write(make([]byte, 100)); n != 1 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 50*time.Second {
			t.Errorf("%d bytes, %v after %s", n, err, time.Since(began))
		}
	})
}

// TestOthersDeadlines bounds writes from outside, as net/http and TLS do: such a bound holds for itself, and never is there none.
func TestOthersDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := &clientConn{Conn: near, answer: time.Minute, closed: make(chan struct{})}
		defer c.Close()
		blocked := func(what string, least, most time.Duration) {
			t.Helper()
			began := time.Now()
			if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
			if waited := time.Since(began); waited < least || waited > most {
				t.Errorf("%s: waited %v", what, waited)
			}
		}
		for _, set := range []func(time.Time) error{c.SetWriteDeadline, c.SetDeadline} {
			go func() { _, _ = far.Read(make([]byte, 1)) }()
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if err := set(time.Time{}); err != nil {
				t.Fatal(err)
			}
			blocked("after one in time, and a reset", 44*time.Second, time.Minute)
			for _, d := range []time.Duration{5 * time.Second, time.Hour} {
				if err := set(time.Now().Add(d)); err != nil {
					t.Fatal(err)
				}
				blocked("a bound from outside", d, d)
				blocked("after it", 0, 0)
				if err := set(time.Time{}); err != nil {
					t.Fatal(err)
				}
				blocked("after its reset", time.Minute, time.Minute)
			}
		}
		// Reads are bounded as they are told.
		if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		go func() { time.Sleep(time.Hour); _, _ = far.Write([]byte("x")) }()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
}

// TestDraining gives a client a while to finish what nobody wants, and then nothing further is read from it.
func TestDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := &clientConn{Conn: near, answer: time.Minute, drainTime: drainTimeout, closed: make(chan struct{})}
		defer c.Close()
		buffer := make([]byte, 10)

		for range 2 { // in time
			c.drainSoon()
			go func() { time.Sleep(drainTimeout - time.Second); _, _ = far.Write([]byte("rest")) }()
			if _, err := c.Read(buffer); err != nil {
				t.Fatal(err)
			}
			c.drained()
			time.Sleep(time.Hour)
		}
		c.drainSoon()
		began := time.Now()
		if _, err := c.Read(buffer); err == nil || time.Since(began) != drainTimeout {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if err := c.SetReadDeadline(time.Time{}); err != nil { // as net/http does before the next request
			t.Fatal(err)
		}
		go func() { _, _ = far.Write([]byte("GET / HTTP/1.1\r\n\r\n")) }()
		if n, err := c.Read(buffer); err == nil {
			t.Errorf("read on: %q", buffer[:n])
		}
	})
}
