package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/internal/httpname"
)

const (
	// idleUpstream is how many unused connections to the upstream are kept, and for how long.
	idleUpstream        = 512
	idleUpstreamTimeout = time.Minute
	// dialTimeout is how long a connection to the upstream may take to be made, TLS apart.
	dialTimeout = 5 * time.Second
	// continueTimeout is how long a client that waits for 100 Continue waits for the upstream to say it.
	continueTimeout = time.Second
)

// transport carries requests to the upstream. Where the upstream may speak HTTP/2, which has no upgrades, those go over connections of
// their own, by HTTP/1.1.
type transport struct {
	requests *http.Transport
	upgrades *http.Transport // nil: the same
}

// newTransport returns the transport to an upstream of a scheme, as [Options] has it.
func newTransport(scheme string, timeout time.Duration) *transport {
	t := &transport{requests: newConnections(timeout)}
	var spoken, upgraded http.Protocols
	upgraded.SetHTTP1(true)
	switch scheme {
	case "h2c":
		spoken.SetUnencryptedHTTP2(true)
	case "https":
		spoken.SetHTTP1(true)
		spoken.SetHTTP2(true)
	default:
		spoken = upgraded
	}
	t.requests.Protocols = &spoken
	if spoken != upgraded {
		t.upgrades = newConnections(timeout)
		t.upgrades.Protocols = &upgraded
	}
	return t
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.upgrades != nil && isUpgrade(r.Header) {
		return t.upgrades.RoundTrip(r)
	}
	return t.requests.RoundTrip(r)
}

func (t *transport) closeIdle() {
	t.requests.CloseIdleConnections()
	if t.upgrades != nil {
		t.upgrades.CloseIdleConnections()
	}
}

func newConnections(timeout time.Duration) *http.Transport {
	connecting := min(timeout-timeout/10, dialTimeout) // ends before the call does, which is how it is known what took so long
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: connecting}).DialContext,
		TLSHandshakeTimeout:    connecting,
		MaxIdleConnsPerHost:    idleUpstream,
		IdleConnTimeout:        idleUpstreamTimeout,
		ExpectContinueTimeout:  continueTimeout,
		MaxResponseHeaderBytes: maxUpstreamHeaderBytes,
		DisableCompression:     true, // what the client accepts is for the client to say
		HTTP2: &http.HTTP2Config{
			// What waits for a slow client of one answer. That of a connection is left at what net/http takes: all answers share it,
			// and must not wait for one another.
			MaxReceiveBufferPerStream: streamBuffer,
			SendPingTimeout:           pingAfter,
			PingTimeout:               pingTimeout,
		},
	}
}

func (g *Gateway) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        g.rewrite,
		ModifyResponse: g.modifyResponse,
		ErrorHandler:   g.upstreamFailed,
		Transport:      g.transport,
		BufferPool:     &buffers{},
		ErrorLog:       log.New(io.Discard, "", 0), // it speaks only of answers that either side broke off
	}
}

// rewrite makes the request that goes upstream out of the client's.
func (g *Gateway) rewrite(p *httputil.ProxyRequest) {
	x := exchangeOf(p.In.Context())
	d := &x.decision
	out := p.Out

	// Opaque is written into the request line as it is, which is how what is sent stays what was matched.
	*out.URL = url.URL{
		Scheme:     g.scheme,
		Host:       g.upstream.Host,
		Opaque:     g.base + d.Path.Forward,
		RawQuery:   p.In.URL.RawQuery,
		ForceQuery: p.In.URL.ForceQuery,
	}

	h := out.Header
	g.keepForwarded(x, p.In, h)
	g.admit.Strip(h)
	n := 0
	set := func(name, value string) {
		if value != "" {
			x.values[n] = value
			h[name] = x.values[n : n+1 : n+1]
			n++
		}
	}
	set("X-Perdiem-Application", d.Caller.Application)
	set("X-Perdiem-Member", d.Caller.Member)
	set("X-Perdiem-Endpoint", d.Endpoint.ID)
	way := g.way(x, p.In)
	set("X-Forwarded-For", way.chain)
	set("X-Forwarded-Host", way.host)
	set("X-Forwarded-Proto", way.proto)
	set("Forwarded", way.forwarded)
	set("X-Real-Ip", way.client)

	if x.body != nil && len(out.Trailer) > 0 {
		g.admit.Strip(out.Trailer)
		maps.DeleteFunc(out.Trailer, func(name string, _ []string) bool { return httpname.IsReserved(name) })
		x.body.trailer = out.Trailer
	}
}

// answered notes that the upstream has answered or failed: its time is over.
func (g *Gateway) answered(x *exchange) {
	if x.body != nil {
		x.body.answered()
		return
	}
	g.deadlines.end(&x.deadline)
}

