// Package catalog holds what is metered: endpoints, tiers, applications and their limits. It reads them from a file,
// finds everything that is wrong with them, tells two of them apart, and answers for a request which endpoint it meets
// and which limits hold.
//
//	var paths catalog.PathPolicy                       // how paths are read
//	c, err := catalog.Parse("catalog.yaml", data, paths) // every problem at once, each with file:line:column
//	changes := catalog.Diff(running, c)                // "~ endpoint posts.create member 150 -> 200"
//	s, err := catalog.NewSnapshot(c, catalog.Options{Paths: paths})
//
//	path, err := s.NormalizePath(r.URL.EscapedPath())
//	endpoint, err := s.Match(path, r.Method, r.Header, r.URL.RawQuery)
//	app, known := s.Application("acme")
//	limits := s.Limits(app, endpoint)
//
// # Which endpoint a request meets
//
// Paths are normalised first ([NormalizePath]), and what is matched is what is sent on. Then the most specific of the
// endpoints that match is met:
//
//   - Patterns are those of [net/http.ServeMux], without host, and the choice between them is its choice. One pattern is
//     more specific than another when it matches a part of what the other matches; two patterns that match a request
//     in common without either being more specific are a problem. GET matches HEAD too.
//   - A trailing slash is ignored: /rest/posts and /rest/posts/ meet the same endpoint, and /rest/posts/{$} is the same
//     pattern as /rest/posts. A pattern that goes on to any depth (/rest/posts/ and /rest/posts/{rest...}) matches
//     /rest/posts as well, but behind any pattern that matches that path in full, as ServeMux has it. A [PathPolicy] that is
//     strict about trailing slashes matches as ServeMux does.
//   - Among endpoints with the same pattern, [Conditions] that contain another's are more specific, and any are more
//     specific than none. Two that one request could meet, neither containing the other, are a problem, unless a third
//     endpoint has exactly the conditions of both.
//   - Where no endpoint of a pattern has its conditions met, the next more general pattern is asked, and in the end the
//     catch-all, whose id is "*". No request is without an endpoint.
//
// # Which limits hold
//
// The application's override, else its tier's limit, else the endpoint's; for each kind by itself. What nobody sets
// is unlimited.
//
// # What it does not do
//
// It keeps nothing, reads no file and knows no clock: the caller brings the bytes, and swaps one [Snapshot] for the next
// as a whole.
package catalog

import (
	"cmp"
	"maps"
	"slices"
)

const (
	// MaxEndpoints is how many endpoints a catalog may have, without the catch-all.
	MaxEndpoints = 10_000
	// MaxTiers is how many tiers a catalog may have.
	MaxTiers = 10_000
	// MaxApplications is how many applications a catalog may have.
	MaxApplications = 100_000
)

// Catalog declares what is metered. It is plain data; [Catalog.Validate] says whether it makes sense.
type Catalog struct {
	Endpoints    []Endpoint // without the catch-all
	CatchAll     Endpoint   // what matches nothing above: its ID is [CatchAllID], and it has no pattern and no conditions
	Tiers        []Tier
	Applications []Application
}

// Canonicalize puts c in the one form that equal catalogs share: everything in the order of ids and names, names of headers
// as [net/http.CanonicalHeaderKey] writes them, and nil for what is empty. [Parse] returns catalogs in this form.
func (c *Catalog) Canonicalize() {
	slices.SortStableFunc(c.Endpoints, func(a, b Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(c.Tiers, func(a, b Tier) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(c.Applications, func(a, b Application) int { return cmp.Compare(a.ID, b.ID) })
	for i := range c.Endpoints {
		c.Endpoints[i].When.canonicalize()
	}
	c.CatchAll.When.canonicalize()
	for i := range c.Tiers {
		c.Tiers[i].Limits = canonicalLimits(c.Tiers[i].Limits)
	}
	for i := range c.Applications {
		c.Applications[i].Overrides = canonicalLimits(c.Applications[i].Overrides)
	}
	c.Endpoints = nilIfEmpty(c.Endpoints)
	c.Tiers = nilIfEmpty(c.Tiers)
	c.Applications = nilIfEmpty(c.Applications)
}

// Clone returns a copy of c that shares nothing with it.
func (c *Catalog) Clone() *Catalog {
	copied := *c
	copied.Endpoints = slices.Clone(c.Endpoints)
	for i := range copied.Endpoints {
		copied.Endpoints[i].When = copied.Endpoints[i].When.clone()
	}
	copied.CatchAll.When = c.CatchAll.When.clone()
	copied.Tiers = slices.Clone(c.Tiers)
	for i := range copied.Tiers {
		copied.Tiers[i].Limits = cloneLimits(copied.Tiers[i].Limits)
	}
	copied.Applications = slices.Clone(c.Applications)
	for i := range copied.Applications {
		copied.Applications[i].Overrides = cloneLimits(copied.Applications[i].Overrides)
	}
	return &copied
}

func nilIfEmpty[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

// canonicalLimits drops entries that say nothing, and the map where none is left.
func canonicalLimits(m map[string]PartialLimits) map[string]PartialLimits {
	maps.DeleteFunc(m, func(_ string, l PartialLimits) bool { return l.IsZero() })
	if len(m) == 0 {
		return nil
	}
	return m
}

func cloneLimits(m map[string]PartialLimits) map[string]PartialLimits {
	if m == nil {
		return nil
	}
	copied := make(map[string]PartialLimits, len(m))
	for id, l := range m {
		copied[id] = l.clone()
	}
	return copied
}
