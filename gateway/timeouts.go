package gateway

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Timeouts are how long clients may take. A field that is 0 is its default.
type Timeouts struct {
	// Headers is how long a client may take to send a request's headers, and before that for the TLS handshake: 10 s.
	Headers time.Duration
	// Body is how long, in all, a client may fall behind BodyRate while it sends a request's body; 1 min. It counts until the upstream begins to
	// answer, and only while the gateway waits for the client.
	Body time.Duration
	// BodyRate is what a client has to send of a body, in bytes a second: 240.
	BodyRate int
	// Answer is how long a client may take none of an answer that waits for it: 1 min. One that had begun to take some is noticed after twice that at
	// most. With HTTP/2 it is how long a client may take for 32 KiB of an answer.
	Answer time.Duration
	// Idle is how long a connection is kept without a request: 2 min.
	Idle time.Duration
}

// DefaultTimeouts returns what holds where nothing else is told.
func DefaultTimeouts() Timeouts {
	return Timeouts{Headers: 10 * time.Second, Body: time.Minute, BodyRate: 240, Answer: time.Minute, Idle: 2 * time.Minute}
}

func (t Timeouts) orDefaults() Timeouts {
	unless := DefaultTimeouts()
	return Timeouts{
		Headers:  cmp.Or(t.Headers, unless.Headers),
		Body:     cmp.Or(t.Body, unless.Body),
		BodyRate: cmp.Or(t.BodyRate, unless.BodyRate),
		Answer:   cmp.Or(t.Answer, unless.Answer),
		Idle:     cmp.Or(t.Idle, unless.Idle),
	}
}

const (
	// drainTimeout is how long at most a client may take to send the body of a call that the gateway answers itself. net/http reads it before the
	// answer, up to 256 KiB, since many clients read nothing before they have sent all. When the time is over the answer is sent, and the
	// connection ends.
	drainTimeout = 10 * time.Second
	// lingerTimeout is how long a connection that ends in the middle of a request still takes what comes: else the client might be told of a reset
	// before it has read its answer.
	lingerTimeout = time.Second
	lingerBytes   = 256 << 10
)

// clients accepts connections as clientConns. Those for which there is no place are closed.
type clients struct {
	net.Listener
	timeouts  Timeouts
	addresses *addresses
	log       *sparseLog
}

// Accept waits for a connection.
func (l clients) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		place, err := l.addresses.enter(c.RemoteAddr())
		if err != nil {
			_ = c.Close() // nothing was said on it
			l.log.failure("a connection was refused", err)
			continue
		}
		return &clientConn{
			Conn: c, answer: l.timeouts.Answer, drainTime: min(drainTimeout, l.timeouts.Body), place: place, closed: make(chan struct{}),
		}, nil
	}
}

// clientConn is a client's connection. It bounds the time for which a write waits for the client, without a timer a write, it keeps long headers
// to the pace of their address, and it can be told that nothing further is to be read from it: net/http would read the rest of a body that did not
// come in time as the next request.
type clientConn struct {
	net.Conn
	answer    time.Duration
	drainTime time.Duration
	place     place
	headers   atomic.Int64 // bytes read since the last request was over; far below 0 while it is not headers that are read
	until     atomic.Int64 // when to read on, as Unix nanoseconds; 0: at once
	deadline  atomic.Int64 // of writes, as Unix nanoseconds; othersDeadline while somebody else's holds
	ended     atomic.Bool  // nothing is read any more
	draining  atomic.Bool
	lingering atomic.Bool

	// cancel ends the request under way, and every later one of HTTP/1: no other may be read after it, so that the connection ends with the
	// answer. It spares each request a context of its own that can be ended.
	cancel context.CancelFunc

	closing sync.Once
	closed  chan struct{} // closed with the connection

	mu    sync.Mutex
	drain *time.Timer // guarded by mu; nil until there is something to drain
}

// othersDeadline is what deadline is while one holds that was set from outside, as for the TLS handshake: writes leave that alone.
const othersDeadline = math.MaxInt64

// notHeaders is what headers is while a body is read, or another protocol than HTTP/1.
const notHeaders = math.MinInt64 / 2

// Read reads from the client.
func (c *clientConn) Read(p []byte) (int, error) {
	if until := c.until.Load(); until != 0 {
		c.wait(until)
	}
	if c.ended.Load() {
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p)
	if over := c.headers.Add(int64(n)) - freeHeaders; over > 0 {
		if err := c.charge(min(over, int64(n))); err != nil {
			return 0, err
		}
	}
	return n, err
}

// wait waits until it is time to read on, or the connection is closed.
func (c *clientConn) wait(until int64) {
	if left := time.Until(time.Unix(0, until)); left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.closed:
		}
	}
	c.until.CompareAndSwap(until, 0)
}

func (c *clientConn) charge(bytes int64) error {
	until, err := c.place.charge(bytes)
	if !until.IsZero() {
		c.until.Store(until.UnixNano())
	}
	return err
}

// received notes that a request's headers have been read.
func (c *clientConn) received(r *http.Request) {
	switch {
	case c.place.here == nil:
	case r.ProtoMajor > 1: // what the connection carries besides is not to be told from headers here
		c.headers.Store(notHeaders)
		if err := c.charge(max(0, headerBytes(r)-freeHeaders)); err != nil {
			c.endReading()
		}
	case r.ContentLength != 0:
		if over := c.headers.Load() - freeHeaders; over > 0 { // some of it was the body's beginning
			_ = c.charge(min(0, max(0, headerBytes(r)-freeHeaders)-over)) // what is taken back is never too much
		}
		c.headers.Store(notHeaders)
	}
}

