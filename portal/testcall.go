package portal

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// Call makes a request at the gateway, as the owner of a token, and returns the status and the headers of the answer. The path is escaped.
type Call = func(ctx context.Context, method, path, token string) (status int, header http.Header, err error)

const (
	callEvery    = 5 * time.Second  // between two test calls of an application
	callToken    = 30 * time.Second // how long the token of one holds
	maxParameter = 256              // bytes
	maxShown     = 16 << 10         // bytes of an answer's headers that are shown
)

// callBody is what the page of a test call is told.
type callBody struct {
	App        application
	Endpoints  []option
	Endpoint   *calledEndpoint // nil: none is chosen
	Parameters []parameter
	Problem    string // what kept the call from being made; empty: nothing
	Result     *callResult
}

// calledEndpoint is the endpoint that is called.
type calledEndpoint struct {
	ID, Match, When string
	Cost            int64
	Curl            string // a command that calls it, where the portal does not
}

// parameter is one of an endpoint's pattern.
type parameter struct {
	Name string // in the pattern, and in the form with "p." before it
	field
}

// callResult is what became of a test call.
type callResult struct {
	Method, Path string
	Status       int
	Word         string // of the status
	Good         bool
	Header       [][2]string
	Cut          bool // not all of the header is shown
}

// paces hold each application to doing something once in a while. The zero value holds nobody yet.
type paces struct {
	mu   sync.Mutex
	last map[string]time.Time // guarded by mu: by application
}

// take reports whether an application may do it now, once in every, and notes that it does.
func (p *paces) take(application string, every time.Duration, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.last, func(_ string, last time.Time) bool { return now.Sub(last) >= every || now.Before(last) })
	if _, soon := p.last[application]; soon {
		return false
	}
	if p.last == nil {
		p.last = map[string]time.Time{}
	}
	p.last[application] = now
	return true
}

// mayCall reports whether the portal calls an endpoint: whoever does so must change nothing by it, and meet it by method and path alone.
func mayCall(e *catalog.Endpoint) bool {
	return (e.Method == http.MethodGet || e.Method == http.MethodHead) && e.When.IsZero()
}

// parameters returns the names in a pattern that stand for segments of a path, in order.
func parameters(pattern string) (names []string) {
	for part := range strings.SplitSeq(pattern, "/") {
		if name, ok := parameterName(part); ok {
			names = append(names, name)
		}
	}
	return names
}

// parameterName returns the name of a segment of a pattern that stands for any, as [net/http.ServeMux] has it.
func parameterName(part string) (string, bool) {
	if !strings.HasPrefix(part, "{") || part == "{$}" {
		return "", false
	}
	return strings.TrimSuffix(strings.Trim(part, "{}"), "..."), true
}

// fillIn returns the escaped path of a pattern with values for its parameters, each as one segment.
func fillIn(pattern string, value func(name string) string) string {
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		if name, ok := parameterName(part); ok {
			parts[i] = url.PathEscape(value(name))
		} else if part == "{$}" {
			parts[i] = ""
		} else if literal, err := url.PathUnescape(part); err == nil { // always: it is a pattern
			parts[i] = url.PathEscape(literal)
		}
	}
	return strings.Join(parts, "/")
}

// testCall shows the page of a test call: to choose an endpoint, to fill its parameters in, and what became of it.
func (p *Portal) testCall(v *visit) error {
	query := v.r.URL.Query()
	body, _, err := p.newCall(v, query)
	if err != nil {
		return err
	}
	if result, ok := p.once.take(*v.session, query.Get("made"), p.Now()).(callResult); ok {
		body.Result = &result
	}
	return p.showCall(v, http.StatusOK, body)
}

func (p *Portal) showCall(v *visit, status int, body *callBody) error {
	return v.show(status, "call", page{Title: "Test call · " + displayName(v.app), Body: body})
}

// newCall returns what a query or a form asks to call; the endpoint is nil where it names none.
func (p *Portal) newCall(v *visit, asked url.Values) (*callBody, *catalog.Endpoint, error) {
	if p.Call == nil {
		return nil, nil, errNotFound
	}
	snapshot := p.Catalog()
	body := &callBody{App: v.application("analytics")}
	chosen, known := snapshot.Endpoint(asked.Get("endpoint"))
	for _, e := range snapshot.Endpoints() {
		if snapshot.Limits(v.app, e).Application != 0 {
			body.Endpoints = append(body.Endpoints, option{e.ID, e.ID, known && e == chosen})
		}
	}
	if !known {
		return body, nil, nil
	}
	body.Endpoint = &calledEndpoint{ID: chosen.ID, Match: chosen.Match(), When: conditions(snapshot, chosen.ID), Cost: chosen.Cost}
	if !mayCall(chosen) {
		body.Endpoint.Curl = p.curl(chosen)
		return body, chosen, nil
	}
	for _, name := range parameters(chosen.Path) {
		body.Parameters = append(body.Parameters, parameter{name, field{Value: asked.Get("p." + name)}})
	}
	return body, chosen, nil
}

