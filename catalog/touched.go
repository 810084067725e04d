package catalog

import (
	"maps"
	"slices"

	"github.com/perdiem/perdiem/quota"
)

// Touched says whose limits differ between two catalogs: those of applications for endpoints that both catalogs have.
type Touched struct {
	Applications int     // how many have a limit that differs
	Limits       int     // how many pairs of an application and an endpoint differ
	First        []Touch // the first of them, in the order of applications and endpoints
}

// Touch is an application whose limits for an endpoint differ.
type Touch struct {
	Application, Endpoint string
	Before, After         quota.Limits
}

// Touches returns whose limits differ between two valid catalogs, and the first most of them. It looks at each application, and of it at
// those endpoints alone whose limits somebody says anew. each, unless it is nil, is called with every one of them, in their order.
func Touches(old, new *Catalog, most int, each func(Touch)) Touched {
	before, after := index(old), index(new)
	own := differing(before.endpoints, after.endpoints, func(a, b *Endpoint) bool { return a.Limits == b.Limits })
	byTier := make(map[string]map[string]bool)
	for name, t := range after.tiers {
		if was := before.tiers[name]; was != nil {
			if ids := differing(was.Limits, t.Limits, PartialLimits.equal); len(ids) > 0 {
				byTier[name] = ids
			}
		}
	}
	var touched Touched
	for _, id := range slices.Sorted(maps.Keys(after.applications)) {
		was, is := before.applications[id], after.applications[id]
		if was == nil {
			continue
		}
		ids := maps.Clone(own)
		if was.Tier == is.Tier {
			maps.Copy(ids, byTier[is.Tier])
		} else {
			for _, limits := range []map[string]PartialLimits{before.limits(was.Tier), after.limits(is.Tier)} {
				for id := range limits {
					ids[id] = true
				}
			}
		}
		maps.Copy(ids, differing(was.Overrides, is.Overrides, PartialLimits.equal))
		differ := 0
		for _, endpoint := range slices.Sorted(maps.Keys(ids)) {
			t := Touch{Application: id, Endpoint: endpoint}
			var had, has bool
			t.Before, had = before.hold(was, endpoint)
			t.After, has = after.hold(is, endpoint)
			if !had || !has || t.Before == t.After {
				continue
			}
			differ++
			if len(touched.First) < most {
				touched.First = append(touched.First, t)
			}
			if each != nil {
				each(t)
			}
		}
		touched.Limits += differ
		if differ > 0 {
			touched.Applications++
		}
	}
	return touched
}

// limits returns a tier's limits.
func (i indexed) limits(tier string) map[string]PartialLimits {
	if t := i.tiers[tier]; t != nil {
		return t.Limits
	}
	return nil
}

// hold returns the limits of an application for an endpoint, as [Snapshot.Limits] does, and whether there is such an endpoint.
func (i indexed) hold(a *Application, endpoint string) (_ quota.Limits, ok bool) {
	e := i.endpoints[endpoint]
	if e == nil {
		return quota.Limits{}, false
	}
	return a.Overrides[endpoint].over(i.limits(a.Tier)[endpoint].over(e.Limits)), true
}

// differing returns the keys of both maps under which they do not hold the same.
func differing[V any](a, b map[string]V, same func(a, b V) bool) map[string]bool {
	keys := make(map[string]bool)
	for key, v := range a {
		if w, ok := b[key]; !ok || !same(v, w) {
			keys[key] = true
		}
	}
	for key := range b {
		if _, ok := a[key]; !ok {
			keys[key] = true
		}
	}
	return keys
}

// equal reports whether both tell the same.
func (p PartialLimits) equal(q PartialLimits) bool {
	return equal(p.Application, q.Application) && equal(p.Member, q.Member)
}

func equal(a, b *quota.Limit) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
