package portal

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/perdiem/perdiem/catalog"
)

const perPage = 50 // items on a page of any list

// pager leads from one page of a list to others.
type pager struct {
	Number, Of    int
	Before, After string // paths; empty: there is none
}

// paged returns the part of a list that the query asks for, which keeps what else it searches for; nil for the pager where it fits on one page. at is the
// list's path.
func paged[T any](all []T, query url.Values, at string) ([]T, *pager) {
	of := (len(all) + perPage - 1) / perPage
	if of <= 1 {
		return all, nil
	}
	number, err := strconv.Atoi(query.Get("page"))
	if err != nil {
		number = 1
	}
	number = max(1, min(number, of))
	pages := &pager{Number: number, Of: of}
	to := func(number int) string {
		next := url.Values{"page": {strconv.Itoa(number)}}
		if q := query.Get("q"); q != "" {
			next.Set("q", q)
		}
		return at + "?" + next.Encode()
	}
	if number > 1 {
		pages.Before = to(number - 1)
	}
	if number < of {
		pages.After = to(number + 1)
	}
	return all[(number-1)*perPage : min(number*perPage, len(all))], pages
}

// search returns what is called like what a query asks for, whatever its case; all where it asks for nothing.
func search[T any](all []T, query string, called func(T) (name, other string)) (found []T) {
	if query == "" {
		return all
	}
	query = strings.ToLower(query)
	for _, one := range all {
		if name, other := called(one); strings.Contains(strings.ToLower(name), query) || strings.Contains(strings.ToLower(other), query) {
			found = append(found, one)
		}
	}
	return found
}

// appNames are what an application is searched by.
func appNames(a *catalog.Application) (id, name string) { return a.ID, a.Name }

// endpointNames are what an endpoint is searched by.
func endpointNames(e *catalog.Endpoint) (id, match string) { return e.ID, e.Match() }
