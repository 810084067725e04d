// Package gateway is the door through which metered traffic flows: a reverse proxy that has each request decided before it goes
// upstream, and answers those itself that may not.
//
// What is matched is what is sent on. A request's path is sent in the spelling in which it was matched, and a header that the
// upstream will not see (because it names itself hop-by-hop, or is one of perdiem's) takes no part in the matching either. What only
// perdiem may say is taken off what a client sent, in every spelling: X-Perdiem-*, the X-Forwarded headers, identity headers
// and perdiem's own tokens. Method overrides are dropped, unless [Options].MethodOverride is set: then a POST that means another method is
// matched and sent as that, and a form that carries its query becomes its query. Headers by which some frameworks route instead of by the path
// (X-Original-URL, X-Rewrite-URL) are dropped. What trusted proxies say of the way
// on which a request came is believed, and the upstream is told that way in X-Forwarded-For, -Host, -Proto and Forwarded.
//
// Clients speak HTTP/1.1, or HTTP/2 over TLS; so does the upstream, or HTTP/2 without TLS (h2c). Trailers pass in both directions, and
// what comes is sent on at once, so gRPC passes. How long a client can hold anything by being slow is bounded (see [Timeouts]), as is
// what it can hold by being many ([Connections]), and how fast an address may bring long headers.
//
// An admitted request is charged once, before it goes upstream, whatever becomes of it there. HTTP/1.1 upgrades pass,
// and count as one call; an upgrade to another version of HTTP does not, since calls in it could not be counted. Bodies stream in both
// directions. An upstream's answer passes as it came, a 429 of its own included, but for the headers that tell perdiem's limits.
//
// With [Options.Protect] a call that finds the upstream in trouble is refused before it is charged. A call waits for the upstream until the first byte of
// the answer, but not while the upstream waits for the client to send on.
//
// GET /perdiem/usage is answered by the gateway itself and is never charged.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/perdiem/perdiem/admit"
	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/protect"
	"github.com/perdiem/perdiem/usage"
)

const (
	// maxHeaderBytes is how much a request's headers may take, in bytes: beyond it net/http answers 431.
	maxHeaderBytes = 64 << 10
	// maxUpstreamHeaderBytes is the same for an answer of the upstream.
	maxUpstreamHeaderBytes = 1 << 20
	// maxStreams is how many requests may be under way on a client's HTTP/2 connection.
	maxStreams = 250
	// maxFrame is how long an HTTP/2 frame of a client may be, in bytes: a buffer for one is kept with each connection.
	maxFrame = 32 << 10
	// connectionBuffer and streamBuffer bound what of clients' bodies waits in memory for the upstream, in bytes, with HTTP/2.
	connectionBuffer = 512 << 10
	streamBuffer     = 256 << 10
	// pingAfter is how long an HTTP/2 connection, a client's or the upstream's, may be silent before it is asked whether it is alive, and
	// pingTimeout how long it may then take to answer.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
)

// Options are what a [Gateway] needs.
type Options struct {
	// Upstream is where admitted requests go: http, https or h2c, a host, and perhaps a path, which is put before each request's. By https,
	// HTTP/2 is spoken where the upstream agrees; h2c is HTTP/2 without TLS, without asking.
	Upstream *url.URL
	// UpstreamTimeout is how long the upstream may take to the first byte of its answer, not counting the time in which it waits for the
	// client to send on. It is more than 0.
	UpstreamTimeout time.Duration
	Timeouts        Timeouts    // of clients
	Connections     Connections // of clients
	// TLS is how clients are spoken to; nil: without TLS. Its certificates come by GetCertificate.
	TLS *tls.Config
	// TrustedProxies are the TCP peers whose X-Forwarded headers and Forwarded are believed.
	TrustedProxies []netip.Prefix
	// Hosts are the hosts that the gateway answers for; empty: any.
	Hosts []Host
	CORS  *CORS // nil: preflights are requests like others
	// Protect bounds how many calls wait for the upstream; nil: nothing does.
	Protect *protect.Limiter
	Admit   *admit.Admitter
	Usage   *usage.Reader
	Answers answer.Writer
	Now     func() time.Time
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
	upstream  *url.URL
	scheme    string // http or https
	base      string // the upstream's own path, escaped, without a trailing slash
	timeout   time.Duration
	timeouts  Timeouts
	addresses *addresses
	deadlines *deadlines
	trusted   Proxies
	hosts     hosts                                            // nil: any
	cors      *cors                                            // nil: no CORS
	protect   func(ctx context.Context, endpoint string) error // nil: nothing does
	admit     *admit.Admitter
	usage     *usage.Reader
	answers   answer.Writer
	now       func() time.Time
	log       *sparseLog
	observe   func(Observation)

	transport *transport
	proxy     *httputil.ReverseProxy
	server    *http.Server
	encrypted bool      // clients speak TLS
	bodies    sync.Pool // of *[]byte: bodies of the gateway's own answers

	upgrades upgrades

	methodOverride bool
}