// over notes that the connection waits for its next request, or has become another protocol's.
func (c *clientConn) over(s http.ConnState) {
	switch s {
	case http.StateIdle:
		c.headers.Store(0)
	case http.StateHijacked:
		c.headers.Store(notHeaders)
	default:
	}
}

// Write writes to the client. The deadline is renewed when a quarter of the time is over, so that most writes do not touch it. A client that has taken
// some when the time is over gets as much again: one that is slow is waited for, and one that takes nothing is not.
func (c *clientConn) Write(p []byte) (written int, err error) {
	for {
		now := time.Now()
		before := c.deadline.Load()
		if before-now.UnixNano() < int64(c.answer-c.answer/4) {
			until := now.Add(c.answer)
			if c.deadline.CompareAndSwap(before, until.UnixNano()) {
				if err := c.Conn.SetWriteDeadline(until); err != nil {
					return written, err
				}
			}
		}
		n, err := c.Conn.Write(p[written:])
		written += n
		if err == nil || n == 0 || before == othersDeadline || !errors.Is(err, os.ErrDeadlineExceeded) {
			return written, err
		}
	}
}

// SetWriteDeadline bounds writes from outside, until it is told the zero time: then they are bounded as before. net/http tells that after
// every request, and the real deadline stays what it is: it cannot pass unnoticed, since [clientConn.Write] renews it in time.
func (c *clientConn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		c.deadline.CompareAndSwap(othersDeadline, 0)
		return nil
	}
	c.deadline.Store(othersDeadline)
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline bounds reads and, as [clientConn.SetWriteDeadline] does, writes.
func (c *clientConn) SetDeadline(t time.Time) error {
	if err := c.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.SetReadDeadline(t)
}

// endReading ends a read that waits, and every further one: no request will come from here.
func (c *clientConn) endReading() {
	c.ended.Store(true)
	_ = c.SetReadDeadline(time.Unix(1, 0)) // an error means that it is closed
}

// Close closes the connection. Where reading had ended early, what the client has sent meanwhile is taken first, in the background.
func (c *clientConn) Close() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !c.ended.Load() || !ok || c.lingering.Swap(true) || half.CloseWrite() != nil {
		return c.close()
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTimeout)) // an error means that it is closed
	go func() {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.Conn, lingerBytes))
		_ = c.close()
	}()
	return nil
}

func (c *clientConn) close() error {
	c.closing.Do(func() {
		close(c.closed)
		c.place.leave()
	})
	return c.Conn.Close()
}

// drainSoon gives the client its time to finish what it is sending. [clientConn.drained] ends that.
func (c *clientConn) drainSoon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining.Store(true)
	if c.drain == nil {
		c.drain = time.AfterFunc(c.drainTime, func() {
			if c.draining.Load() {
				c.endReading()
			}
		})
		return
	}
	c.drain.Reset(c.drainTime)
}

func (c *clientConn) drained() {
	if !c.draining.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining.Store(false)
	c.drain.Stop()
}

// endReading ends the reading of a request's body, from any goroutine while its handler runs.
func endReading(w http.ResponseWriter, r *http.Request) {
	if c := clientConnOf(r); c != nil {
		c.endReading()
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) // of the stream alone
}

// drainSoon bounds the time in which the rest of a request's body may still come.
func drainSoon(r *http.Request) {
	if c := clientConnOf(r); c != nil {
		c.drainSoon()
	}
}

type connKey struct{}

// clientConnOf returns the connection on which a request came alone; nil for HTTP/2, where others share it.
func clientConnOf(r *http.Request) *clientConn {
	if r.ProtoMajor != 1 {
		return nil
	}
	return anyConnOf(r)
}

// anyConnOf returns the connection on which a request came, perhaps among others; nil where it came by none of a client.
func anyConnOf(r *http.Request) *clientConn {
	c, _ := r.Context().Value(connKey{}).(*clientConn)
	return c
}

// unwrap returns the client's connection under TLS, or nil where there is none.
func unwrap(c net.Conn) *clientConn {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = over.NetConn()
	}
	client, _ := c.(*clientConn)
	return client
}

// newServer returns the server of a gateway, which bounds what a client can hold.
func (g *Gateway) newServer(o *Options) *http.Server {
	return &http.Server{
		Handler:                      g,
		TLSConfig:                    o.TLS,
		ReadHeaderTimeout:            g.timeouts.Headers,
		IdleTimeout:                  g.timeouts.Idle,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true, // OPTIONS * is answered as any other request that names no resource
		ErrorLog:                     slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
		HTTP2: &http.HTTP2Config{
			// net/http ends a connection on which four times as many requests wait, having been taken back by the client at once
			// (CVE-2023-44487).
			MaxConcurrentStreams:          maxStreams,
			MaxReadFrameSize:              maxFrame,
			MaxReceiveBufferPerConnection: connectionBuffer,
			MaxReceiveBufferPerStream:     streamBuffer,
			WriteByteTimeout:              g.timeouts.Answer,
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			client := unwrap(c)
			if client != nil {
				ctx, client.cancel = context.WithCancel(ctx)
			}
			return context.WithValue(ctx, connKey{}, client)
		},
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateActive {
				return
			}
			if client := unwrap(c); client != nil {
				client.over(s)
				client.drained()
			}
		},
	}
}
