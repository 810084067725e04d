package gateway

import (
	"context"
	"net/http"
	"runtime"

	"github.com/perdiem/perdiem/admit"
	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/usage"
)

// usagePath is where callers read their usage.
const usagePath = "/perdiem/usage"

// ServeHTTP decides a request, and sends it upstream or answers it.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := g.now()
	x := &exchange{Context: r.Context(), writer: w}
	defer func() { // also when the proxy gives up an answer half way, which it does by a panic
		x.permit.Release()
		if x.observation.Outcome == Admitted && !x.copied {
			x.observation.Outcome = Unreachable
			if r.Context().Err() != nil || x.untaken {
				x.observation.Outcome = Abandoned
			}
		}
		x.observation.Duration = g.now().Sub(began)
		g.observe(x.observation)
	}()

	if c := anyConnOf(r); c != nil {
		c.received(r)
	}
	if !g.receive(x, r) {
		return
	}
	// Methods are matched as if in upper case, and sent as they were matched.
	method, overridden, err := g.methodOf(r)
	if err != nil {
		g.fail(x, err)
		return
	}
	request := admit.Request{Method: method, RawQuery: r.URL.RawQuery, Header: clean(r.Header)}
	request.Peer, x.client = peer(r)
	if request.Method == http.MethodConnect || r.RequestURI == "*" {
		g.fail(x, fault.New(fault.Invalid, "A request must name a resource: CONNECT and OPTIONS * are not served here."))
		return
	}
	path, err := g.admit.Path(escapedPath(r))
	if err != nil {
		g.fail(x, err)
		return
	}
	request.Path = path
	if x.overridden = overridden; overridden {
		if r, err = g.untunnel(x, r, &request); err != nil {
			g.fail(x, err)
			return
		}
	}
	if path.Match == usagePath {
		g.serveUsage(x, request)
		return
	}

	if isUpgrade(request.Header) { // before it is charged: what comes too late costs nothing
		if !isPrintable(request.Header["Upgrade"]) { // the proxy would refuse it
			g.fail(x, fault.New(fault.Invalid, "The header Upgrade does not name a protocol."))
			return
		}
		ctx, over, ok := g.upgrades.begin(x.Context)
		if !ok {
			g.fail(x, fault.New(fault.Unavailable, "The gateway is stopping."))
			return
		}
		defer over()
		x.Context = ctx
	}
	request.Protect = g.protect
	x.decision, err = g.admit.Admit(x, request)
	if err != nil {
		g.fail(x, err)
		return
	}
	d := &x.decision
	x.observation.Endpoint = d.Endpoint.ID
	if !d.Admitted() {
		x.permit.Release() // before the client, which may be slow, is sent its answer
		g.refuse(x)
		return
	}
	x.observation.Outcome, x.observation.Kind = Admitted, d.Shadowed
	g.forward(x, r, &request)
}

// forward sends an admitted request upstream, and the answer to the client.
func (g *Gateway) forward(x *exchange, r *http.Request, admitted *admit.Request) {
	var ctx context.Context = x
	var cancel context.CancelFunc
	if c := clientConnOf(r); c != nil && r.ContentLength == 0 {
		cancel = c.cancel
	} else {
		ctx, cancel = context.WithCancel(x)
		defer cancel()
	}
	if r.ContentLength == 0 {
		g.deadlines.begin(&x.deadline, cancel)
		defer g.deadlines.end(&x.deadline)
	} else {
		x.body = newBody(r, g.timeout, g.timeouts, cancel, func() { endReading(x.writer, r) }, &x.permit)
		defer x.body.leave()
		// An upstream may answer before it has read all: without this, net/http would first wait for the client to send
		// the rest. Where the connection cannot do so, it never waits.
		_ = http.NewResponseController(x.writer).EnableFullDuplex()
	}
	in := r.WithContext(ctx)
	in.Method, in.Header = admitted.Method, admitted.Header
	if x.body != nil {
		in.Body = x.body
	}
	if r.ProtoMajor != 2 {
		g.pass(x, x.writer, in)
	} else {
		w := &streamWriter{ResponseWriter: x.writer, patience: g.timeouts.Answer}
		defer func() { x.untaken = w.leave() }()
		g.pass(x, w, in)
	}
	x.copied = true
}

// refuse answers a call that a limit refused.
func (g *Gateway) refuse(x *exchange) {
	d := &x.decision
	x.observation.Outcome, x.observation.Kind = Refused, d.Refused
	g.write(x, func(h http.Header, body []byte) (int, []byte) {
		return g.answers.Refusal(h, body, answer.Refusal{
			Decision:    &d.Decision,
			Application: d.Caller.Application,
			Member:      d.Caller.Member,
			Endpoint:    d.Endpoint.ID,
			At:          d.At,
		})
	})
}

// fail answers a request that could not be decided, or not be served.
func (g *Gateway) fail(x *exchange, err error) {
	x.observation.Outcome = Rejected
	switch fault.KindOf(err) {
	case fault.Internal, fault.Unavailable:
		if x.Err() != nil { // the client left, and whatever waited for the decision gave up
			x.abandon(Rejected)
		}
		g.log.failure("a request could not be decided", err)
	default: // the caller's own doing
	}
	g.write(x, func(h http.Header, body []byte) (int, []byte) { return answer.Fault(h, body, err) })
}

// serveUsage answers a caller's question for its own usage.
func (g *Gateway) serveUsage(x *exchange, request admit.Request) {
	if request.Method != http.MethodGet && request.Method != http.MethodHead {
		g.write(x, func(h http.Header, body []byte) (int, []byte) {
			h["Allow"] = []string{"GET, HEAD"}
			return answer.Problem(h, body, http.StatusMethodNotAllowed, "Usage can only be read: send GET.")
		})
		return
	}
	caller, err := g.admit.Identify(x, request)
	if err != nil {
		g.fail(x, err)
		return
	}
	report, err := g.usage.Own(x, usage.Question{
		Application: caller.Application,
		Member:      caller.Member,
		TokenID:     caller.TokenID,
		Header:      request.Header,
		RawQuery:    request.RawQuery,
	})
	if err != nil {
		g.fail(x, err)
		return
	}
	x.observation.Outcome = UsageRead
	g.write(x, func(h http.Header, body []byte) (int, []byte) { return answer.JSON(h, body, report) })
}

// write sends an answer of the gateway's own, in a body that is used again.
func (g *Gateway) write(x *exchange, compose func(h http.Header, body []byte) (int, []byte)) {
	room := g.bodies.Get().(*[]byte)
	status, body := compose(x.writer.Header(), (*room)[:0])
	x.observation.Status = status
	if g.cors != nil {
		g.cors.mark(x.writer.Header(), x.allowed)
	}
	if x.request.ContentLength != 0 {
		drainSoon(x.request)
	}
	if x.request.ProtoMajor == 2 {
		boundStream(x.writer, g.timeouts.Answer)
	}
	answer.Send(x.writer, status, body)
	if cap(body) <= 64<<10 { // a long report is not kept
		*room = body
	}
	g.bodies.Put(room)
	// Whoever sends one such request after the other, and does not wait for answers, would keep a processor for as long as the scheduler lets a goroutine
	// run, which is ten milliseconds: dozens of those before a call that is admitted gets its turn.
	runtime.Gosched()
}

// limits tells an admitted call what is left, in place of whatever the upstream says under the same names.
func (g *Gateway) limits(x *exchange, upstream http.Header) {
	g.answers.Clear(upstream)
	g.answers.Limits(x.writer.Header(), &x.decision.Decision, x.decision.At)
}
