package catalog

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Present as the value of a condition means any value: the name must be there.
const Present = "*"

// Conditions are what a request must bring besides method and path: each header and each query parameter named, with the
// value given or, for [Present], any. Names and values are compared without regard to case.
type Conditions struct {
	Header map[string]string
	Query  map[string]string
}

// IsZero reports whether nothing is asked for.
func (c Conditions) IsZero() bool { return len(c.Header) == 0 && len(c.Query) == 0 }

// String returns the conditions as a catalog has them, in the order of names: {header: {X-RestLi-Method: "FINDER"}}.
func (c Conditions) String() string {
	var parts []string
	for _, part := range []struct {
		name   string
		values map[string]string
	}{{"header", c.Header}, {"query", c.Query}} {
		var entries []string
		for _, name := range slices.Sorted(maps.Keys(part.values)) {
			entries = append(entries, fmt.Sprintf("%s: %q", name, part.values[name]))
		}
		if len(entries) > 0 {
			parts = append(parts, part.name+": {"+strings.Join(entries, ", ")+"}")
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (c *Conditions) canonicalize() {
	header := make(map[string]string, len(c.Header))
	for name, value := range c.Header {
		header[http.CanonicalHeaderKey(name)] = value
	}
	c.Header = header
	if len(c.Header) == 0 {
		c.Header = nil
	}
	if len(c.Query) == 0 {
		c.Query = nil
	}
}

func (c Conditions) clone() Conditions {
	return Conditions{Header: maps.Clone(c.Header), Query: maps.Clone(c.Query)}
}

// term is one condition, in a form in which equal ones are ==.
type term struct {
	query bool   // else a header
	name  string // folded
	value string // folded; "*" for any
}

// terms are conditions in the order of names, headers first.
type terms []term

func (c Conditions) terms() terms {
	ts := make(terms, 0, len(c.Header)+len(c.Query))
	for name, value := range c.Header {
		ts = append(ts, term{name: fold(name), value: fold(value)})
	}
	for name, value := range c.Query {
		ts = append(ts, term{query: true, name: fold(name), value: fold(value)})
	}
	slices.SortFunc(ts, term.compareName)
	return ts
}

func (t term) compareName(u term) int {
	switch {
	case t.query != u.query && u.query:
		return -1
	case t.query != u.query:
		return 1
	default:
		return strings.Compare(t.name, u.name)
	}
}

// union returns the conditions of a request that meets both, each name with the narrower of its values; ok is false where
// no request can.
func (ts terms) union(us terms) (both terms, ok bool) {
	for len(ts) > 0 && len(us) > 0 {
		t, u := ts[0], us[0]
		switch order := t.compareName(u); {
		case order < 0:
			both, ts = append(both, t), ts[1:]
		case order > 0:
			both, us = append(both, u), us[1:]
		case t.value == u.value || u.value == Present:
			both, ts, us = append(both, t), ts[1:], us[1:]
		case t.value == Present:
			both, ts, us = append(both, u), ts[1:], us[1:]
		default:
			return nil, false
		}
	}
	return append(append(both, ts...), us...), true
}

// key is the same for equal terms, and for no others.
func (ts terms) key() string {
	var b []byte
	for _, t := range ts {
		b = strconv.AppendBool(b, t.query)
		b = strconv.AppendQuote(b, t.name)
		b = strconv.AppendQuote(b, t.value)
	}
	return string(b)
}

// fold returns the same string for all that [strings.EqualFold] holds equal.
func fold(s string) string { return strings.Map(foldRune, s) }
