package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	probeEvery = 100 * time.Millisecond
	probeBytes = 4096
)

// fsyncs measures how long the disk under a folder takes to sync, from time to time. A node that gives back what it does not use has
// to wait for the same disk: where that stalls for a second, "the last two seconds" of a promise are no longer two.
type fsyncs struct {
	mu    sync.Mutex
	taken []fsync // guarded by mu: in order of time; a sync that is under way is the last
}

// fsync is one sync.
type fsync struct {
	began time.Time
	took  time.Duration // 0 while it is under way
}

// probe syncs until ctx ends.
func (f *fsyncs) probe(ctx context.Context, folder string) error {
	file, err := os.Create(filepath.Join(folder, "probe"))
	if err != nil {
		return err
	}
	defer file.Close()
	block := make([]byte, probeBytes)
	for ctx.Err() == nil {
		began := time.Now()
		f.begin(began)
		if _, err := file.WriteAt(block, 0); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
		f.end(time.Since(began))
		_ = sleep(ctx, probeEvery)
	}
	return nil
}

func (f *fsyncs) begin(at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken = append(f.taken, fsync{began: at})
}

func (f *fsyncs) end(took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken[len(f.taken)-1].took = took
}

// slowest returns the longest time that a sync which touched [from, to] had taken by then.
func (f *fsyncs) slowest(from, to time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var slowest time.Duration
	for _, s := range f.taken {
		end := s.began.Add(s.took)
		if s.took == 0 || end.After(to) {
			end = to
		}
		if s.began.Before(to) && end.After(from) {
			slowest = max(slowest, end.Sub(s.began))
		}
	}
	return slowest
}
