package portal

import (
	"net/url"
	"strconv"
	"strings"
)

const perPage = 50 // items on a page of a list

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

// contains reports whether s has part, whatever their case.
func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}
