package portal

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
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
	App       application
	Asked     string          // the endpoint's id, as it was typed
	Endpoints []string        // ids that are offered
	Endpoint  *calledEndpoint // nil: none is chosen
	Form      form
	Problem   string // what kept the call from being made, where the form does not say it; empty: nothing
	Result    *callResult
}

// calledEndpoint is the endpoint that is called.
type calledEndpoint struct {
	ID, Match, When string
	Curl            string // a command that calls it, where the portal does not
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
	if p.Call == nil {
		return errNotFound
	}
	return p.showCall(v, v.r.URL.Query(), nil)
}

// showCall shows the page, for the call that a query or a form asks for.
func (p *Portal) showCall(v *visit, asked url.Values, s *sent) error {
	snapshot := p.Catalog()
	body := callBody{App: v.application("analytics"), Asked: asked.Get("endpoint")}
	body.Endpoints = hints(snapshot.Endpoints(), func(e *catalog.Endpoint) (string, bool) { return e.ID, snapshot.Limits(v.app, e).Application != 0 })
	chosen, known := snapshot.Endpoint(body.Asked)
	switch {
	case !known && body.Asked != "" && s == nil:
		body.Problem = "There is no endpoint of this id."
	case known:
		body.Endpoint = &calledEndpoint{ID: chosen.ID, Match: chosen.Match(), When: conditions(snapshot, chosen.ID)}
		if mayCall(chosen) {
			body.Form = s.form(p.callForm(v, chosen, asked))
		} else {
			body.Endpoint.Curl = p.curl(chosen)
		}
	}
	body.Problem = cmp.Or(body.Problem, s.problem())
	if result, ok := p.once.take(*v.session, asked.Get("made"), p.Now()).(callResult); ok {
		body.Result = &result
	}
	return v.show(s.status(), "call", page{Title: "Test call · " + displayName(v.app), Body: body})
}

// callForm returns the form of a call to an endpoint, whose fields are its parameters with "p." before them.
func (p *Portal) callForm(v *visit, e *catalog.Endpoint, asked url.Values) form {
	f := form{Action: p.applicationPath(v.app.ID, "call"), Button: "Make the call", Hidden: []hidden{{"endpoint", e.ID}}}
	f.Note = "It is a real call of the application: it goes to the API, and " + count(e.Cost, "call is", "calls are") + " counted. A token of 30 seconds is issued for it."
	for i, name := range parameters(e.Path) {
		f.Fields = append(f.Fields, field{ID: "p" + strconv.Itoa(i), Name: "p." + name, Label: name, Help: "One segment of the path.", Value: asked.Get("p." + name), Required: true, Most: maxParameter})
	}
	return f
}

// curl returns a command that calls an endpoint, whose parameters and conditions are for the reader to fill in.
func (p *Portal) curl(e *catalog.Endpoint) string {
	method, path := e.Method, e.Path
	if path == "" {
		path = "/"
	}
	command := "curl -i"
	switch method {
	case "", http.MethodGet:
	case http.MethodHead: // with -X HEAD curl waits for a body
		command = "curl -I"
	default:
		command += " -X " + method
	}
	return command + " -H 'Authorization: Bearer TOKEN' '" + p.Gateway + strings.ReplaceAll(strings.ReplaceAll(path, "{$}", ""), "'", "%27") + "'"
}

// makeCall makes one real call, which is counted, and goes on to what became of it.
func (p *Portal) makeCall(v *visit) error {
	if p.Call == nil {
		return errNotFound
	}
	form, err := v.form()
	if err != nil {
		return err
	}
	next, err := p.callOnce(v, form)
	if isFormError(err) || fault.KindOf(err) == fault.Exhausted || errors.Is(err, errNoAnswer) {
		v.sayWait(err)
		return p.showCall(v, form, &sent{values: form, err: err})
	}
	if err != nil {
		return err
	}
	http.Redirect(v.w, v.r, p.applicationPath(v.app.ID, "call")+"?"+next.Encode(), http.StatusSeeOther)
	return nil
}

var errNoAnswer = fault.New(fault.Unavailable, "The gateway did not answer. The call may have been counted all the same: Analytics says so.")

// callOnce makes the call that a form asks for. It returns the query of the page that shows what became of it.
func (p *Portal) callOnce(v *visit, form url.Values) (next url.Values, err error) {
	snapshot, now := p.Catalog(), p.Now()
	e, known := snapshot.Endpoint(form.Get("endpoint"))
	if !known || !mayCall(e) {
		return nil, fault.New(fault.Invalid, "Choose an endpoint that the portal can call.")
	}
	path, err := readPath(snapshot, e, form)
	if err != nil {
		return nil, err
	}
	if wait := p.calls.take(v.app.ID, now); wait > 0 {
		return nil, fault.Wrap(fault.Exhausted, identity.Wait(wait), "One test call in five seconds: make it again in a moment.")
	}
	_, secret, err := p.newToken(v, now.Add(callToken))
	if err != nil {
		return nil, err
	}
	status, header, err := p.Call(v.r.Context(), e.Method, path, secret)
	if err != nil {
		p.Log.Warn("a test call could not be made", "application", v.app.ID, "endpoint", e.ID, "err", err)
		return nil, errNoAnswer
	}
	next = url.Values{"endpoint": {e.ID}, "made": {p.once.keep(*v.session, newResult(e.Method, path, status, header), now)}}
	for _, name := range parameters(e.Path) {
		next.Set("p."+name, form.Get("p."+name))
	}
	return next, nil
}

// readPath returns the escaped path that a form's parameters make of an endpoint's pattern.
func readPath(s *catalog.Snapshot, e *catalog.Endpoint, form url.Values) (string, error) {
	wrong := fieldErrors{}
	for _, name := range parameters(e.Path) {
		name = "p." + name
		switch value := form.Get(name); {
		case value == "":
			wrong.add(name, fault.New(fault.Invalid, "Fill it in."))
		case value == "." || value == "..":
			wrong.add(name, fault.New(fault.Invalid, "Dots alone are a step in the path, and no segment of one."))
		case len(value) > maxParameter || !registry.ValidID(value):
			wrong.add(name, fault.New(fault.Invalid, "Up to %d bytes of UTF-8 without control characters.", maxParameter))
		}
	}
	if err := wrong.err(); err != nil {
		return "", err
	}
	path := fillIn(e.Path, func(name string) string { return form.Get("p." + name) })
	normal, err := s.NormalizePath(path)
	if err != nil {
		return "", err
	}
	met, err := s.Match(normal, e.Method, http.Header{}, "")
	if err == nil && met.ID != e.ID {
		err = fault.New(fault.Conflict, "A call of this path would meet the endpoint %s, not this one", met.ID)
	}
	return path, err
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
