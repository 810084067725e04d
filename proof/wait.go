package main

import (
	"context"
	"fmt"
	"time"
)

const (
	// patience is how long a node may take to start or to stop, and a call to be answered.
	patience = 30 * time.Second
	// pollEvery is how often a condition is looked at that nobody tells of.
	pollEvery = time.Millisecond
)

// waitUntil looks at a condition until it holds.
func waitUntil(ctx context.Context, what string, holds func() bool) error {
	deadline := time.Now().Add(patience)
	for !holds() {
		if err := sleep(ctx, pollEvery); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("gave up waiting for %s", what)
		}
	}
	return nil
}

// sleep waits for a time, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// each runs f in n goroutines, numbered from 0, and returns the first error when all have returned.
func each(ctx context.Context, n int, f func(i int) error) error {
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- f(i) }()
	}
	var first error
	for range n {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	if first == nil {
		return ctx.Err()
	}
	return fmt.Errorf("one of %d clients: %w", n, first)
}
