package portal

import (
	"cmp"
	"math"
	"net/url"
	"slices"
	"strings"

	"github.com/perdiem/perdiem/usage"
)

// column is one of the table's, by which it can be sorted.
type column struct {
	Key, Name string
	Number    bool
	falling   bool // it is sorted from the greatest down when it is asked for first
	compare   func(a, b *usage.Endpoint) int
}

func byCalls(of func(*usage.Endpoint) int64) func(a, b *usage.Endpoint) int {
	return func(a, b *usage.Endpoint) int { return cmp.Compare(of(a), of(b)) }
}

// orMost returns a number of calls; no limit is more than any.
func orMost(n *int64) int64 {
	if n == nil {
		return math.MaxInt64
	}
	return *n
}

// columns are those of the table, in order.
func columns() []column {
	return []column{
		{"endpoint", "Endpoint", false, false, func(a, b *usage.Endpoint) int { return strings.Compare(a.ID, b.ID) }},
		{"used", "Used", true, true, byCalls(func(e *usage.Endpoint) int64 { return e.Application.Used })},
		{"limit", "Limit", true, true, byCalls(func(e *usage.Endpoint) int64 { return orMost(e.Application.Limit) })},
		{"remaining", "Remaining", true, false, byCalls(func(e *usage.Endpoint) int64 { return orMost(e.Application.Remaining) })},
		{"share", "Share of the limit", false, true, func(a, b *usage.Endpoint) int {
			return cmp.Compare(share(a.Application.Limit, a.Application.Used), share(b.Application.Limit, b.Application.Used))
		}},
		{"member", "Member limit", true, true, byCalls(func(e *usage.Endpoint) int64 { return orMost(e.Member.Limit) })},
		{"refused", "Refused", true, true, byCalls(func(e *usage.Endpoint) int64 { return e.Application.Refused })},
		{"last", "Last call", true, true, func(a, b *usage.Endpoint) int { return a.LastCall.Compare(b.LastCall) }},
	}
}

// sorting is how the table is sorted: by which column, and in which direction.
type sorting struct {
	key     string
	falling bool
}

// parseSorting reads what a query says: a column's key, with "-" before it from the greatest down. Whatever else it says, the table is in order of
// the endpoints' ids.
func parseSorting(text string) sorting {
	key, falling := strings.CutPrefix(text, "-")
	if !slices.ContainsFunc(columns(), func(c column) bool { return c.Key == key }) {
		return sorting{key: "endpoint"}
	}
	return sorting{key, falling}
}

func (s sorting) String() string {
	if s.falling {
		return "-" + s.key
	}
	return s.key
}

// isDefault reports whether it is what holds unless told.
func (s sorting) isDefault() bool { return s == sorting{key: "endpoint"} }

// sort puts endpoints, which are in order of their ids, into order.
func (s sorting) sort(endpoints []usage.Endpoint) {
	i := slices.IndexFunc(columns(), func(c column) bool { return c.Key == s.key })
	compare := columns()[i].compare
	slices.SortStableFunc(endpoints, func(a, b usage.Endpoint) int {
		if s.falling {
			return compare(&b, &a)
		}
		return compare(&a, &b)
	})
}

// heading is a column's head.
type heading struct {
	Key, Name string
	Number    bool
	Sorted    string // as aria-sort has it; empty: the table is not sorted by it
	First     string // the sorting that it is asked for first
	Link      string // the query of the sorting that it leads to
}

// headings returns the heads of the table, whose links keep the rest of the page's query.
func (s sorting) headings(query url.Values) []heading {
	var all []heading
	for _, c := range columns() {
		next := sorting{c.Key, c.falling}
		h := heading{Key: c.Key, Name: c.Name, Number: c.Number, First: next.String()}
		if c.Key == s.key {
			h.Sorted = "ascending"
			if s.falling {
				h.Sorted = "descending"
			}
			next.falling = !s.falling
		}
		link := url.Values{"sort": {next.String()}}
		for _, name := range []string{"member", "endpoint"} {
			if query.Has(name) {
				link.Set(name, query.Get(name))
			}
		}
		h.Link = "?" + link.Encode()
		all = append(all, h)
	}
	return all
}
