package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// What demo --traffic adds: an application of its own, so that whoever follows the demo finds theirs untouched. Of posts.create its members make more calls
// than they may, and of the rest as many as last for the day.
const (
	trafficApplication = "sample"
	trafficMembers     = 8
	trafficEvery       = 400 * time.Millisecond // a call, about
	trafficTokensHold  = 30 * 24 * time.Hour    // longer than a demo runs
	trafficCatalog     = `  - id: sample
    name: Sample traffic
    overrides:
      posts.find: {application: 120000, member: 60000}
      posts.get: {application: 120000, member: unlimited}
      "*": {application: 20000, member: 10000}
`
)

// traffic makes calls through the gateway, as a few members of an application do who are not all as busy.
type traffic struct {
	gateway string   // its address, as http://HOST:PORT
	tokens  []string // of the members, the busiest first
	every   time.Duration
	random  *rand.Rand
	client  *http.Client

	cancel context.CancelFunc
	ended  chan struct{}
}

// startTraffic begins to make calls, until stop.
func startTraffic(gateway string, tokens []string, every time.Duration) *traffic {
	ctx, cancel := context.WithCancel(context.Background())
	t := &traffic{
		gateway: gateway, tokens: tokens, every: every, random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		client: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second},
		cancel: cancel, ended: make(chan struct{}),
	}
	go func() {
		defer close(t.ended)
		t.run(ctx)
	}()
	return t
}

// stop returns when no call is made any more. Nothing happens to a nil traffic.
func (t *traffic) stop() {
	if t == nil {
		return
	}
	t.cancel()
	<-t.ended
	t.client.CloseIdleConnections()
}

func (t *traffic) run(ctx context.Context) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		t.call(ctx)
		wait.Reset(t.every/2 + time.Duration(t.random.Int64N(int64(t.every))))
	}
}

// call makes one call of somebody's. What is answered is in the portal.
func (t *traffic) call(ctx context.Context) {
	method, path := t.endpoint()
	r, err := http.NewRequestWithContext(ctx, method, t.gateway+path, strings.NewReader(""))
	if err != nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+t.member())
	answer, err := t.client.Do(r)
	if err != nil {
		return // the gateway stops, or has too much to do: the next call tries again
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20)) // so that the connection is used again
}

// endpoint returns what is called: lists more often than posts are written, and now and then what is no endpoint.
func (t *traffic) endpoint() (method, path string) {
	switch p := t.random.IntN(100); {
	case p < 45:
		return http.MethodGet, "/rest/posts"
	case p < 80:
		return http.MethodGet, fmt.Sprintf("/rest/posts/%d", 1+t.random.IntN(20))
	case p < 95:
		return http.MethodPost, "/rest/posts"
	default:
		return http.MethodGet, "/rest/comments"
	}
}

// member returns the token of one: each is half as busy as the one before, the last two alike.
func (t *traffic) member() string {
	i := 0
	for i < len(t.tokens)-1 && t.random.IntN(2) == 0 {
		i++
	}
	return t.tokens[i]
}
