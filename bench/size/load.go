package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/lease"
)

// openLoad makes calls at times that do not depend on how soon earlier ones are answered.
type openLoad struct {
	end  context.CancelFunc
	all  sync.WaitGroup
	next atomic.Int64 // call to be made

	mu   sync.Mutex
	took []time.Duration // guarded by mu: of the calls since it was last asked
	err  error           // guarded by mu: why a call failed
}

// startLoad makes load calls a second, of random members out of twice as many as have been seen, until stop.
func startLoad(ctx context.Context, b *lease.Book, members int) *openLoad {
	ctx, end := context.WithCancel(ctx)
	l := &openLoad{end: end}
	begun := time.Now()
	for range 4 * callers {
		l.all.Go(func() {
			for {
				due := begun.Add(time.Duration(l.next.Add(1)) * time.Second / load)
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Until(due)):
				}
				asked := time.Now()
				err := take(ctx, b, rand.IntN(2*members))
				took := time.Since(asked)
				if ctx.Err() != nil {
					return
				}
				l.mu.Lock()
				l.took = append(l.took, took)
				l.err = errors.Join(l.err, err)
				l.mu.Unlock()
			}
		})
	}
	return l
}

// take99 returns the 99th percentile of what the calls took since it was asked last, or why any failed.
func (l *openLoad) take99() (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.took
	l.took = nil
	if len(took) == 0 && l.err == nil {
		return 0, errors.New("no call was answered")
	}
	return percentile99(took), l.err
}

func (l *openLoad) stop() {
	l.end()
	l.all.Wait()
}

// percentile99 returns what 99 of 100 do not exceed; 0 for none.
func percentile99(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[(len(d)*99-1)/100]
}
