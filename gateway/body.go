package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/perdiem/perdiem/protect"
)

// body is a request's body on its way from the client to the upstream. It tells whose fault it is when it does not arrive: the
// client's, when it cannot be read or comes too slowly, or the upstream's, when it is not taken in time. The upstream's time runs only
// while it is its turn, to begin to read, to take what was read or to answer: a slow client costs it nothing, nor the other way round.
//
// A client may fall behind its rate by so much time and no more, so that a body of many short pauses passes, and one byte a second does
// not hold the upstream for as long as it likes. When the upstream has begun to answer, both may take their time: they are in conversation.
type body struct {
	client  *http.Request      // the server's: its body is read, and gets the trailers
	trailer http.Header        // the upstream's: filled, where announced, before the body's end is told
	timeout time.Duration      // of a turn of the upstream
	slack   time.Duration      // by which the client may be behind
	perByte time.Duration      // which the client may take
	cancel  context.CancelFunc // ends the exchange with the upstream
	stop    func()             // ends the reading from the client
	permit  *protect.Permit    // paused while it is the client's turn

	mu      sync.Mutex
	turn    *time.Timer   // guarded by mu; runs until whoever's turn it is has let it pass
	until   time.Time     // guarded by mu: when that is
	left    time.Duration // guarded by mu: of the slack
	reading bool          // guarded by mu: it is the client's turn
	ended   bool          // guarded by mu: the body was read to its end
	over    bool          // guarded by mu: the upstream has answered or failed
	failed  bool          // guarded by mu: the client's body could not be read to its end
	late    bool          // guarded by mu: because the client let its turn pass
	expired bool          // guarded by mu: the upstream let its turn pass
}

func newBody(client *http.Request, timeout time.Duration, t Timeouts, cancel context.CancelFunc, stop func(), permit *protect.Permit) *body {
	b := &body{
		client: client, timeout: timeout, slack: t.Body, perByte: time.Second / time.Duration(t.BodyRate), left: t.Body,
		cancel: cancel, stop: stop, permit: permit,
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Now().Add(timeout)
	b.turn = time.AfterFunc(timeout, b.expire)
	return b
}

// beginLocked begins a turn.
func (b *body) beginLocked(now time.Time, d time.Duration) {
	b.until = now.Add(d)
	b.turn.Reset(d)
}

// Read reads from the client.
func (b *body) Read(p []byte) (int, error) {
	began := time.Now()
	b.mu.Lock()
	b.reading = true
	if b.over {
		b.turn.Stop()
	} else {
		b.permit.Pause()
		b.beginLocked(began, b.left)
	}
	b.mu.Unlock()

	n, err := b.client.Body.Read(p)
	if errors.Is(err, io.EOF) {
		for name := range b.trailer {
			b.trailer[name] = b.client.Trailer[name]
		}
	}

	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.left = min(b.slack, b.left-now.Sub(began)+time.Duration(n)*b.perByte)
	switch {
	case errors.Is(err, io.EOF):
		b.ended = true
	case err != nil:
		b.failed = true
	}
	if !b.over {
		b.permit.Resume()
		b.beginLocked(now, b.timeout)
	}
	return n, err
}

// Close closes the client's body.
func (b *body) Close() error { return b.client.Body.Close() }

// leave ends the reading of a body of which the upstream did not want all. A connection of HTTP/1.1 ends with the answer then: net/http would
// wait for the rest and, when that came after the answer, panic over two readers of one connection. What has come already it would read after the
// answer, too, and panic over its end; so the body is closed here, while it still looks for other readers.
func (b *body) leave() {
	b.mu.Lock()
	ended := b.ended
	b.mu.Unlock()
	if c := clientConnOf(b.client); c != nil && !ended {
		c.endReading()
		_ = b.client.Body.Close() // nothing is waited for any more
	}
}

func (b *body) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.over || time.Now().Before(b.until): // another turn has begun meanwhile
	case b.reading:
		b.late = true
		b.cancel()
		b.stop()
	default:
		b.expired = true
		b.cancel()
	}
}

// answered notes that the upstream has answered or failed: from here on it may take its time.
func (b *body) answered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	b.turn.Stop()
}

// broken reports whether the client's body could not be read to its end. b may be nil.
func (b *body) broken() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// timedOut reports whether the upstream did not take the body in time. b may be nil.
func (b *body) timedOut() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.expired
}

// tooSlow reports whether the client did not send its body in time. b may be nil.
func (b *body) tooSlow() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.late
}
