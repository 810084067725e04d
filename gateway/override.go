package gateway

import (
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/perdiem/perdiem/admit"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/httpname"
)

// overrideHeader is where a POST says that it means another method, for clients that cannot send that, or whose query is too long
// for a URL. Other headers of the sort (X-HTTP-Method, X-Method-Override) are dropped in any case.
const overrideHeader = "X-Http-Method-Override"

const (
	// maxForm is the length of the longest query that a form may carry, in bytes. No more of a body is ever held.
	maxForm = 64 << 10
	// formTimeout is how long such a form may take to arrive. Until then nothing is charged, so a client could wait at no cost.
	formTimeout = 10 * time.Second
)

// methodOf returns the method by which a request is matched and sent on, in upper case, and whether a header of the request said so.
func (g *Gateway) methodOf(r *http.Request) (method string, overridden bool, err error) {
	if err := malformed(r); err != nil {
		return "", false, err
	}
	method = strings.ToUpper(r.Method)
	if !g.methodOverride || method != http.MethodPost {
		return method, false, nil
	}
	values := r.Header[overrideHeader]
	for i, value := range values {
		value = strings.TrimSpace(value)
		if !httpname.IsToken(value) { // looked at first: letters beyond ASCII become others in upper case
			return "", false, fault.New(fault.Invalid, "The header X-HTTP-Method-Override does not name a method.")
		}
		value = strings.ToUpper(value)
		if i > 0 && value != method {
			return "", false, fault.New(fault.Invalid, "The header X-HTTP-Method-Override is given more than once, with different values.")
		}
		method = value
	}
	return method, len(values) > 0, nil
}

// untunnel returns the request that one with an overridden method stands for. A form in its body is its query, or the end of its query, as
// Rest.li's clients send it: request gets that query, and what is returned has it too, no body, and no header that speaks of one.
// Every other body stays as it is. The error is [fault.Invalid] or one of [admit.Admitter.Identify].
func (g *Gateway) untunnel(x *exchange, r *http.Request, request *admit.Request) (*http.Request, error) {
	carries, err := carriesQuery(request.Header)
	if err != nil || !carries {
		return r, err
	}
	// Whoever is not let in has nothing read and held for them.
	if _, err := g.admit.Identify(x, *request); err != nil {
		return r, err
	}
	form, err := readForm(x.writer, r)
	if err != nil {
		return r, err
	}
	whole := *r.URL
	switch {
	case whole.RawQuery == "":
		whole.RawQuery = form
	case form != "":
		whole.RawQuery += "&" + form
	}
	request.RawQuery = whole.RawQuery
	request.Header = maps.Clone(request.Header)
	maps.DeleteFunc(request.Header, func(name string, _ []string) bool {
		return httpname.HasPrefix(name, "content-") || httpname.Is(name, "expect")
	})
	in := r.WithContext(r.Context())
	in.URL = &url.URL{}
	*in.URL = whole
	in.Body, in.ContentLength, in.TransferEncoding, in.Trailer = http.NoBody, 0, nil, nil
	return in, nil
}

// carriesQuery reports whether a request with these headers and an overridden method has its query in its body.
func carriesQuery(h http.Header) (bool, error) {
	values := h["Content-Type"]
	if len(values) == 0 {
		return false, nil
	}
	for _, value := range values[1:] {
		if value != values[0] {
			return false, fault.New(fault.Invalid, "The header Content-Type is given more than once, with different values.")
		}
	}
	kind, parameters, err := mime.ParseMediaType(values[0])
	switch {
	case err != nil:
		return false, fault.New(fault.Invalid, "The header Content-Type cannot be read.")
	case kind == "multipart/mixed": // how Rest.li's clients send a query and a body, of any length, in one
		return false, fault.New(fault.Invalid, "A query in a part of multipart/mixed is not taken here; send it in the URL, and the body by itself.")
	case kind != "application/x-www-form-urlencoded":
		return false, nil
	}
	switch strings.ToLower(parameters["charset"]) {
	case "", "utf-8", "us-ascii":
	default:
		return false, fault.New(fault.Invalid, "A form that carries a query must be in UTF-8.")
	}
	for _, coding := range h["Content-Encoding"] {
		if !strings.EqualFold(coding, "identity") {
			return false, fault.New(fault.Invalid, "A form that carries a query must not be compressed.")
		}
	}
	return true, nil
}

// readForm reads a body that carries a query. Whatever goes wrong, the connection's time to read stays bounded, also for what net/http
// then reads of the rest.
func readForm(w http.ResponseWriter, r *http.Request) (string, error) {
	if r.ContentLength == 0 {
		return "", nil
	}
	tooLong := fault.New(fault.Invalid, "A form that carries a query may have at most %d bytes.", maxForm)
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(formTimeout)) // the gateway's own server can, in each version of HTTP
	if r.ContentLength > maxForm {
		return "", tooLong
	}
	var form strings.Builder
	n, err := io.CopyBuffer(&form, io.LimitReader(r.Body, maxForm+1), make([]byte, 4<<10))
	switch {
	case n > maxForm:
		return "", tooLong
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", fault.New(fault.Invalid, "The request's body did not arrive in time.")
	case err != nil:
		return "", fault.New(fault.Invalid, "The request's body ended early or is malformed.")
	}
	query := form.String()
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7F || c == '#' {
			return "", fault.New(fault.Invalid, "The form has a character that a query cannot hold; write it as an escape.")
		}
	}
	_ = control.SetReadDeadline(time.Time{})
	return query, nil
}
