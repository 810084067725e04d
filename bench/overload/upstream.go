package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// upstream works on so many calls at a time, in the order in which they came, and is told by POST /latency how long each takes.
type upstream struct {
	workers chan struct{}
	latency atomic.Int64 // nanoseconds
}

// serveUpstream is what the upstream's process does. It prints its address.
func serveUpstream(workers int) error {
	u := &upstream{workers: make(chan struct{}, workers)}
	u.latency.Store(int64(quick))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, u)
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/latency" {
		text, err := io.ReadAll(io.LimitReader(r.Body, 64))
		if err == nil {
			var d time.Duration
			if d, err = time.ParseDuration(string(text)); err == nil {
				u.latency.Store(int64(d))
				return
			}
		}
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case u.workers <- struct{}{}:
		defer func() { <-u.workers }()
	case <-r.Context().Done():
		return
	}
	time.Sleep(time.Duration(u.latency.Load()))
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, "done\n")
}

// setLatency tells the upstream at an address how long a call takes.
func setLatency(ctx context.Context, address string, d time.Duration) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/latency", strings.NewReader(d.String()))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the upstream answered %s", answer.Status)
	}
	return nil
}
