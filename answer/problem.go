package answer

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/perdiem/perdiem/fault"
)

// problem is what a status looks like in a body: the standard title, and the code that clients of the model API match.
type problem struct {
	title string
	code  string
}

// problems is the one table of statuses that perdiem answers with by itself, besides the two kinds of 429. What a library answers with may have others; see
// [problemOf].
var problems = map[int]problem{
	http.StatusBadRequest:            {"Bad Request", "BAD_REQUEST"},
	http.StatusUnauthorized:          {"Unauthorized", "UNAUTHORIZED"},
	http.StatusForbidden:             {"Forbidden", "FORBIDDEN"},
	http.StatusNotFound:              {"Not Found", "NOT_FOUND"},
	http.StatusMethodNotAllowed:      {"Method Not Allowed", "METHOD_NOT_ALLOWED"},
	http.StatusRequestTimeout:        {"Request Timeout", "REQUEST_TIMEOUT"},
	http.StatusConflict:              {"Conflict", "CONFLICT"},
	http.StatusRequestEntityTooLarge: {"Content Too Large", "CONTENT_TOO_LARGE"}, // by its name in RFC 9110, section 15.5.14
	http.StatusMisdirectedRequest:    {"Misdirected Request", "MISDIRECTED_REQUEST"},
	http.StatusInternalServerError:   {"Internal Server Error", "INTERNAL_SERVER_ERROR"},
	http.StatusBadGateway:            {"Bad Gateway", "BAD_GATEWAY"},
	http.StatusServiceUnavailable:    {"Service Unavailable", "SERVICE_UNAVAILABLE"},
	http.StatusGatewayTimeout:        {"Gateway Timeout", "GATEWAY_TIMEOUT"},
}

// Status returns the HTTP status with which an error of kind k is answered.
func Status(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthorized:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Exhausted:
		return http.StatusTooManyRequests
	default:
		return http.StatusInternalServerError
	}
}

// Fault answers an error by its kind. Only the message that may be shown is shown; [fault.Exhausted] is answered as
// [Reduced] is.
func Fault(h http.Header, body []byte, err error) (status int, _ []byte) {
	kind := fault.KindOf(err)
	if kind == fault.Exhausted {
		return Reduced(h, body)
	}
	return Problem(h, body, Status(kind), fault.Message(err))
}

// problemOf returns what an error's status looks like; one that is not in the table is called by its name in HTTP, as those in it are. It is false for
// what is no error, or has no name.
func problemOf(status int) (problem, bool) {
	if p, known := problems[status]; known {
		return p, true
	}
	name := http.StatusText(status)
	if name == "" || status < http.StatusBadRequest {
		return problem{}, false
	}
	code := strings.Map(func(r rune) rune {
		if r < 'A' || r > 'z' {
			return '_'
		}
		return r
	}, name)
	return problem{name, strings.ToUpper(code)}, true
}

// Problem answers with an error's status and a sentence about it. A status that is no error, or unknown to HTTP, is answered as 500.
func Problem(h http.Header, body []byte, status int, detail string) (int, []byte) {
	p, ok := problemOf(status)
	if !ok {
		status = http.StatusInternalServerError
		p = problems[status]
	}
	setProblemHeaders(h)
	switch status {
	case http.StatusUnauthorized:
		h["Www-Authenticate"] = []string{`Bearer realm="perdiem"`} // RFC 6750, section 3
	case http.StatusServiceUnavailable:
		setRetryAfter(h, jitter())
	}
	body = append(body, `{"type":"about:blank","title":`...)
	body = appendString(body, p.title)
	body = append(body, `,"status":`...)
	body = strconv.AppendInt(body, int64(status), 10)
	body = append(body, `,"detail":`...)
	body = appendString(body, detail)
	body = append(body, `,"code":"`...)
	body = append(body, p.code...)
	body = append(body, `","message":`...)
	body = appendString(body, detail)
	return status, append(body, '}', '\n')
}

// ReducedMessage is what infrastructure protection says when it refuses a call.
const ReducedMessage = "Too many requests. The service is protecting itself and will return to normal automatically."

// Reduced answers a call that infrastructure protection refuses: 429, to be tried again in a few seconds, drawn at
// random so that callers do not return at once. It says nothing of limits, because nothing was charged.
func Reduced(h http.Header, body []byte) (status int, _ []byte) {
	setProblemHeaders(h)
	setRetryAfter(h, jitter())
	return http.StatusTooManyRequests, append(body, `{"type":"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",`+
		`"title":"Temporarily reduced capacity","status":429,`+
		`"detail":"`+ReducedMessage+`","code":"TOO_MANY_REQUESTS","message":"`+ReducedMessage+`"}`+"\n"...)
}

// jitter returns from 2 to 5 seconds.
func jitter() int64 { return 2 + rand.Int64N(4) }

func setProblemHeaders(h http.Header) {
	h["Content-Type"] = []string{"application/problem+json"}
	h["Cache-Control"] = []string{"no-store"}
}

func setRetryAfter(h http.Header, seconds int64) {
	h["Retry-After"] = []string{strconv.FormatInt(seconds, 10)}
}
