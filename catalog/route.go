package catalog

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// route is a pattern's endpoints, which differ in their conditions.
type route struct {
	pattern pattern
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
	at, _ := slices.BinarySearchFunc(r.choices, c, compareChoices)
	r.choices = slices.Insert(r.choices, at, c)
}

// compareChoices puts the more specific first: if one contains another's conditions it has more, or as many and more of
// them with a value. Of all that a request meets one contains the others, which check has seen to, and so it is the first.
func compareChoices(a, b choice) int {
	return cmp.Or(cmp.Compare(len(b.conditions), len(a.conditions)), cmp.Compare(b.exact(), a.exact()), cmp.Compare(a.endpoint.ID, b.endpoint.ID))
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
