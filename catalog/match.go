package catalog

import (
	"cmp"
	"net/http"
	"slices"
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
	q := question{method: strings.ToUpper(method), header: h, query: query}
	if q.method == http.MethodConnect {
		return nil, fault.New(fault.Invalid, "The method CONNECT is not supported.")
	}
	path := p.Match
	if path == "/" {
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
}

// node is where the first segments of a path lead to in the tree of patterns.
//
// The tree is walked literal segments first. Since no two patterns overlap without one being more specific, this meets the patterns
// that match a request in the order of how specific they are, so that the walk can go on where conditions are not met.
type node struct {
	literal map[string]*node
	any     *node
	exact   []*route // of the patterns that end here
	subtree []*route // of the patterns that go on to any depth from here
}

// exactly looks through the patterns that match rest, "" or a slash with what follows, segment by segment.
func (n *node) exactly(rest string, q *question) (*Endpoint, error) {
	if rest == "" {
		return choose(n.exact, q)
	}
	segment, rest := firstSegment(rest)
	if next := n.literal[segment]; next != nil {
		if e, err := next.exactly(rest, q); e != nil || err != nil {
			return e, err
		}
	}
	if n.any != nil {
		return n.any.exactly(rest, q)
	}
	return nil, nil
}

// under looks through the patterns that go on to any depth, the longest first.
func (n *node) under(rest string, q *question) (*Endpoint, error) {
	if rest != "" {
		segment, rest := firstSegment(rest)
		if next := n.literal[segment]; next != nil {
			if e, err := next.under(rest, q); e != nil || err != nil {
				return e, err
			}
		}
		if n.any != nil {
			if e, err := n.any.under(rest, q); e != nil || err != nil {
				return e, err
			}
		}
	}
	return choose(n.subtree, q)
}

// firstSegment parts a path, which begins with a slash.
func firstSegment(path string) (segment, rest string) {
	path = path[1:]
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// choose looks through the routes of one path: that of the method, then GET's for HEAD, then that of any method.
func choose(routes []*route, q *question) (*Endpoint, error) {
	if len(routes) == 0 {
		return nil, nil
	}
	methods := [...]string{q.method, http.MethodGet, ""}
	for i, method := range methods {
		if i == 1 && q.method != http.MethodHead || i == 2 && q.method == "" {
			continue
		}
		for _, r := range routes {
			if r.method != method {
				continue
			}
			if e, err := r.choose(q); e != nil || err != nil {
				return e, err
			}
		}
	}
	return nil, nil
}

// add puts an endpoint's pattern into the tree below n, the root.
func (n *node) add(e *Endpoint) error {
	p, err := parsePattern(e.Method, e.Path)
	if err != nil {
		return fault.New(fault.Invalid, "endpoint %s: match: %s", e.ID, err)
	}
	for _, s := range p.segments {
		next := &n.any
		if s.literal != "" {
			if n.literal == nil {
				n.literal = map[string]*node{}
			}
			if n.literal[s.literal] == nil {
				n.literal[s.literal] = &node{}
			}
			n = n.literal[s.literal]
			continue
		}
		if *next == nil {
			*next = &node{}
		}
		n = *next
	}
	routes := &n.exact
	if p.subtree {
		routes = &n.subtree
	}
	for _, r := range *routes {
		if r.method == p.method {
			r.add(e)
			return nil
		}
	}
	r := &route{method: p.method}
	r.add(e)
	*routes = append(*routes, r)
	return nil
}

// route is a pattern's endpoints, which differ in their conditions.
type route struct {
	method  string // "" for any
	tested  []tested
	choices []choice // the more specific first
}

// tested is the name of something that a request may bring, and that one of a route's endpoints has a condition on.
type tested struct {
	query bool
	name  string // a header's is canonical
}

type choice struct {
	endpoint   *Endpoint
	conditions []condition
}

type condition struct {
	on    int // in the route's tested
	value string
}

func (r *route) add(e *Endpoint) {
	c := choice{endpoint: e}
	for name, value := range e.When.Header {
		c.conditions = append(c.conditions, condition{on: r.test(tested{name: http.CanonicalHeaderKey(name)}), value: value})
	}
	for name, value := range e.When.Query {
		c.conditions = append(c.conditions, condition{on: r.test(tested{query: true, name: name}), value: value})
	}
	r.choices = append(r.choices, c)
	// If one choice contains another's conditions it has more, or as many and more with a value. Of all that a request
	// meets one contains the others, which check has seen to: the first in this order.
	slices.SortStableFunc(r.choices, func(a, b choice) int {
		return cmp.Or(cmp.Compare(len(b.conditions), len(a.conditions)), cmp.Compare(b.exact(), a.exact()), cmp.Compare(a.endpoint.ID, b.endpoint.ID))
	})
}

// test returns where t is in the route's tested, and puts it there.
func (r *route) test(t tested) int {
	i := slices.IndexFunc(r.tested, func(u tested) bool { return t.query == u.query && strings.EqualFold(t.name, u.name) })
	if i < 0 {
		i = len(r.tested)
		r.tested = append(r.tested, t)
	}
	return i
}

func (c choice) exact() (n int) {
	for _, condition := range c.conditions {
		if condition.value != Present {
			n++
		}
	}
	return n
}

// choose returns the most specific endpoint whose conditions the request meets; nil where there is none.
func (r *route) choose(q *question) (*Endpoint, error) {
	if len(r.tested) == 0 {
		return r.choices[0].endpoint, nil
	}
	var few [8]given
	all := few[:]
	if len(r.tested) > len(few) {
		all = make([]given, len(r.tested))
	}
	if err := readHeader(q.header, r.tested, all); err != nil {
		return nil, err
	}
	if err := readQuery(q.query, r.tested, all); err != nil {
		return nil, err
	}
	for i := range r.choices {
		if r.choices[i].holds(all) {
			return r.choices[i].endpoint, nil
		}
	}
	return nil, nil
}

func (c *choice) holds(all []given) bool {
	for _, condition := range c.conditions {
		g := all[condition.on]
		if !g.present || condition.value != Present && !strings.EqualFold(g.value, condition.value) {
			return false
		}
	}
	return true
}
