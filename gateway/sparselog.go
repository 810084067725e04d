package gateway

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// sparseLog logs one failure of a kind a second and counts the others, so that an upstream that is down does not fill a disk, and what happens often
// does not hide what happens once. A kind is its message, of which there are few.
type sparseLog struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	kinds map[string]silence // guarded by mu
}

// silence is what was not logged of a kind.
type silence struct {
	since    time.Time // the last line
	failures int
}

func (l *sparseLog) failure(message string, err error) {
	if silent, ok := l.mayLog(message); ok {
		l.log.LogAttrs(context.Background(), slog.LevelWarn, message, slog.Any("err", err), slog.Int("unlogged_before", silent))
	}
}

// mayLog reports whether a failure of a kind is to be logged, and how many were not since the last that was.
func (l *sparseLog) mayLog(message string) (silent int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	kind, known := l.kinds[message]
	if known && now.Sub(kind.since) < time.Second && !now.Before(kind.since) {
		kind.failures++
		l.kinds[message] = kind
		return 0, false
	}
	if l.kinds == nil {
		l.kinds = map[string]silence{}
	}
	l.kinds[message] = silence{since: now}
	return kind.failures, true
}
