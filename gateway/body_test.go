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
		late     bool
	}{
		{"a slow client costs the upstream no time", slowClient{5, time.Minute, io.EOF}, time.Second, time.Second, false, false, false},
		{"many pieces may take longer than the limit", slowClient{100, 0, io.EOF}, time.Second, time.Second, false, false, false},
		{"the upstream does not take a piece", slowClient{5, 0, io.EOF}, 11 * time.Second, 0, true, false, false},
		{"the upstream does not answer", slowClient{5, 0, io.EOF}, 0, 11 * time.Second, true, false, false},
		{"the client breaks off", slowClient{5, 0, io.ErrUnexpectedEOF}, 0, 0, false, true, false},
		{"the client falls behind by less than may be", slowClient{60, 10 * time.Second, io.EOF}, 0, 0, false, false, false}, // 5 bytes a time, one a second
		{"the client falls too far behind", slowClient{200, 10 * time.Second, io.EOF}, 0, 0, false, false, true},
		{"what the upstream takes is not the client's", slowClient{200, 5 * time.Second, io.EOF}, 9 * time.Second, 0, false, false, false},
		{"the client falls silent", slowClient{1, time.Hour, io.EOF}, 0, 0, false, false, true},
		{"being early is no credit", slowClient{2, 6 * time.Minute, io.EOF}, 0, 0, false, false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				stopped := false
				b := newBody(&http.Request{Body: &test.client}, timeout, Timeouts{Body: 10 * time.Minute, BodyRate: 1}, cancel, func() { stopped = true }, &protect.Permit{})
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
				if b.timedOut() != test.timedOut || b.broken() != test.broken || b.tooSlow() != test.late || stopped != test.late ||
					(ctx.Err() != nil) != (test.timedOut || test.late) {
					t.Errorf("timed out %t, broken %t, too slow %t, stopped %t, cancelled: %v", b.timedOut(), b.broken(), b.tooSlow(), stopped, ctx.Err())
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

// TestBodyNotRead: an upstream that does not begin to read a body lets its time pass, too.
func TestBodyNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		b := newBody(&http.Request{Body: &slowClient{}}, time.Minute, DefaultTimeouts(), cancel, func() { t.Error("the client was stopped") }, &protect.Permit{})
		<-ctx.Done()
		if took := time.Since(began); took != time.Minute || !b.timedOut() || b.tooSlow() {
			t.Errorf("%s, timed out: %t, the client's fault: %t", took, b.timedOut(), b.tooSlow())
		}
	})
}
