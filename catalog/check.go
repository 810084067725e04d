package catalog

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/perdiem/perdiem/internal/httpname"
	"github.com/perdiem/perdiem/internal/yamldoc"
	"github.com/perdiem/perdiem/quota"
)

const (
	// MaxID is the length of the longest id or name of an endpoint, a tier or an application, in bytes.
	MaxID = 256
	// MaxConditions is how many conditions an endpoint may have.
	MaxConditions = 16
	// MaxCondition is the length of the longest name or value in a condition, in bytes.
	MaxCondition = 1024
)

// check reports everything that is wrong with c where paths are read by a policy.
func (c *Catalog) check(policy PathPolicy, report reporter) {
	counted := func(noun string, n, most int) {
		if n > most {
			report(spot{section: whole}.at(noun), "%d are too many; at most %d are allowed", n, most)
		}
	}
	counted("endpoints", len(c.Endpoints), MaxEndpoints)
	counted("tiers", len(c.Tiers), MaxTiers)
	counted("applications", len(c.Applications), MaxApplications)

	if c.CatchAll.ID != CatchAllID || c.CatchAll.Path != "" || c.CatchAll.Method != "" || !c.CatchAll.When.IsZero() {
		report(spot{section: whole}, "catch_all is missing; it holds the limits of requests that match no endpoint")
	} else {
		c.CatchAll.check(spot{section: catchAll}, report)
	}

	known := &names{endpoints: map[string]bool{CatchAllID: true}, tiers: map[string]bool{}}
	for i := range c.Endpoints {
		e, at := &c.Endpoints[i], spot{section: endpoints, index: i}
		switch text := badID(e.ID); {
		case text != "":
			report(at.at("id"), "%s", text)
		case e.ID == CatchAllID:
			report(at.at("id"), "* is the catch-all's; give its limits under catch_all")
		case known.endpoints[e.ID]:
			report(at.at("id"), "another endpoint is called %s as well; ids must differ", e.ID)
		}
		known.endpoints[e.ID] = true
		e.check(at, report)
		e.When.check(at, report)
	}
	checkPatterns(c.Endpoints, policy, report)

	for i := range c.Tiers {
		t, at := &c.Tiers[i], spot{section: tiers, index: i}
		switch text := badID(t.Name); {
		case text != "":
			report(at.key(), "its name %s", text)
		case known.tiers[t.Name]:
			report(at.key(), "another tier is called %s as well; names must differ", t.Name)
		}
		known.tiers[t.Name] = true
		checkLimits(t.Limits, at, known, report)
	}

	ids := make(map[string]bool, len(c.Applications))
	for i := range c.Applications {
		a, at := &c.Applications[i], spot{section: applications, index: i}
		switch text := badID(a.ID); {
		case text != "":
			report(at.at("id"), "%s", text)
		case ids[a.ID]:
			report(at.at("id"), "another application is called %s as well; ids must differ", a.ID)
		}
		ids[a.ID] = true
		if !printable(a.Name) || len(a.Name) > MaxDisplayName {
			report(at.at("name"), "must be at most %d bytes of UTF-8 without control characters", MaxDisplayName)
		}
		if a.Tier != "" && !known.tiers[a.Tier] {
			report(at.at("tier"), "there is no tier %q%s", a.Tier, known.hint(a.Tier, known.tiers))
		}
		checkLimits(a.Overrides, at.at("overrides"), known, report)
	}
}

// check reports what is wrong with an endpoint by itself, but for id, pattern and conditions.
func (e *Endpoint) check(at spot, report reporter) {
	if l := e.Limits.Application; !valid(l) {
		report(at.at("application"), "must be %s, not %d", limitRange, int64(l))
	}
	if l := e.Limits.Member; !valid(l) {
		report(at.at("member"), "must be %s, not %d", limitRange, int64(l))
	}
	if e.Cost < 1 || e.Cost > quota.MaxCost {
		report(at.at("cost"), "must be a whole number from 1 to %d, not %d", int64(quota.MaxCost), e.Cost)
	}
}

// checkLimits reports what is wrong with the limits of a tier or an application, which stand at base.
func checkLimits(limits map[string]PartialLimits, base spot, known *names, report reporter) {
	for _, id := range slices.Sorted(maps.Keys(limits)) {
		if !known.endpoints[id] {
			report(base.below(id).key(), "there is no endpoint %q%s", id, known.hint(id, known.endpoints))
		}
		if l := limits[id].Application; l != nil && !valid(*l) {
			report(base.below(id).below("application"), "must be %s, not %d", limitRange, int64(*l))
		}
		if l := limits[id].Member; l != nil && !valid(*l) {
			report(base.below(id).below("member"), "must be %s, not %d", limitRange, int64(*l))
		}
	}
}

func valid(l quota.Limit) bool { return l == quota.Unlimited || 0 <= l && l <= quota.MaxLimit }

// names are what a catalog declares.
type names struct {
	endpoints map[string]bool
	tiers     map[string]bool
	hints     int // given so far
}

