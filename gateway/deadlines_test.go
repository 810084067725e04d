package gateway

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadlines(t *testing.T) {
	const limit = 10 * time.Second
	type call struct{ begins, takes time.Duration } // takes 0: it is never answered
	tests := []struct {
		name  string
		calls []call
	}{
		{"one in time", []call{{0, limit - 1}}},
		{"one never", []call{{0, 0}}},
		{"one after another", []call{{0, time.Second}, {time.Second, time.Second}, {2 * time.Second, 0}}},
		{"many at once", []call{{0, 0}, {0, 3 * time.Second}, {0, 0}, {0, limit - 1}, {0, 0}}},
		{"the first goes, the next stays", []call{{0, time.Second}, {4 * time.Second, 0}, {5 * time.Second, 6 * time.Second}}},
		{"a long pause", []call{{0, 0}, {time.Hour, 0}, {2 * time.Hour, time.Second}, {3 * time.Hour, 0}}},
		{"just as the timer fires", []call{{0, time.Second}, {limit, 0}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDeadlines(limit)
				for i, c := range test.calls {
					go func() {
						time.Sleep(c.begins)
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						var own deadline
						began := time.Now()
						d.begin(&own, cancel)
						defer d.end(&own)
						var answered <-chan time.Time
						if c.takes > 0 {
							answered = time.After(c.takes)
						}
						select {
						case <-answered:
							d.end(&own)
							d.end(&own) // as it is, when an answer is followed by a failure
						case <-ctx.Done():
						}
						if took := time.Since(began); c.takes == 0 && took != limit || c.takes > 0 && took != c.takes || own.passed.Load() != (c.takes == 0) {
							t.Errorf("call %d: %s, passed: %t", i, took, own.passed.Load())
						}
						time.Sleep(2 * limit)
						if own.passed.Load() != (c.takes == 0) {
							t.Errorf("call %d passed after its end", i)
						}
					}()
				}
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				if d.set || d.pending.next != &d.pending {
					t.Error("something still runs")
				}
			})
		})
	}
}
