package adminapi

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/fault"
)

// problem is an error as it is answered. It is an error for huma's eyes.
type problem struct {
	status int
	header http.Header
	body   []byte
}

var (
	_ huma.StatusError       = (*problem)(nil)
	_ huma.HeadersError      = (*problem)(nil)
	_ huma.ContentTypeFilter = (*problem)(nil)
)

// Error implements error. Nobody reads it: huma answers with the body.
func (p *problem) Error() string { return http.StatusText(p.status) }

// GetStatus implements [huma.StatusError].
func (p *problem) GetStatus() int { return p.status }

// GetHeaders implements [huma.HeadersError].
func (p *problem) GetHeaders() http.Header { return p.header }

// ContentType implements [huma.ContentTypeFilter].
func (p *problem) ContentType(string) string { return "application/problem+json" }

// MarshalJSON returns the body.
func (p *problem) MarshalJSON() ([]byte, error) { return p.body, nil }

// fail returns err as a problem, and logs what is not for whoever asked.
func (a *API) fail(ctx context.Context, operation string, err error) error {
	if k := fault.KindOf(err); k == fault.Internal || k == fault.Unavailable {
		a.Log.LogAttrs(ctx, slog.LevelError, "an operation of the admin API failed", slog.String("operation", operation), slog.Any("err", err))
	}
	return a.problem(err)
}

func (a *API) problem(err error) *problem {
	p := &problem{header: http.Header{}}
	p.status, p.body = a.Fault(p.header, nil, err)
	p.header.Del("Content-Type")  // ContentType tells it
	p.header.Del("Cache-Control") // set for each answer
	return p
}

// transform gives huma's own errors, about requests that do not fit the description, the form of all others.
func (a *API) transform(ctx huma.Context, _ string, v any) (any, error) {
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	var b strings.Builder
	for _, e := range model.Errors {
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		if e.Location != "" {
			b.WriteString(e.Location + ": ")
		}
		b.WriteString(e.Message)
	}
	if b.Len() == 0 {
		b.WriteString(model.Detail)
	}
	if model.Status == http.StatusRequestEntityTooLarge {
		p := &problem{header: http.Header{}}
		p.status, p.body = a.Problem(p.header, nil, model.Status, "The body is larger than what is read: "+model.Detail+".")
		return p, nil
	}
	kind := fault.Invalid
	if model.Status >= http.StatusInternalServerError {
		kind = fault.Internal
	}
	return a.problem(fault.New(kind, "The request is not as /openapi.json describes it: %s.", b.String())), nil
}

// plainStatus answers as 400 whatever huma calls by a finer name, as the body does, but for a body that is too large: 413.
type plainStatus struct{ humaContext }

type humaContext huma.Context // by another name, since it has a method Context

// SetStatus implements [huma.Context].
func (c plainStatus) SetStatus(status int) {
	switch status {
	case http.StatusNotAcceptable, http.StatusRequestTimeout, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		status = http.StatusBadRequest
	}
	c.humaContext.SetStatus(status)
}

// problemDescription describes every answer that is an error.
type problemDescription struct {
	Type    string `json:"type" doc:"A URI that names the kind of problem."`
	Title   string `json:"title" doc:"What the status means."`
	Status  int    `json:"status" doc:"The HTTP status."`
	Detail  string `json:"detail" doc:"What is wrong and what to do; several problems are a line each."`
	Code    string `json:"code" doc:"The status by a name: BAD_REQUEST, UNAUTHORIZED, NOT_FOUND, METHOD_NOT_ALLOWED, CONFLICT, CONTENT_TOO_LARGE, TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE or INTERNAL_SERVER_ERROR."`
	Message string `json:"message" doc:"The same as detail."`
}

// problems describe when each error is answered.
var problems = map[int]string{
	http.StatusBadRequest:            "The request is not as it is described here, or what it asks for makes no sense.",
	http.StatusUnauthorized:          "There is no operator's key, or it does not hold.",
	http.StatusNotFound:              "Something named is not there.",
	http.StatusConflict:              "It belongs to the catalog's file, is under way, or would change something else than was expected.",
	http.StatusRequestEntityTooLarge: "The body is larger than what is read.",
	http.StatusTooManyRequests:       "Too many passwords are being set or tried at the moment; with Retry-After.",
	http.StatusInternalServerError:   "A defect of perdiem's; the log tells more.",
	http.StatusServiceUnavailable:    "The registry or the ledger cannot be asked at the moment; with Retry-After.",
}

// problemResponses describes the errors of an operation: those that all have, and more.
func (a *API) problemResponses(more ...int) map[string]*huma.Response {
	responses := make(map[string]*huma.Response)
	for _, status := range append(more, http.StatusBadRequest, http.StatusUnauthorized, http.StatusInternalServerError, http.StatusServiceUnavailable) {
		responses[strconv.Itoa(status)] = &huma.Response{
			Description: problems[status],
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: a.problemSchema}},
		}
	}
	return responses
}
