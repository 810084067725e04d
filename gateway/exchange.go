package gateway

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/perdiem/perdiem/admit"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/httpname"
	"github.com/perdiem/perdiem/protect"
)

// exchange is one request under way. It is the request's context, too, so that the proxy's hooks find it without a further
// allocation.
type exchange struct {
	context.Context //nolint:containedctx // it is the request's context
	decision        admit.Decision
	observation     Observation
	writer          http.ResponseWriter
	request         *http.Request // as it came
	client          string        // the address of the other end of the connection, without its port
	permit          protect.Permit
	deadline        deadline   // of the upstream's answer, when there is no body
	allowed         []string   // by CORS: the value of Access-Control-Allow-Origin; nil: none
	body            *body      // what the upstream reads; nil when there is none
	overridden      bool       // the client sent a POST that means another method
	switched        bool       // the upstream has granted an upgrade: the connection is no longer HTTP
	copied          bool       // the answer reached its end
	untaken         bool       // the client of HTTP/2 took nothing of the answer for too long
	answer          heldAnswer // the upstream's
	values          [8]string  // of the headers that are added, in one array
}

type exchangeKey struct{}

// Value returns the exchange itself for its key.
func (x *exchange) Value(key any) any {
	if key == (exchangeKey{}) {
		return x
	}
	return x.Context.Value(key)
}

// timedOut reports whether the upstream let its time pass.
func (x *exchange) timedOut() bool { return x.deadline.passed.Load() || x.body.timedOut() }

// abandon ends a request whose client left. It does not return: net/http would answer 200 in its place, which a client reads that has only
// ended its own sending. This ends the connection, or the stream.
func (x *exchange) abandon(as Outcome) {
	x.observation.Outcome, x.observation.Status = as, statusClientGone
	panic(http.ErrAbortHandler)
}

func exchangeOf(ctx context.Context) *exchange {
	return ctx.Value(exchangeKey{}).(*exchange)
}

// escapedPath returns the path as it stands in the request line. A [net/url.URL] would not do: it decodes and encodes again, and
// an escaped slash beside a character that should have been escaped comes out as a slash.
func escapedPath(r *http.Request) string {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") {
		// The absolute form (RFC 9112, section 3.2.2), which a server has to accept; HTTP/2 has none (RFC 9113, section 8.3.1).
		if r.ProtoMajor > 1 || r.URL.Host == "" || r.URL.Scheme != "http" && r.URL.Scheme != "https" {
			return target // refused for not beginning with a slash
		}
		_, rest, _ := strings.Cut(target, "://")
		i := strings.IndexAny(rest, "/?")
		if i < 0 || rest[i] == '?' {
			return "/"
		}
		target = rest[i:]
	}
	path, _, _ := strings.Cut(target, "?")
	return path
}

// malformed returns why a request is none that HTTP knows, or nil. net/http's server takes any text as the name of a
// trailer that is announced. What else it lets through of HTTP/1 is well formed; of HTTP/2 it takes any text as a method, and reads no further than
// the first of several lengths, of one that is no number nothing.
func malformed(r *http.Request) error {
	if !httpname.IsToken(r.Method) {
		return fault.New(fault.Invalid, "The method is not one.")
	}
	for name := range r.Trailer {
		if !httpname.IsToken(name) {
			return fault.New(fault.Invalid, "The header Trailer does not name trailers.")
		}
	}
	if r.ProtoMajor < 2 {
		return nil
	}
	for _, value := range r.Header["Content-Length"] {
		if length, err := strconv.ParseUint(value, 10, 63); err != nil || int64(length) != r.ContentLength {
			return fault.New(fault.Invalid, "The header Content-Length does not tell the length of the body.")
		}
	}
	return nil
}

// peer returns the address of the other end of the connection, and the same as text; both zero where it has none, as on a Unix
// socket.
func peer(r *http.Request) (netip.Addr, string) {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, ""
	}
	text := r.RemoteAddr[:strings.LastIndexByte(r.RemoteAddr, ':')]
	return address.Addr(), strings.Trim(text, "[]")
}
