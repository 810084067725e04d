package gateway

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// sparseLog logs one failure a second and counts the others, so that an upstream that is down does not fill a disk.
type sparseLog struct {
	log *slog.Logger
	now func() time.Time

	mu     sync.Mutex
	last   time.Time // guarded by mu
	silent int       // guarded by mu: failures since last
}

func (l *sparseLog) failure(message string, err error) {
	l.mu.Lock()
	now := l.now()
	if !l.last.IsZero() && now.Sub(l.last) < time.Second && !now.Before(l.last) {
		l.silent++
		l.mu.Unlock()
		return
	}
	silent := l.silent
	l.last, l.silent = now, 0
	l.mu.Unlock()
	l.log.LogAttrs(context.Background(), slog.LevelWarn, message, slog.Any("err", err), slog.Int("unlogged_before", silent))
}
