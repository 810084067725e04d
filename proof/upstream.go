package main

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// upstream is the API behind the gateway. It keeps a record of each call that reaches it: what counts as admitted is counted here.
type upstream struct {
	address string
	server  *http.Server
	latency atomic.Int64 // nanoseconds until it answers
	open    atomic.Int64 // connections

	mu       sync.Mutex
	arrivals []arrival // guarded by mu: in order of time
}

// arrival is a call that reached the upstream, with what the gateway says of it.
type arrival struct {
	id          uint64 // 0: a call that is not counted, or that did not come from a client of the proof
	application string
	member      string
	endpoint    string
	at          time.Time
}

func startUpstream() (*upstream, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{address: listener.Addr().String()}
	u.server = &http.Server{
		Handler: u,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				u.open.Add(1)
			case http.StateClosed, http.StateHijacked:
				u.open.Add(-1)
			case http.StateActive, http.StateIdle:
			}
		},
	}
	go func() { _ = u.server.Serve(listener) }() // it ends with close
	return u, nil
}

func (u *upstream) close() { _ = u.server.Close() } // the proof is over

var okBody = []byte("ok\n")

// ServeHTTP records the call, waits for as long as the upstream is told to take, and answers 200.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.ParseUint(r.Header.Get(callHeader), 10, 64) // 0 stands out as nobody's
	a := arrival{
		id:          id,
		application: r.Header.Get("X-Perdiem-Application"),
		member:      r.Header.Get("X-Perdiem-Member"),
		endpoint:    r.Header.Get("X-Perdiem-Endpoint"),
	}
	u.mu.Lock()
	a.at = time.Now()
	u.arrivals = append(u.arrivals, a)
	u.mu.Unlock()
	if latency := time.Duration(u.latency.Load()); latency > 0 && sleep(r.Context(), latency) != nil {
		return // nobody waits for the answer any more
	}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(okBody))}
	_, _ = w.Write(okBody) // a client that has gone is not the upstream's concern
}

// drained waits until all that a node that is gone had sent is recorded: until its connections are closed.
func (u *upstream) drained(ctx context.Context) error {
	return waitUntil(ctx, "the upstream's connections to close", func() bool { return u.open.Load() == 0 })
}

// count returns how many calls have arrived.
func (u *upstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.arrivals)
}

// since returns the calls that arrived after the first n.
func (u *upstream) since(n int) []arrival {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.arrivals[n:len(u.arrivals):len(u.arrivals)]
}

// byCall counts arrivals by the call's id.
func byCall(arrivals []arrival) map[uint64]int {
	times := make(map[uint64]int, len(arrivals))
	for _, a := range arrivals {
		times[a.id]++
	}
	return times
}

// charged returns what arrivals of one endpoint were charged, in calls: by member, the application's own sum under "".
func charged(arrivals []arrival, cost int64) map[string]int64 {
	sum := map[string]int64{}
	for _, a := range arrivals {
		sum[""] += cost
		if a.member != "" {
			sum[a.member] += cost
		}
	}
	return sum
}
