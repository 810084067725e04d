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
// client's, when it cannot be read, or the upstream's, when it is not taken in time. The time runs only while it is the
// upstream's turn, to take what was read or to answer: a slow client costs it nothing. [http.Transport] has such a limit
// too, but its time begins when the whole body is written.
type body struct {
	client  *http.Request // the server's: its body is read, and gets the trailers
	trailer http.Header   // the upstream's: filled, where announced, before the body's end is told
	timeout time.Duration
	cancel  context.CancelFunc // ends the exchange with the upstream
	permit  *protect.Permit    // paused while it is the client's turn

	mu      sync.Mutex
	turn    *time.Timer // guarded by mu; runs while it is the upstream's turn
	over    bool        // guarded by mu: the upstream has answered or failed
	failed  bool        // guarded by mu: the client's body could not be read to its end
	expired bool        // guarded by mu: the upstream let its turn pass
}

func newBody(client *http.Request, timeout time.Duration, cancel context.CancelFunc, permit *protect.Permit) *body {
	b := &body{client: client, timeout: timeout, cancel: cancel, permit: permit}
	b.turn = time.AfterFunc(timeout, b.expire)
	b.turn.Stop() // the upstream's turn begins with the first bytes
	return b
}

// Read reads from the client.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.turn.Stop()
	if !b.over {
		b.permit.Pause()
	}
	b.mu.Unlock()

	n, err := b.client.Body.Read(p)
	if errors.Is(err, io.EOF) {
		for name := range b.trailer {
			b.trailer[name] = b.client.Trailer[name]
		}
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed = true
	}
	if !b.over {
		b.permit.Resume()
		b.turn.Reset(b.timeout)
	}
	return n, err
}

// Close closes the client's body.
func (b *body) Close() error { return b.client.Body.Close() }

func (b *body) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.expired = true
		b.cancel()
	}
}

// answered notes that the upstream has answered or failed: from here on it may take its time. b may be nil.
func (b *body) answered() {
	if b == nil {
		return
	}
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