// curl returns a command that calls an endpoint, whose parameters and conditions are for the reader to fill in.
func (p *Portal) curl(e *catalog.Endpoint) string {
	method, path := e.Method, e.Path
	if path == "" {
		path = "/"
	}
	command := "curl -i"
	if method != "" && method != http.MethodGet {
		command += " -X " + method
	}
	return command + " -H 'Authorization: Bearer TOKEN' '" + p.Gateway + strings.ReplaceAll(strings.ReplaceAll(path, "{$}", ""), "'", "%27") + "'"
}

// makeCall makes one real call, which is counted, and goes on to what became of it.
func (p *Portal) makeCall(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	body, e, err := p.newCall(v, form)
	if err != nil {
		return err
	}
	if e == nil || !mayCall(e) {
		body.Problem = "Choose an endpoint that the portal can call."
		return p.showCall(v, http.StatusUnprocessableEntity, body)
	}
	path := body.path(p.Catalog(), e)
	if path == "" {
		return p.showCall(v, http.StatusUnprocessableEntity, body)
	}
	now := p.Now()
	if !p.calls.take(v.app.ID, callEvery, now) {
		body.Problem = "One test call in five seconds: make it again in a moment."
		return p.showCall(v, http.StatusTooManyRequests, body)
	}
	_, secret, err := p.newToken(v, now.Add(callToken))
	if fault.KindOf(err) == fault.Conflict {
		body.Problem = wrong(err)
		return p.showCall(v, http.StatusConflict, body)
	}
	if err != nil {
		return err
	}
	status, header, err := p.Call(v.r.Context(), e.Method, path, secret)
	if err != nil {
		p.Log.Warn("a test call could not be made", "application", v.app.ID, "endpoint", e.ID, "err", err)
		body.Problem = "The gateway did not answer. The call may have been counted all the same: Analytics says so."
		return p.showCall(v, http.StatusBadGateway, body)
	}
	result := newResult(e.Method, path, status, header)
	next := url.Values{"endpoint": {e.ID}, "made": {p.once.keep(*v.session, result, now)}}
	for _, parameter := range body.Parameters {
		next.Set("p."+parameter.Name, parameter.Value)
	}
	http.Redirect(v.w, v.r, p.applicationPath(v.app.ID, "call")+"?"+next.Encode(), http.StatusSeeOther)
	return nil
}

// path returns the escaped path that the parameters make, and empty where they make none of the endpoint's: why is noted beside them.
func (b *callBody) path(s *catalog.Snapshot, e *catalog.Endpoint) string {
	fine := true
	values := map[string]string{}
	for i := range b.Parameters {
		f := &b.Parameters[i]
		values[f.Name] = f.Value
		switch {
		case f.Value == "":
			f.Problem = "Fill it in."
		case f.Value == "." || f.Value == "..":
			f.Problem = "Dots alone are a step in the path, and no segment of one."
		case len(f.Value) > maxParameter || !registry.ValidID(f.Value):
			f.Problem = "Up to 256 bytes of UTF-8 without control characters."
		}
		fine = fine && f.Problem == ""
	}
	if !fine {
		return ""
	}
	path := fillIn(e.Path, func(name string) string { return values[name] })
	normal, err := s.NormalizePath(path)
	if err == nil {
		var met *catalog.Endpoint
		if met, err = s.Match(normal, e.Method, http.Header{}, ""); err == nil && met.ID != e.ID {
			err = fault.New(fault.Conflict, "A call of this path would meet the endpoint %s, not this one", met.ID)
		}
	}
	if err != nil {
		b.Problem = wrong(err)
		return ""
	}
	return path
}

// newResult returns what is shown of an answer: of its headers as much as anybody reads.
func newResult(method, path string, status int, header http.Header) callResult {
	result := callResult{Method: method, Path: path, Status: status, Word: http.StatusText(status), Good: status < 400}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			if size += len(name) + len(value); size > maxShown {
				result.Cut = true
				return result
			}
			result.Header = append(result.Header, [2]string{name, strings.ToValidUTF8(value, "�")})
		}
	}
	return result
}
