package gateway

import (
	"context"
	"net/http"
	"strings"
	"sync"
)

// upgrades keeps count of requests that ask for another protocol. Once it is granted, the server that accepted their connection
// forgets it, so a stop has to end them itself.
type upgrades struct {
	stopping context.Context //nolint:containedctx // it is what ends them, not what they were asked with
	stop     context.CancelFunc

	mu    sync.Mutex
	ended bool           // guarded by mu: no further ones may begin
	open  sync.WaitGroup // raised under mu
}

// begin notes a request that asks for an upgrade. It returns a context that ends with ctx and with the gateway, and a function to
// call when the request is over; ok is false when the gateway has stopped.
func (u *upgrades) begin(ctx context.Context) (_ context.Context, over func(), ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return nil, nil, false
	}
	u.open.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(u.stopping, cancel)
	return ctx, func() {
		detach()
		cancel()
		u.open.Done()
	}, true
}

// end ends those that are open, and waits for them. Their connections are closed at once, so this does not take long.
func (u *upgrades) end() {
	u.mu.Lock()
	u.ended = true
	u.mu.Unlock()
	u.stop()
	u.open.Wait()
}

// isUpgrade reports whether a request asks for another protocol, by headers that [clean] has seen.
func isUpgrade(h http.Header) bool {
	return len(h["Upgrade"]) > 0
}

// isPrintable reports whether values have printable characters of ASCII alone.
func isPrintable(values []string) bool {
	for _, value := range values {
		for i := range len(value) {
			if value[i] < ' ' || value[i] > '~' {
				return false
			}
		}
	}
	return true
}

// mayUpgrade reports whether a protocol named in an Upgrade header may be granted. Another version of HTTP, or TLS with HTTP
// inside, would carry requests that nobody counts.
func mayUpgrade(protocols []string) bool {
	for _, list := range protocols {
		for protocol := range strings.SplitSeq(list, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(protocol), "/")
			switch strings.ToLower(name) {
			case "h2c", "h2", "h3", "http", "https", "tls", "spdy":
				return false
			}
		}
	}
	return true
}
