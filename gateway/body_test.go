package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdiem/perdiem/protect"
)

// slowClient is a client's body of a few pieces, each of which takes its time.
type slowClient struct {
	pieces int
	each   time.Duration
	end    error
}

func (s *slowClient) Read(p []byte) (int, error) {
	if s.pieces == 0 {
		return 0, s.end
	}
	time.Sleep(s.each)
	s.pieces--
	return copy(p, "piece"), nil
}

func (*slowClient) Close() error { return nil }

func TestBodyTurns(t *testing.T) {
	const timeout = 10 * time.Second
	tests := []struct {
		name     string
		client   slowClient
		upstream time.Duration // how long it takes each piece
		answer   time.Duration // how long it takes to answer after the last
		timedOut bool
		broken   bool
	}{
		{"a slow client costs the upstream no time", slowClient{5, time.Minute, io.EOF}, time.Second, time.Second, false, false},
		{"many pieces may take longer than the limit", slowClient{100, 0, io.EOF}, time.Second, time.Second, false, false},
		{"the upstream does not take a piece", slowClient{5, 0, io.EOF}, 11 * time.Second, 0, true, false},
		{"the upstream does not answer", slowClient{5, 0, io.EOF}, 0, 11 * time.Second, true, false},
		{"the client breaks off", slowClient{5, 0, io.ErrUnexpectedEOF}, 0, 0, false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				b := newBody(&http.Request{Body: &test.client}, timeout, cancel, &protect.Permit{})
				wait := func(d time.Duration) bool {
					select {
					case <-time.After(d):
						return true
					case <-ctx.Done():
						return false
					}
				}
				buffer := make([]byte, 100)
				for {
					_, err := b.Read(buffer)
					if err != nil {
						if !errors.Is(err, test.client.end) {
							t.Errorf("read: %v", err)
						}
						wait(test.answer)
						break
					}
					if !wait(test.upstream) {
						break
					}
				}
				b.answered()
				if b.timedOut() != test.timedOut || b.broken() != test.broken || (ctx.Err() != nil) != test.timedOut {
					t.Errorf("timed out %t, broken %t, cancelled: %v", b.timedOut(), b.broken(), ctx.Err())
				}
				// Once answered, the upstream may take its time with the rest.
				_, _ = b.Read(buffer)
				time.Sleep(time.Hour)
				if b.timedOut() != test.timedOut {
					t.Error("timed out after the answer")
				}
			})
		})
	}
}
