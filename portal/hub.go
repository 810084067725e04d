package portal

import (
	"context"
	"sync"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

const (
	watchEvery = time.Second // how often what viewers see is found out, for all of an application's together
	maxViewers = 2048        // of the portal
)

// hub lets any number of viewers watch applications, at the cost of one of each. What an application's viewers see is read once a second
// while it has any. A viewer is only told that there is something new, and takes what is newest when it is ready: a slow one
// misses states, not the last one, and keeps nobody waiting.
type hub struct {
	// look returns what is to be seen of an application now, and the event that makes it of what was to be seen before, which may be nil. It
	// returns before itself where nothing has changed, and nil where there is no such application any more.
	look func(ctx context.Context, application string, before *sight) *sight

	mu      sync.Mutex
	watched map[string]*watch // guarded by mu: the applications with viewers
	viewers map[*viewer]bool  // guarded by mu
	closed  bool              // guarded by mu

	following sync.WaitGroup // of applications
}

// watch is an application that is watched.
type watch struct {
	viewers map[*viewer]bool // guarded by hub.mu
	now     *sight           // guarded by hub.mu; nil: it was not read yet
	stop    context.CancelFunc
}

// viewerOf says whose a viewer is.
type viewerOf struct {
	session     registry.Hash
	account     string
	application string
}

// viewer is a page that is live.
type viewer struct {
	viewerOf
	woken   chan struct{} // has an element when there is something new
	ended   chan struct{} // closed when the viewer is to go
	crowded bool          // it goes since others are to have room; read when ended is closed
}

func newHub(look func(context.Context, string, *sight) *sight) *hub {
	return &hub{look: look, watched: map[string]*watch{}, viewers: map[*viewer]bool{}}
}

// join adds a viewer. It has to leave again. Where there are as many as may be, one of the account that has most goes for it; [fault.Exhausted] where that
// would have this account have more than the other. [fault.Unavailable] where the portal stops.
func (h *hub) join(of viewerOf) (*viewer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fault.New(fault.Unavailable, "The portal is stopping.")
	}
	if len(h.viewers) >= maxViewers && !h.makeRoomLocked(of.account) {
		return nil, fault.New(fault.Exhausted, "Too many pages are live at the moment.")
	}
	v := &viewer{viewerOf: of, woken: make(chan struct{}, 1), ended: make(chan struct{})}
	h.viewers[v] = true
	a := h.watched[of.application]
	if a == nil {
		ctx, stop := context.WithCancel(context.Background())
		a = &watch{viewers: map[*viewer]bool{}, stop: stop}
		h.watched[of.application] = a
		h.following.Go(func() { h.follow(ctx, of.application, a) })
	}
	a.viewers[v] = true
	if a.now != nil {
		v.wake()
	}
	return v, nil
}

// makeRoomLocked sends a viewer away for one of an account that has two fewer than that viewer's account, at least: neither can push the other's out again.
func (h *hub) makeRoomLocked(account string) bool {
	each := map[string]int{}
	var last *viewer // of the account that has most
	for v := range h.viewers {
		each[v.account]++
		if last == nil || each[v.account] > each[last.account] {
			last = v
		}
	}
	if each[last.account] < each[account]+2 {
		return false
	}
	h.crowdOutLocked(last)
	return true
}

// crowdOutLocked sends a viewer away that may come again.
func (h *hub) crowdOutLocked(v *viewer) {
	v.crowded = true
	close(v.ended)
	h.leaveLocked(v)
}

// leave takes a viewer away. Leaving again does nothing.
func (h *hub) leave(v *viewer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaveLocked(v)
}

func (h *hub) leaveLocked(v *viewer) {
	if !h.viewers[v] {
		return
	}
	delete(h.viewers, v)
	a := h.watched[v.application]
	delete(a.viewers, v)
	if len(a.viewers) == 0 {
		a.stop()
		delete(h.watched, v.application)
	}
}

// sight returns what a viewer is to see now; nil: that is not known yet.
func (h *hub) sight(v *viewer) *sight {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.watched[v.application]; a != nil {
		return a.now
	}
	return nil
}

// follow finds out what there is to see of an application, until nobody looks any more.
func (h *hub) follow(ctx context.Context, application string, a *watch) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var before *sight
	for {
		now := h.look(ctx, application, before)
		if ctx.Err() != nil {
			return
		}
		if now == nil {
			h.end(func(v *viewer) bool { return v.application == application })
			return
		}
		if now != before {
			before = now
			h.mu.Lock()
			a.now = now
			for v := range a.viewers {
				v.wake()
			}
			h.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (v *viewer) wake() {
	select {
	case v.woken <- struct{}{}:
	default: // it is to look already
	}
}

// end sends viewers away.
func (h *hub) end(which func(*viewer) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for v := range h.viewers {
		if which(v) {
			close(v.ended)
			h.leaveLocked(v)
		}
	}
}

// endSession sends the viewers of a session away.
func (h *hub) endSession(session registry.Hash) {
	h.end(func(v *viewer) bool { return v.session == session })
}

// close sends all viewers away, and lets none join any more. Nothing is read any more when it returns.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.end(func(*viewer) bool { return true })
	h.following.Wait()
}

func (h *hub) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}