// modifyResponse readies an upstream's answer for the client.
func (g *Gateway) modifyResponse(res *http.Response) error {
	x := exchangeOf(res.Request.Context())
	g.answered(x)
	if x.timedOut() { // in the moment in which the answer came: it cannot be read to its end any more
		return context.DeadlineExceeded
	}
	x.permit.Answered(isOverload(res.StatusCode))
	x.observation.Status = res.StatusCode
	if res.StatusCode < http.StatusContinue {
		return fmt.Errorf("the upstream answered with status %03d", res.StatusCode)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		granted := res.Header.Get("Upgrade")
		if asked := res.Request.Header.Get("Upgrade"); asked == "" || !strings.EqualFold(asked, granted) {
			return errors.New("the upstream switched to a protocol that was not asked for")
		}
		x.switched = true
	} else {
		x.answer.body.ReadCloser = res.Body
		res.Body = &x.answer.body
	}
	if x.overridden && res.Request.Method == http.MethodHead { // the client sent a POST, and would wait for the body
		res.Header.Del("Content-Length")
	}
	h := x.writer.Header()
	if _, told := res.Header["Content-Type"]; !told {
		h["Content-Type"] = nil // keeps net/http from guessing one
	}
	if len(res.Trailer) > 0 && res.Request.Method != http.MethodHead {
		delete(res.Header, "Content-Length") // HTTP/2 may tell the length of a body with trailers; HTTP/1.1 has none then
	}
	g.limits(x, res.Header)
	if g.cors != nil {
		g.cors.markUpstream(h, res.Header, x.allowed)
	}
	return nil
}

// upstreamFailed answers a request for which the upstream gave no answer.
func (g *Gateway) upstreamFailed(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	g.answered(x)
	if x.timedOut() && r.ProtoMajor == 1 {
		x.writer.Header()["Connection"] = []string{"close"} // whatever is answered: see clientConn.cancel
	}
	switch {
	case x.switched: // the connection is another protocol's, and broken
		x.observation.Outcome = Abandoned
	case x.body.tooSlow():
		x.observation.Outcome = Abandoned
		if r.ProtoMajor == 1 {
			x.writer.Header()["Connection"] = []string{"close"} // what comes late is not read
		}
		g.upstreamProblem(x, http.StatusRequestTimeout, "The request's body came too slowly.")
	case x.body.broken():
		x.observation.Outcome = Abandoned
		x.permit.Release()
		g.upstreamProblem(x, http.StatusBadRequest, "The request's body ended early or is malformed.")
	case x.Err() != nil && !x.timedOut():
		x.abandon(Abandoned)
	case isUnsent(err):
		x.observation.Outcome = Rejected
		x.permit.Release()
		detail := "The request cannot be sent on."
		if err.Error() == headersTooLong {
			detail = "The request's headers are longer than the service behind the gateway takes."
		}
		g.upstreamProblem(x, http.StatusBadRequest, detail)
	case isTimeout(err) || x.timedOut():
		g.noAnswer(x, err)
		x.observation.Outcome = TimedOut
		if x.timedOut() { // what ended the exchange says only that something did
			err = fmt.Errorf("upstream_timeout, %v, was over before its turn ended", g.timeout)
		}
		g.log.failure("the upstream did not answer in time", err)
		g.upstreamProblem(x, http.StatusGatewayTimeout, "The service behind the gateway did not answer in time.")
	default:
		g.noAnswer(x, err)
		x.observation.Outcome = Unreachable
		g.log.failure("the upstream could not be reached, or broke off", err)
		g.upstreamProblem(x, http.StatusBadGateway, "The service behind the gateway could not be reached, or did not answer properly.")
	}
}

// noAnswer tells protection that the upstream gave no answer, and whether there was a connection to it at all.
func (g *Gateway) noAnswer(x *exchange, err error) {
	if isUnreached(err) {
		x.permit.Unreached()
		return
	}
	x.permit.Answered(true)
}

// headersTooLong is what [http.Transport] says of a request whose headers are longer than an upstream of HTTP/2 has announced to take.
const headersTooLong = "http2: request header list larger than peer's advertised limit"

// isUnsent reports whether an error means that nothing was sent because of what the request is: that says nothing of the upstream, and a client could
// bring it about at will. net/http and its proxy tell these from others by their texts alone.
func isUnsent(err error) bool {
	text := err.Error()
	return text == headersTooLong || strings.HasPrefix(text, "net/http: invalid ") || strings.HasPrefix(text, "client tried to switch to invalid protocol ")
}

// isUnreached reports whether an error of the transport means that no connection could be made, or none that could be trusted.
func isUnreached(err error) bool {
	if failure, ok := errors.AsType[*net.OpError](err); ok && failure.Op == "dial" {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	_, ok := errors.AsType[tls.RecordHeaderError](err) // what answers speaks no TLS
	return ok
}

// isOverload reports whether an answer's status says that the upstream, or what is behind it, has too much to do or is down.
func isOverload(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// upstreamProblem answers in the upstream's place. The call was charged, so its caller is told what is left.
func (g *Gateway) upstreamProblem(x *exchange, status int, detail string) {
	g.write(x, func(h http.Header, body []byte) (int, []byte) {
		g.limits(x, nil)
		return answer.Problem(h, body, status, detail)
	})
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// buffers are what answers are copied through.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get returns a buffer.
func (b *buffers) Get() []byte {
	if array, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return array[:]
	}
	return make([]byte, bufferSize)
}

// Put takes back what Get returned.
func (b *buffers) Put(buffer []byte) { b.pool.Put((*[bufferSize]byte)(buffer)) }
