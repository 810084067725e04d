package gateway

import (
	"net/http"
	"sync"
	"time"
)

// streamWriter writes an answer to a client of HTTP/2. A client that opens no window for its stream holds what is written without holding the
// connection, so the bound of writes is kept here for each stream. The timer runs on between writes, which so seldom touch it, and while none waits
// it means nothing: an answer may pause for as long as the upstream likes.
type streamWriter struct {
	http.ResponseWriter
	patience time.Duration // how long a write may wait

	mu    sync.Mutex
	timer *time.Timer // guarded by mu; nil until something is written
	set   bool        // guarded by mu: the timer will fire
	until time.Time   // guarded by mu: how long the write that waits may do so; zero: none waits
	late  bool        // guarded by mu: one has waited for longer, and the stream was reset
}

// Unwrap is for [http.ResponseController].
func (s *streamWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Write writes to the client.
func (s *streamWriter) Write(p []byte) (int, error) {
	s.begin()
	defer s.end()
	return s.ResponseWriter.Write(p)
}

// FlushError sends what was written.
func (s *streamWriter) FlushError() error {
	s.begin()
	defer s.end()
	return http.NewResponseController(s.ResponseWriter).Flush()
}

func (s *streamWriter) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Now().Add(s.patience)
	if !s.set {
		s.setLocked(s.patience)
	}
}

func (s *streamWriter) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Time{}
}

func (s *streamWriter) setLocked(after time.Duration) {
	s.set = true
	if s.timer == nil {
		s.timer = time.AfterFunc(after, s.expire)
		return
	}
	s.timer.Reset(after)
}

func (s *streamWriter) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set = false
	if s.until.IsZero() {
		return
	}
	if left := time.Until(s.until); left > 0 {
		s.setLocked(left)
		return
	}
	s.late = true
	_ = http.NewResponseController(s.ResponseWriter).SetWriteDeadline(time.Unix(1, 0)) // resets the stream, at once
}

// leave ends the writing: what net/http has yet to send, when the handler is over, is bounded by the stream's own timer. It reports whether the
// client let a write wait for too long.
func (s *streamWriter) leave() (late bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil || s.late {
		return s.late
	}
	s.timer.Stop()
	s.until = time.Time{}
	boundStream(s.ResponseWriter, s.patience)
	return false
}

// boundStream bounds the time that what a handler of HTTP/2 is about to leave may take.
func boundStream(w http.ResponseWriter, d time.Duration) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d)) // net/http's server can
}
