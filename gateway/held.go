package gateway

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// heldBytes is how much of an answer is held back, in bytes: about as much as net/http keeps in its buffers before it sends any of it.
const heldBytes = 4 << 10

// heldAnswer is an upstream's answer on its way to the client. Its beginning is held back while net/http would not send it either: as long as nothing
// was sent, an answer that breaks off can still become another. An answer that comes whole, or is flushed, is held back by nothing.
type heldAnswer struct {
	http.ResponseWriter              // to the client
	body                upstreamBody // what is written comes from
	rooms               *sync.Pool   // of *[]byte
	status              int          // that waits to be sent; 0: none does
	room                *[]byte      // what waits after it; nil: nothing does
}

// Unwrap is for [http.ResponseController].
func (a *heldAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader takes the answer's status, which is sent later. What informs of an answer to come is sent at once, but for 100: net/http tells a client to go
// on when its body is first read, which is when the upstream has said so, and would tell it twice.
func (a *heldAnswer) WriteHeader(status int) {
	switch {
	case status >= http.StatusOK:
		a.status = status
	case status != http.StatusContinue:
		a.ResponseWriter.WriteHeader(status)
	}
}

// Write writes to the client, or holds back.
func (a *heldAnswer) Write(p []byte) (int, error) {
	if a.status != 0 {
		if !a.body.ended && a.hold(p) {
			return len(p), nil
		}
		if err := a.send(); err != nil {
			return 0, err
		}
	}
	return a.ResponseWriter.Write(p)
}

// FlushError sends what was written.
func (a *heldAnswer) FlushError() error {
	if err := a.send(); err != nil {
		return err
	}
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// hold reports whether p could be held back.
func (a *heldAnswer) hold(p []byte) bool {
	held := len(p)
	if a.room != nil {
		held += len(*a.room)
	}
	if held > heldBytes {
		return false
	}
	if a.room == nil {
		a.room = a.rooms.Get().(*[]byte)
		*a.room = (*a.room)[:0]
	}
	*a.room = append(*a.room, p...)
	return true
}

// send sends what was held back.
func (a *heldAnswer) send() (err error) {
	if a.status == 0 {
		return nil
	}
	a.ResponseWriter.WriteHeader(a.status)
	a.status = 0
	if a.room != nil {
		_, err = a.ResponseWriter.Write(*a.room)
		a.forget()
	}
	return err
}

// drop forgets what was held back, and reports whether that was all of the answer.
func (a *heldAnswer) drop() bool {
	all := a.status != 0
	a.status = 0
	a.forget()
	return all
}

func (a *heldAnswer) forget() {
	if a.room != nil {
		a.rooms.Put(a.room)
		a.room = nil
	}
}

// upstreamBody is the body of an upstream's answer. It remembers whether the upstream broke it off.
type upstreamBody struct {
	io.ReadCloser
	ended   bool  // it was read to its end
	failure error // why it could not be read; nil: it could so far
}

// Read reads from the upstream.
func (b *upstreamBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		b.ended = true
	default:
		b.failure = err
	}
	return n, err
}

// pass has the proxy send a request upstream, and the answer to w.
func (g *Gateway) pass(x *exchange, w http.ResponseWriter, r *http.Request) {
	x.answer.ResponseWriter, x.answer.rooms = w, &g.bodies
	defer func() {
		if x.answer.body.failure == nil {
			return
		}
		switch raised := recover(); raised {
		case nil:
		case http.ErrAbortHandler: // which is how the proxy gives up an answer
			g.brokeOff(x)
		default:
			panic(raised)
		}
	}()
	g.proxy.ServeHTTP(&x.answer, r)
	_ = x.answer.send() // an error means that the client is gone
}

// brokeOff answers a request to which the upstream gave a part of an answer, where the client has seen nothing of that. Where it has, nothing but the
// end of the connection, or of the stream, tells it that the answer is not whole.
func (g *Gateway) brokeOff(x *exchange) {
	switch {
	case x.Err() != nil: // the client left, which ended the exchange with the upstream
		panic(http.ErrAbortHandler)
	case x.body.broken(): // so did that the client's body broke off
		x.observation.Outcome = Abandoned
		panic(http.ErrAbortHandler)
	}
	x.observation.Outcome = Unreachable
	g.log.failure("the upstream broke off in the middle of its answer", x.answer.body.failure)
	if !x.answer.drop() {
		panic(http.ErrAbortHandler)
	}
	clear(x.writer.Header())
	g.upstreamProblem(x, http.StatusBadGateway, "The service behind the gateway broke off its answer.")
}
