package catalog

import (
	"fmt"

	"github.com/perdiem/perdiem/internal/yamldoc"
	"github.com/perdiem/perdiem/quota"
)

var limitRange = fmt.Sprintf("a whole number from 0 to %d, or unlimited", quota.MaxLimit)

// Parse reads a catalog from YAML, for a node that reads paths by a policy. The error is a [yamldoc.Problems] with everything that is
// wrong, each with its place in the file, whose name is used in messages only. A catalog that Parse returns is in canonical form and passes
// [Catalog.Validate].
func Parse(file string, data []byte, policy PathPolicy) (*Catalog, error) {
	doc := yamldoc.Parse(file, data)
	r := reader{root: doc.Root(), nodes: map[section][]yamldoc.Node{}}
	c := r.catalog()
	if !r.root.Silent() {
		c.check(policy, r.report)
	}
	if err := doc.Err(); err != nil {
		return nil, err
	}
	c.Canonicalize()
	return c, nil
}

// reader makes a catalog from a document. It reports what has the wrong form; what makes no sense is left to check.
type reader struct {
	root  yamldoc.Node
	nodes map[section][]yamldoc.Node // where each item of a section stands
}

// report reports a problem at its place in the document, unless the value there was found faulty before.
func (r *reader) report(at spot, format string, args ...any) {
	n := r.root
	if at.section != whole {
		n = r.nodes[at.section][at.index]
	}
	place, exists := n.At(at.path...)
	switch {
	case !exists:
		place.Missing(at.path[len(at.path)-1])
	case at.name:
		place.Key().Problem(format, args...)
	case !place.Faulty():
		place.Problem(format, args...)
	}
}

func (r *reader) catalog() *Catalog {
	c := &Catalog{}
	if r.root.IsNull() {
		return c // check says what is missing
	}
	r.root.Map(map[string]func(yamldoc.Node){
		"endpoints":    func(n yamldoc.Node) { r.endpoints(n, c) },
		"catch_all":    func(n yamldoc.Node) { r.catchAll(n, c) },
		"tiers":        func(n yamldoc.Node) { r.tiers(n, c) },
		"applications": func(n yamldoc.Node) { r.applications(n, c) },
	})
	return c
}

func (r *reader) endpoints(n yamldoc.Node, c *Catalog) {
	if n.IsNull() {
		return
	}
	n.List(func(_ int, item yamldoc.Node) {
		e := NewEndpoint("")
		fields := endpointFields(&e)
		fields["id"] = text(&e.ID)
		fields["match"] = func(n yamldoc.Node) {
			if match, ok := n.String(); ok {
				e.Method, e.Path = SplitMatch(match)
			}
		}
		fields["when"] = func(n yamldoc.Node) {
			n.Map(map[string]func(yamldoc.Node){
				"header": func(n yamldoc.Node) { e.When.Header = texts(n) },
				"query":  func(n yamldoc.Node) { e.When.Query = texts(n) },
			})
		}
		if item.Map(fields) {
			c.Endpoints = append(c.Endpoints, e)
			r.nodes[endpoints] = append(r.nodes[endpoints], item)
		}
	})
}

func (r *reader) catchAll(n yamldoc.Node, c *Catalog) {
	c.CatchAll = NewEndpoint(CatchAllID)
	r.nodes[catchAll] = []yamldoc.Node{n}
	n.Map(endpointFields(&c.CatchAll))
}

// endpointFields are the keys that the catch-all has, too.
func endpointFields(e *Endpoint) map[string]func(yamldoc.Node) {
	return map[string]func(yamldoc.Node){
		"application": func(n yamldoc.Node) { e.Limits.Application = limit(n) },
		"member":      func(n yamldoc.Node) { e.Limits.Member = limit(n) },
		"cost": func(n yamldoc.Node) {
			if cost, ok := n.Int(1, quota.MaxCost); ok {
				e.Cost = cost
			}
		},
		"shadow": flag(&e.Shadow),
	}
}

func (r *reader) tiers(n yamldoc.Node, c *Catalog) {
	if n.IsNull() {
		return
	}
	n.Each(func(name string, at, value yamldoc.Node) {
		c.Tiers = append(c.Tiers, Tier{Name: name, Limits: limits(value)})
		r.nodes[tiers] = append(r.nodes[tiers], value)
	})
}

func (r *reader) applications(n yamldoc.Node, c *Catalog) {
	if n.IsNull() {
		return
	}
	n.List(func(_ int, item yamldoc.Node) {
		var a Application
		if item.Map(map[string]func(yamldoc.Node){
			"id":        text(&a.ID),
			"name":      text(&a.Name),
			"tier":      text(&a.Tier),
			"overrides": func(n yamldoc.Node) { a.Overrides = limits(n) },
			"shadow":    flag(&a.Shadow),
			"suspended": flag(&a.Suspended),
		}) {
			c.Applications = append(c.Applications, a)
			r.nodes[applications] = append(r.nodes[applications], item)
		}
	})
}

func text(v *string) func(yamldoc.Node) {
	return func(n yamldoc.Node) { *v, _ = n.String() }
}

func flag(v *bool) func(yamldoc.Node) {
	return func(n yamldoc.Node) { *v, _ = n.Bool() }
}

func texts(n yamldoc.Node) map[string]string {
	values := map[string]string{}
	n.Each(func(name string, _, value yamldoc.Node) { values[name], _ = value.String() })
	return values
}

// limits reads limits by endpoint. What is empty tells nothing.
func limits(n yamldoc.Node) map[string]PartialLimits {
	if n.IsNull() {
		return nil
	}
	byEndpoint := map[string]PartialLimits{}
	n.Each(func(id string, _, value yamldoc.Node) {
		var l PartialLimits
		value.Map(map[string]func(yamldoc.Node){
			"application": func(n yamldoc.Node) { l.Application = new(limit(n)) },
			"member":      func(n yamldoc.Node) { l.Member = new(limit(n)) },
		})
		byEndpoint[id] = l
	})
	return byEndpoint
}

// limit reads a limit. What is none is reported, and unlimited.
func limit(n yamldoc.Node) quota.Limit {
	if v, ok := n.Integer(); ok && 0 <= v && v <= int64(quota.MaxLimit) {
		return quota.Limit(v)
	}
	if text, ok := n.Text(); !ok || text != "unlimited" {
		n.Wrong(limitRange)
	}
	return quota.Unlimited
}