// hint says which of the names was probably meant instead of word. To look through many names for many words would
// take long, and nobody reads it.
func (n *names) hint(word string, among map[string]bool) string {
	if len(among) > 1000 || n.hints > 100 {
		return ""
	}
	n.hints++
	if near := yamldoc.Nearest(word, slices.Sorted(maps.Keys(among))); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// badID says what is wrong with an id or a name; "" where nothing is.
func badID(id string) string {
	if !ValidID(id) {
		return "must be 1 to 256 bytes of UTF-8 without control characters"
	}
	return ""
}

// ValidID reports whether id may name something of the catalog, or a member: 1 to [MaxID] bytes of UTF-8 without control characters.
func ValidID(id string) bool { return id != "" && len(id) <= MaxID && printable(id) }

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// check reports what is wrong with conditions by themselves.
func (c Conditions) check(at spot, report reporter) {
	if n := len(c.Header) + len(c.Query); n > MaxConditions {
		report(at.at("when"), "%d conditions are too many; at most %d are allowed", n, MaxConditions)
	}
	for _, part := range []struct {
		name   string
		values map[string]string
	}{{"header", c.Header}, {"query", c.Query}} {
		seen := map[string]string{}
		for _, name := range slices.Sorted(maps.Keys(part.values)) {
			at, value := at.at("when", part.name, name), part.values[name]
			switch first, twice := seen[fold(name)]; {
			case twice:
				report(at.key(), "%q: names are compared without regard to case, and %q is tested as well; leave one out", name, first)
			case name == "" || len(name) > MaxCondition || !printable(name):
				report(at.key(), "a name must be 1 to %d bytes of UTF-8 without control characters", MaxCondition)
			case part.name == "header" && !httpname.IsToken(name):
				report(at.key(), "%q: not the name of a header", name)
			case part.name == "header" && http.CanonicalHeaderKey(name) == "Host":
				report(at.key(), "%q: a host cannot be matched; leave it out", name)
			case part.name == "header" && httpname.IsReserved(name):
				report(at.key(), "%q: a client's is dropped before requests are matched, so that none would match; leave it out", name)
			}
			seen[fold(name)] = name
			if len(value) > MaxCondition || !printable(value) {
				report(at, "a value must be at most %d bytes of UTF-8 without control characters", MaxCondition)
			}
		}
	}
}

// candidate is one of the endpoints that have the same pattern.
type candidate struct {
	endpoint *Endpoint
	index    int // in the catalog
	terms    terms
}

// checkPatterns reports patterns that cannot be under a policy, and endpoints that could tie.
func checkPatterns(all []Endpoint, policy PathPolicy, report reporter) {
	var root node
	var routes []*route // in the order of the catalog
	candidates := map[*route][]candidate{}
	for i := range all {
		e, at := &all[i], spot{section: endpoints, index: i}
		p, err := parsePattern(e.Method, e.Path, policy)
		if err != nil {
			report(at.at("match"), "%s", err)
			continue
		}
		r := root.add(e, p)
		if len(candidates[r]) == 0 {
			if with, path := overlapping(&root, p, candidates); with != nil {
				report(at.at("match"), "%s", describeOverlap(with, path))
			}
			routes = append(routes, r)
		}
		candidates[r] = append(candidates[r], candidate{endpoint: e, index: i, terms: e.When.terms()})
	}
	for _, r := range routes {
		checkTies(candidates[r], report)
	}
}

// overlapping returns the first of the endpoints so far whose pattern overlaps p, and a path that both match where it is
// the paths that overlap; nil where there is none.
func overlapping(root *node, p pattern, candidates map[*route][]candidate) (with *Endpoint, path string) {
	first := -1
	root.near(p, p.segments, func(r *route) {
		common, overlaps := p.overlap(r.pattern)
		if !overlaps {
			return
		}
		if c := candidates[r][0]; first < 0 || c.index < first {
			first, with, path = c.index, c.endpoint, common
		}
	})
	return with, path
}

func describeOverlap(with *Endpoint, path string) string {
	why := "one has the more specific path, the other the more specific method"
	if path != "" {
		why = "both match " + path
	}
	return "ambiguous with " + with.Match() + " of endpoint " + label(with.ID) + ": " + why + "; neither is more specific"
}

// checkTies reports, for each of the endpoints of one pattern, one that stands before it and that one request could meet
// as well as it, where neither contains the other's conditions and no third endpoint decides.
func checkTies(candidates []candidate, report reporter) {
	if len(candidates) < 2 {
		return
	}
	keys := make([]string, len(candidates))
	decides := make(map[string]bool, len(candidates))
	for i, c := range candidates {
		keys[i] = c.terms.key()
		decides[keys[i]] = true
	}
	for i, c := range candidates {
		for j, before := range candidates[:i] {
			at := spot{section: endpoints, index: c.index}
			if keys[i] == keys[j] {
				if c.endpoint.When.IsZero() {
					report(at.at("match"), "ambiguous with endpoint %s, which matches the same requests; tell them apart by when", label(before.endpoint.ID))
				} else {
					report(at.at("when"), "ambiguous with endpoint %s, which has the same match and conditions", label(before.endpoint.ID))
				}
				break
			}
			if both, possible := c.terms.union(before.terms); possible && !decides[both.key()] {
				report(at.at("when"), "ambiguous with endpoint %s: a request can meet both, and neither contains the other's conditions; "+
					"add to one, or declare an endpoint with the conditions of both", label(before.endpoint.ID))
				break
			}
		}
	}
}
