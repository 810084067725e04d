// Package gateway is the door through which metered traffic flows: a reverse proxy that has each request decided before it goes
// upstream, and answers those itself that may not.
//
// What is matched is what is sent on. A request's path is sent in the spelling in which it was matched, and a header that the
// upstream will not see (because it names itself hop-by-hop, or is one of perdiem's) takes no part in the matching either. What only
// perdiem may say is taken off what a client sent, in every spelling: X-Perdiem-*, the X-Forwarded headers, identity headers
// and perdiem's own tokens. Method overrides are dropped, unless [Options].MethodOverride is set: then a POST that means another method is
// matched and sent as that, and a form that carries its query becomes its query.
//
// An admitted request is charged once, before it goes upstream, whatever becomes of it there. HTTP/1.1 upgrades pass,
// and count as one call; an upgrade to another version of HTTP does not, since calls in it could not be counted. Bodies stream in both
// directions. An upstream's answer passes as it came, a 429 of its own included, but for the headers that tell perdiem's limits.
//
// GET /perdiem/usage is answered by the gateway itself and is never charged.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/perdiem/perdiem/admit"
	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/usage"
)

const (
	// readHeaderTimeout is how long a client may take to send a request's headers.
	readHeaderTimeout = 10 * time.Second
	// idleTimeout is how long a client's connection is kept without a request.
	idleTimeout = 2 * time.Minute
	// maxHeaderBytes is how much a request's headers may take, in bytes: beyond it net/http answers 431.
	maxHeaderBytes = 256 << 10
	// maxUpstreamHeaderBytes is the same for an answer of the upstream.
	maxUpstreamHeaderBytes = 1 << 20
)

// Options are what a [Gateway] needs.
type Options struct {
	// Upstream is where admitted requests go: http or https, a host, and perhaps a path, which is put before each request's.
	Upstream *url.URL
	// UpstreamTimeout is how long the upstream may take to the first byte of its answer, not counting the time in which it waits for the
	// client to send on. It is more than 0.
	UpstreamTimeout time.Duration
	Admit           *admit.Admitter
	Usage           *usage.Reader
	Answers         answer.Writer
	Now             func() time.Time
	// Log is told of failures of the upstream and of perdiem itself, at most once a second.
	Log *slog.Logger
	// Observe is told of each request when its answer ends; it must not block. nil: nobody is.
	Observe func(Observation)
	// MethodOverride has a POST with X-HTTP-Method-Override matched and sent on as that method, a form in its body, of at most 64 KiB, being its
	// query.
	MethodOverride bool
}

// Gateway serves metered traffic. It is an [http.Handler], to be served by its own [Gateway.Serve].
type Gateway struct {
	upstream *url.URL
	base     string // the upstream's own path, escaped, without a trailing slash
	timeout  time.Duration
	admit    *admit.Admitter
	usage    *usage.Reader
	answers  answer.Writer
	now      func() time.Time
	log      *sparseLog
	observe  func(Observation)

	transport *http.Transport
	proxy     *httputil.ReverseProxy
	server    *http.Server
	bodies    sync.Pool // of *[]byte: bodies of the gateway's own answers

	upgrades upgrades

	methodOverride bool
}

// New returns a Gateway that is not serving yet. The error says which option is missing or wrong.
func New(o Options) (*Gateway, error) {
	switch {
	case o.Upstream == nil:
		return nil, errors.New("gateway: no upstream")
	case o.Upstream.Scheme != "http" && o.Upstream.Scheme != "https" || o.Upstream.Hostname() == "":
		return nil, fmt.Errorf("gateway: upstream %q: write it as http://HOST:PORT or https://HOST", o.Upstream.Redacted())
	case o.Upstream.User != nil || o.Upstream.RawQuery != "" || o.Upstream.Fragment != "":
		return nil, fmt.Errorf("gateway: upstream %q: only a scheme, a host and a path may be told", o.Upstream.Redacted())
	case strings.Contains(o.Upstream.Path, "//"):
		return nil, fmt.Errorf("gateway: upstream %q: the path has a doubled slash", o.Upstream)
	case o.UpstreamTimeout <= 0:
		return nil, fmt.Errorf("gateway: upstream_timeout %v: must be more than 0", o.UpstreamTimeout)
	case o.Admit == nil:
		return nil, errors.New("gateway: nothing to admit requests")
	case o.Usage == nil:
		return nil, errors.New("gateway: nothing to read usage from")
	case o.Now == nil:
		return nil, errors.New("gateway: no clock")
	case o.Log == nil:
		return nil, errors.New("gateway: no log")
	}
	g := &Gateway{
		upstream: o.Upstream,
		base:     strings.TrimRight(o.Upstream.EscapedPath(), "/"),
		timeout:  o.UpstreamTimeout,
		admit:    o.Admit,
		usage:    o.Usage,
		answers:  o.Answers,
		now:      o.Now,
		log:      &sparseLog{log: o.Log, now: o.Now},
		observe:  o.Observe,
		bodies:   sync.Pool{New: func() any { return new([]byte) }},
	}
	g.methodOverride = o.MethodOverride
	if g.observe == nil {
		g.observe = func(Observation) {}
	}
	g.transport = newTransport(o.UpstreamTimeout)
	g.proxy = g.newProxy()
	g.upgrades.stopping, g.upgrades.stop = context.WithCancel(context.Background())
	g.server = &http.Server{
		Handler:                      g,
		ReadHeaderTimeout:            readHeaderTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true, // OPTIONS * is answered as any other request that names no resource
		ErrorLog:                     slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}
	return g, nil
}

// Serve serves connections of l until [Gateway.Shutdown], and then returns nil; l is closed. It may be called for several
// listeners.
func (g *Gateway) Serve(l net.Listener) error {
	if err := g.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// Shutdown stops listening, lets requests that are under way end, ends upgraded connections, and returns. When ctx ends first,
// what is still open is closed, and ctx's error returned.
func (g *Gateway) Shutdown(ctx context.Context) error {
	err := g.server.Shutdown(ctx)
	if err != nil {
		_ = g.server.Close() // what it could say is what err says
	}
	g.upgrades.end()
	g.transport.CloseIdleConnections()
	return err
}
