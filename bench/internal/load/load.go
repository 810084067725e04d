// Package load calls a node as good clients do, without waiting for one answer before the next call.
package load

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/perdiem/perdiem/bench/internal/serve"
)

// Call is one that is over.
type Call struct {
	Sent, Ended time.Duration // since the load began
	Status      int           // 0: there was no answer
}

// Load is an open loop of calls: each is sent when its time has come, whatever became of those before.
type Load struct {
	began  time.Time
	client *http.Client
	target string

	mu    sync.Mutex
	calls []Call // guarded by mu: those that are over
	open  sync.WaitGroup
}

// New returns a load that calls the node or the server at target, as HOST:PORT, and begins its time.
func New(target string) *Load {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	return &Load{began: time.Now(), target: target, client: &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 10_000},
		Timeout:   2 * time.Minute,
	}}
}

// Since returns how long the load lasts.
func (l *Load) Since() time.Duration { return time.Since(l.began) }

// Wait returns when no call is under way.
func (l *Load) Wait() { l.open.Wait() }

// Run sends so many calls a second until ctx ends, or the load has lasted as long as until.
func (l *Load) Run(ctx context.Context, perSecond float64, until time.Duration) {
	begun := time.Now()
	for sent := 0; ctx.Err() == nil && time.Since(l.began) < until; sent++ {
		if wait := time.Duration(float64(sent)/perSecond*1e9) - time.Since(begun); wait > 0 {
			time.Sleep(wait)
		}
		at := time.Since(l.began)
		l.open.Go(func() { l.Send(ctx, at) })
	}
}

// Send makes a call, which was to be sent at at, and returns when it is over.
func (l *Load) Send(ctx context.Context, at time.Duration) {
	c := Call{Sent: at}
	defer func() {
		c.Ended = time.Since(l.began)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.calls = append(l.calls, c)
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.target+"/work", nil)
	if err != nil {
		return
	}
	r.Header.Set(serve.Header, serve.Application)
	answer, err := l.client.Do(r)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body) // what breaks off has a status all the same
	c.Status = answer.StatusCode
}

// Figures are what became of calls.
type Figures struct {
	Good       int           // answered by 200 within the span
	Refused    int           // sent in the span, and answered by 429
	Other      int           // sent in the span, and neither
	P50, P99   time.Duration // of those sent in the span and answered by 200
	LastRefuse time.Duration // when the last of refused was sent; 0: there was none
	LastSlow   time.Duration // when the last call was sent that took longer than a tenth of a second; 0: there was none
}

// Figures returns what became of the calls of a span of time. No call may be under way.
func (l *Load) Figures(from, to time.Duration) (f Figures) {
	var took []time.Duration
	for _, c := range l.calls {
		sent := c.Sent >= from && c.Sent < to
		if c.Status == http.StatusOK && c.Ended >= from && c.Ended < to {
			f.Good++
		}
		if !sent {
			continue
		}
		switch c.Status {
		case http.StatusOK:
			took = append(took, c.Ended-c.Sent)
			if c.Ended-c.Sent > 100*time.Millisecond {
				f.LastSlow = max(f.LastSlow, c.Sent)
			}
		case http.StatusTooManyRequests:
			f.Refused++
			f.LastRefuse = max(f.LastRefuse, c.Sent)
		default:
			f.Other++
		}
	}
	if n := len(took); n > 0 {
		slices.Sort(took)
		f.P50, f.P99 = took[n/2], took[min(n-1, n*99/100)]
	}
	return f
}

// Admitted returns how many calls were sent upstream, and how many nobody knows of.
func (l *Load) Admitted() (admitted, unknown int64) {
	for _, c := range l.calls {
		switch c.Status {
		case 0:
			unknown++
		case http.StatusTooManyRequests:
		default:
			admitted++
		}
	}
	return admitted, unknown
}

// Prompt returns how many of the calls that were sent in a span of time were answered by 200 within so long.
func (l *Load) Prompt(from, to, within time.Duration) (n int) {
	for _, c := range l.calls {
		if c.Sent >= from && c.Sent < to && c.Status == http.StatusOK && c.Ended-c.Sent <= within {
			n++
		}
	}
	return n
}