// New returns a Gateway that is not serving yet. The error says which option is missing or wrong.
func New(o Options) (*Gateway, error) {
	cors, err := newCORS(o.CORS, o.Answers.Headers)
	if err != nil {
		return nil, err
	}
	switch {
	case o.Upstream == nil:
		return nil, errors.New("gateway: no upstream")
	case !slices.Contains([]string{"http", "https", "h2c"}, o.Upstream.Scheme) || o.Upstream.Hostname() == "":
		return nil, fmt.Errorf("gateway: upstream %q: write it as http://HOST:PORT, https://HOST or h2c://HOST:PORT", o.Upstream.Redacted())
	case o.Upstream.User != nil || o.Upstream.RawQuery != "" || o.Upstream.Fragment != "":
		return nil, fmt.Errorf("gateway: upstream %q: only a scheme, a host and a path may be told", o.Upstream.Redacted())
	case strings.Contains(o.Upstream.Path, "//"):
		return nil, fmt.Errorf("gateway: upstream %q: the path has a doubled slash", o.Upstream)
	case o.UpstreamTimeout <= 0:
		return nil, fmt.Errorf("gateway: upstream_timeout %v: must be more than 0", o.UpstreamTimeout)
	case o.Timeouts.Headers < 0 || o.Timeouts.Body < 0 || o.Timeouts.BodyRate < 0 || o.Timeouts.Answer < 0 || o.Timeouts.Idle < 0:
		return nil, fmt.Errorf("gateway: timeouts %+v: none may be less than 0", o.Timeouts)
	case o.Connections.Total < 0 || o.Connections.PerAddress < 0:
		return nil, fmt.Errorf("gateway: connections %+v: none may be less than 0", o.Connections)
	case o.TLS != nil && o.TLS.GetCertificate == nil:
		return nil, errors.New("gateway: TLS without a certificate")
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
		upstream:  o.Upstream,
		scheme:    strings.Replace(o.Upstream.Scheme, "h2c", "http", 1),
		base:      strings.TrimRight(o.Upstream.EscapedPath(), "/"),
		timeout:   o.UpstreamTimeout,
		timeouts:  o.Timeouts.orDefaults(),
		deadlines: newDeadlines(o.UpstreamTimeout),
		trusted:   slices.Clone(o.TrustedProxies),
		hosts:     newHosts(o.Hosts),
		cors:      cors,
		admit:     o.Admit,
		usage:     o.Usage,
		answers:   o.Answers,
		now:       o.Now,
		log:       &sparseLog{log: o.Log, now: o.Now},
		observe:   o.Observe,
		bodies:    sync.Pool{New: func() any { return new([]byte) }},
	}
	g.addresses = &addresses{limits: o.Connections.orDefaults(), trusts: g.trusted.trusts, of: map[netip.Addr]*address{}}
	g.methodOverride = o.MethodOverride
	if g.observe == nil {
		g.observe = func(Observation) {}
	}
	if o.Protect != nil {
		g.protect = func(ctx context.Context, endpoint string) error {
			x := exchangeOf(ctx)
			x.observation.Endpoint = endpoint
			return o.Protect.Enter(endpoint, &x.permit)
		}
	}
	g.transport = newTransport(o.Upstream.Scheme, o.UpstreamTimeout)
	g.proxy = g.newProxy()
	g.upgrades.stopping, g.upgrades.stop = context.WithCancel(context.Background())
	g.server, g.encrypted = g.newServer(&o), o.TLS != nil
	return g, nil
}

// Serve serves connections of l until [Gateway.Shutdown], and then returns nil; l is closed. It may be called for several
// listeners.
func (g *Gateway) Serve(l net.Listener) error {
	serve := g.server.Serve
	if g.encrypted {
		serve = func(l net.Listener) error { return g.server.ServeTLS(l, "", "") }
	}
	if err := serve(clients{l, g.timeouts, g.addresses, g.log}); !errors.Is(err, http.ErrServerClosed) {
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
	g.transport.closeIdle()
	return err
}
