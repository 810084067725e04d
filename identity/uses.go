package identity

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/registry"
)

const (
	// usePeriod is how exactly it is known when a token was last used: within one such period it is noted once.
	usePeriod = 10 * time.Minute
	// keepUsesEvery is how often what was noted goes to the registry, and how much of it a crash loses.
	keepUsesEvery = 10 * time.Second
	keepUsesTime  = 2 * time.Second
	// maxUses is for how many tokens a use is noted at a time, so that memory is bounded while the registry is down.
	maxUses = 10_000
)

// lastUse is the period in which a token was last used: that of a token that is remembered.
type lastUse struct{ period atomic.Int64 }

// begins reports whether a use is the first that is noted of a period. It costs a warm request one reading of memory that hardly ever changes.
func (u *lastUse) begins(now time.Time) bool {
	period := now.Unix() / int64(usePeriod/time.Second)
	return u.period.Load() != period && u.period.Swap(period) != period
}

// uses are those that the registry is to be told of, by the tokens' ids.
type uses struct {
	mu    sync.Mutex
	noted map[string]time.Time // guarded by mu
}

// note notes the latest use of a token. Beyond what there is room for, a use is forgotten.
func (u *uses) note(id string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.noted == nil {
		u.noted = map[string]time.Time{}
	}
	if before, known := u.noted[id]; known && at.After(before) || !known && len(u.noted) < maxUses {
		u.noted[id] = at
	}
}

// keep tells the registry what was noted. Where that fails, it is told the next time.
func (u *uses) keep(ctx context.Context, r TokenReader) error {
	u.mu.Lock()
	noted := u.noted
	u.noted = nil
	u.mu.Unlock()
	if len(noted) == 0 {
		return nil
	}
	list := make([]registry.TokenUse, 0, len(noted))
	for id, at := range noted {
		list = append(list, registry.TokenUse{ID: id, At: at})
	}
	ctx, cancel := context.WithTimeout(ctx, keepUsesTime)
	defer cancel()
	err := r.UseTokens(ctx, list)
	if err != nil {
		for id, at := range noted {
			u.note(id, at)
		}
	}
	return err
}
