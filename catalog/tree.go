package catalog

import (
	"net/http"
	"slices"
	"strings"
)

// node is where the first segments of a path lead to in the tree of patterns.
//
// The tree is walked literal segments first. Since no two patterns overlap without one being more specific, this meets the patterns
// that match a request in the order of how specific they are, so that the walk can go on where conditions are not met.
type node struct {
	literal map[string]*node
	any     *node
	exact   []*route // of the patterns that end here
	slashed []*route // of those that end here with a slash, where that is another path than without
	subtree []*route // of the patterns that go on to any depth from here
}

// exactly looks through the patterns that match rest, "" or a slash with what follows, segment by segment.
func (n *node) exactly(rest string, q *question) (*Endpoint, error) {
	switch rest {
	case "":
		return choose(n.exact, q)
	case "/": // which comes only where a trailing slash counts
		return choose(n.slashed, q)
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
	if rest == "" && q.strict {
		return nil, nil
	}
	if rest != "" && rest != "/" {
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
			if r.pattern.method != method {
				continue
			}
			if e, err := r.choose(q); e != nil || err != nil {
				return e, err
			}
		}
	}
	return nil, nil
}

// add puts an endpoint with its pattern into the tree below n, the root, and returns its route.
func (n *node) add(e *Endpoint, p pattern) *route {
	for _, segment := range p.segments {
		n = n.next(segment)
	}
	routes := &n.exact
	switch {
	case p.subtree:
		routes = &n.subtree
	case p.slash && p.strict:
		routes = &n.slashed
	}
	i := slices.IndexFunc(*routes, func(r *route) bool { return r.pattern.method == p.method })
	if i < 0 {
		i = len(*routes)
		*routes = append(*routes, &route{pattern: p})
	}
	(*routes)[i].add(e)
	return (*routes)[i]
}

// near calls f for the routes below n that may match a path that p matches as well; segments are those of p that
// lead on from n.
func (n *node) near(p pattern, segments []string, f func(*route)) {
	if n == nil {
		return
	}
	for _, r := range n.subtree {
		f(r)
	}
	if len(segments) == 0 {
		for _, r := range n.exact {
			f(r)
		}
		for _, r := range n.slashed {
			f(r)
		}
	}
	switch {
	case len(segments) > 0 && segments[0] != "":
		n.literal[segments[0]].near(p, segments[1:], f)
		n.any.near(p, segments[1:], f)
	case len(segments) > 0 || p.subtree:
		rest := segments[min(1, len(segments)):]
		for _, next := range n.literal {
			next.near(p, rest, f)
		}
		n.any.near(p, rest, f)
	}
}

// next returns the node that a pattern's segment leads to, and puts it there.
func (n *node) next(segment string) *node {
	if segment == "" {
		if n.any == nil {
			n.any = &node{}
		}
		return n.any
	}
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	if n.literal[segment] == nil {
		n.literal[segment] = &node{}
	}
	return n.literal[segment]
}
