package gateway

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
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
	// Answer is how long a client may take none of an answer that waits for it: 1 min.
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

// drainTimeout is how long a client may take to send the rest of a body that nobody wants any more, before its connection can serve its
// next request. Beyond it the connection is closed.
const drainTimeout = 10 * time.Second

// clients accepts connections as clientConns.
type clients struct {
	net.Listener
	answer time.Duration
}

// Accept waits for a connection.
func (l clients) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &clientConn{Conn: c, answer: l.answer}, nil
}

// clientConn is a client's connection. It bounds the time for which a write waits for the client, without a timer a write, and it can
// be told that nothing further is to be read from it: net/http would read the rest of a body that did not come in time as the next
// request.
type clientConn struct {
	net.Conn
	answer   time.Duration
	deadline atomic.Int64 // of writes, as Unix nanoseconds
	ended    atomic.Bool  // nothing is read any more
	draining atomic.Bool

	mu    sync.Mutex
	drain *time.Timer // guarded by mu; nil until there is something to drain
}

// Read reads from the client.
func (c *clientConn) Read(p []byte) (int, error) {
	if c.ended.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Read(p)
}

// Write writes to the client. The deadline is renewed when a quarter of the time is over, so that most writes do not touch it.
func (c *clientConn) Write(p []byte) (int, error) {
	now := time.Now()
	if before := c.deadline.Load(); before-now.UnixNano() < int64(c.answer-c.answer/4) {
		until := now.Add(c.answer)
		if c.deadline.CompareAndSwap(before, until.UnixNano()) {
			if err := c.SetWriteDeadline(until); err != nil {
				return 0, err
			}
		}
	}
	return c.Conn.Write(p)
}

// endReading ends a read that waits, and every further one: no request will come from here.
func (c *clientConn) endReading() {
	c.ended.Store(true)
	_ = c.SetReadDeadline(time.Unix(1, 0)) // an error means that it is closed
}

// drainSoon gives the client drainTimeout to finish what it is sending. [clientConn.drained] ends that.
func (c *clientConn) drainSoon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining.Store(true)
	if c.drain == nil {
		c.drain = time.AfterFunc(drainTimeout, func() {
			if c.draining.Load() {
				c.endReading()
			}
		})
		return
	}
	c.drain.Reset(drainTimeout)
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
			return context.WithValue(ctx, connKey{}, unwrap(c))
		},
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateActive {
				return
			}
			if client := unwrap(c); client != nil {
				client.drained()
			}
		},
	}
}
