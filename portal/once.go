package portal

import (
	"crypto/rand"
	"maps"
	"sync"
	"time"

	"github.com/perdiem/perdiem/registry"
)

const (
	onceFor = time.Minute // how long something waits to be shown
	maxOnce = 16          // things of a session that wait at a time
)

// once keeps what a page shows a single time, after a form has sent the browser on to it: a secret, of which nothing but its hash is kept
// anywhere else. It is in memory alone, and for the session alone that sent the form. How much waits is bounded for each session, and by the minute.
// The zero value keeps nothing yet.
type once struct {
	mu      sync.Mutex
	waiting map[string]onceOf // guarded by mu
}

type onceOf struct {
	session registry.Hash
	what    any
	until   time.Time
}

// keep returns the key under which something can be taken until a minute has passed.
func (o *once) keep(session registry.Hash, what any, now time.Time) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.waiting, func(_ string, w onceOf) bool { return !w.until.After(now) })
	own, first := 0, ""
	for key, w := range o.waiting {
		if w.session != session {
			continue
		}
		own++
		if first == "" || w.until.Before(o.waiting[first].until) {
			first = key
		}
	}
	if own >= maxOnce {
		delete(o.waiting, first)
	}
	if o.waiting == nil {
		o.waiting = map[string]onceOf{}
	}
	key := rand.Text()
	o.waiting[key] = onceOf{session, what, now.Add(onceFor)}
	return key
}

// take returns what was kept under a key by a session, and forgets it; nil: there is nothing, or nothing any more.
func (o *once) take(session registry.Hash, key string, now time.Time) any {
	o.mu.Lock()
	defer o.mu.Unlock()
	w, ok := o.waiting[key]
	if !ok || w.session != session {
		return nil
	}
	delete(o.waiting, key)
	if !w.until.After(now) {
		return nil
	}
	return w.what
}
