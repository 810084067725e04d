package catalog

import (
	"net/http"
	"strings"

	"github.com/perdiem/perdiem/fault"
)

// Match returns the endpoint that a request meets: the most specific, and in the end the catch-all; it is never nil without
// an error. The path comes from [NormalizePath]; query is the raw query, without the question mark. Methods are matched as
// if in upper case.
//
// The error, of kind [fault.Invalid], says what could mean two things: a header or query parameter that conditions test, and
// that is given more than once with different values, or in a spelling that some servers take for it (X_RestLi_Method, q=a;b),
// and the method CONNECT.
func (s *Snapshot) Match(p Path, method string, h http.Header, query string) (*Endpoint, error) {
	q := question{method: strings.ToUpper(method), header: h, query: query, strict: s.paths.StrictSlash}
	if q.method == http.MethodConnect {
		return nil, fault.New(fault.Invalid, "The method CONNECT is not supported.")
	}
	if err := checkQuery(query); err != nil {
		return nil, err
	}
	path := p.Match
	if path == "/" && !q.strict {
		path = ""
	}
	e, err := s.root.exactly(path, &q)
	if e == nil && err == nil {
		e, err = s.root.under(path, &q)
	}
	if e == nil && err == nil {
		e = s.catchAll
	}
	return e, err
}

// question is what a request brings besides its path.
type question struct {
	method string
	header http.Header
	query  string
	strict bool // a trailing slash counts
}
