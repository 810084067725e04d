package identity

import (
	"sync"
	"time"

	"github.com/perdiem/perdiem/registry"
)

// strangers keeps tokens that nobody knows from costing those who have to be asked about them much. It remembers them for a
// while, so that a client that keeps sending one costs next to nothing, and it bounds the questions in vain: at most so many
// begin in any second. Questions that turn out to have been worth it cost nothing, so a node that starts under load learns good tokens as fast as
// it is answered. It is bounded itself: when it remembers too many it starts anew.
type strangers struct {
	remember time.Duration
	size     int // tokens that are remembered, at the most

	mu     sync.Mutex
	until  map[registry.Hash]time.Time // guarded by mu
	vain   []time.Time                 // guarded by mu: when the last questions in vain began, a ring
	oldest int                         // guarded by mu: where vain begins
	asking int                         // guarded by mu: questions under way
}

const (
	// vainPerSecond is how many questions in vain a second a registry or an issuer bears.
	vainPerSecond = 50
	// strangersKept is a multiple of what can be asked about in the time for which it is remembered.
	strangersKept = 1 << 12
)

func newStrangers(remember time.Duration) *strangers {
	return &strangers{
		remember: remember, size: strangersKept,
		until: make(map[registry.Hash]time.Time), vain: make([]time.Time, vainPerSecond),
	}
}

// has reports whether nobody knew the token a short while ago.
func (s *strangers) has(hash *registry.Hash, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.until[*hash]
	if ok && !now.Before(until) {
		delete(s.until, *hash)
		ok = false
	}
	return ok
}

// put notes that nobody knows the token.
func (s *strangers) put(hash *registry.Hash, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.until) >= s.size {
		clear(s.until)
	}
	s.until[*hash] = now.Add(s.remember)
}

// mayAsk reports whether one more question could begin now.
func (s *strangers) mayAsk(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mayAskLocked(now)
}

func (s *strangers) mayAskLocked(now time.Time) bool {
	recent := 0
	for i, at := range s.vain {
		if at.After(now) { // the clock was set back: that must not stretch the wait
			s.vain[i] = now
			at = now
		}
		if !at.IsZero() && now.Sub(at) < time.Second {
			recent++
		}
	}
	return recent+s.asking < len(s.vain)
}

// begin reports whether a question may begin now. Where it may, [strangers.end] has to follow.
func (s *strangers) begin(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayAskLocked(now) {
		return false
	}
	s.asking++
	return true
}

// end notes that a question that began at began was answered, and whether it was in vain.
func (s *strangers) end(began time.Time, vain bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking--
	if vain {
		s.vain[s.oldest] = began
		s.oldest = (s.oldest + 1) % len(s.vain)
	}
}
