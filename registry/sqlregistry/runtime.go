package sqlregistry

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
)

// runtimeLayer is what was made at run time.
type runtimeLayer struct {
	added     map[itemKey]string // under the file's
	amended   map[itemKey]string // over both
	overrides overrides          // over all
}

func readRuntime(ctx context.Context, q querier) (l runtimeLayer, err error) {
	if l.added, err = readDocuments(ctx, q, "added"); err != nil {
		return l, err
	}
	if l.amended, err = readDocuments(ctx, q, "amendments"); err != nil {
		return l, err
	}
	l.overrides, err = readOverrides(ctx, q)
	return l, err
}

// equal reports whether nothing differs between two states of the layer.
func (l runtimeLayer) equal(m runtimeLayer) bool {
	return maps.Equal(l.added, m.added) && maps.Equal(l.amended, m.amended) &&
		slices.EqualFunc(l.overrides, m.overrides, func(a, b override) bool {
			return a.application == b.application && a.endpoint == b.endpoint && describeLimits(a.limits) == describeLimits(b.limits)
		})
}

// putOn changes c, the file's layer in canonical form, to what holds.
func (l runtimeLayer) putOn(c *catalog.Catalog) error {
	if err := l.putUnder(c); err != nil {
		return err
	}
	if err := l.putOver(c); err != nil {
		return err
	}
	l.overrides.putOver(c)
	c.Canonicalize()
	return nil
}

// putUnder adds what c does not have.
func (l runtimeLayer) putUnder(c *catalog.Catalog) error {
	if len(l.added) == 0 {
		return nil
	}
	have := indexItems(c)
	var tiers []string
	for key, text := range l.added {
		if have.has(key) {
			continue
		}
		if err := appendItem(c, key, text); err != nil {
			return err
		}
		if key.kind == kindTier {
			tiers = append(tiers, key.id)
		}
	}
	have = indexItems(c)
	for _, name := range tiers { // a limit for an endpoint that is gone waits for it
		maps.DeleteFunc(have.tiers[name].Limits, func(id string, _ catalog.PartialLimits) bool { return have.endpoints[id] == nil })
	}
	return nil
}

// putOver sets what was amended. What is not there waits to come back.
func (l runtimeLayer) putOver(c *catalog.Catalog) error {
	have := indexItems(c)
	for key, text := range l.amended {
		if !have.has(key) {
			continue
		}
		if err := have.amend(key, text); err != nil {
			return err
		}
	}
	return nil
}

// keptOver returns what stays though the file, of which old was the last and c is the next, says something else of it, or has it no longer.
func (l runtimeLayer) keptOver(old, c *catalog.Catalog) (kept []catalog.Change, err error) {
	had, has := indexItems(old), indexItems(c)
	for _, key := range slices.SortedFunc(maps.Keys(l.added), compareKeys) {
		if had.has(key) && !has.has(key) {
			kept = append(kept, catalog.Change{Op: catalog.Kept, Noun: string(key.kind), Name: key.id})
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(l.amended), compareKeys) {
		if !has.has(key) && !had.has(key) {
			continue // it is of something that was added
		}
		set, err := amendedAttributes(key, l.amended[key])
		if err != nil {
			return nil, err
		}
		says := has.attributes(key)
		for _, one := range set {
			to, told := says[one.attribute]
			if !has.has(key) {
				to = "nothing"
			} else if !told || to == one.value {
				continue
			}
			name := key.id
			if one.endpoint != "" {
				name += " " + one.endpoint
			}
			kept = append(kept, catalog.Change{Op: catalog.Kept, Noun: string(key.kind), Name: name, Field: one.name, From: one.value, To: to})
		}
	}
	return kept, nil
}

// makesNoSense says of a file, which makes sense by itself, that it makes none with what was made at run time.
func makesNoSense(err error) error {
	return fault.New(fault.Invalid, "the file makes sense by itself, but not with what was added or set at run time; change it, or take that back:\n%s", firstLines(fault.Message(err)))
}

// compareKeys puts keys in the order of a file's sections.
func compareKeys(a, b itemKey) int {
	return cmp.Or(cmp.Compare(a.kind.section(), b.kind.section()), cmp.Compare(a.id, b.id))
}

// section returns the place of a kind in a file.
func (k kind) section() int {
	return slices.Index([]kind{kindEndpoint, kindTier, kindApplication}, k)
}

// items are those of a catalog by their ids. They point into it.
type items struct {
	endpoints    map[string]*catalog.Endpoint // the catch-all too
	tiers        map[string]*catalog.Tier
	applications map[string]*catalog.Application
}

func indexItems(c *catalog.Catalog) items {
	i := items{
		endpoints:    make(map[string]*catalog.Endpoint, len(c.Endpoints)+1),
		tiers:        make(map[string]*catalog.Tier, len(c.Tiers)),
		applications: indexApplications(c),
	}
	if c.CatchAll.ID != "" { // else there is no catalog yet
		i.endpoints[c.CatchAll.ID] = &c.CatchAll
	}
	for n := range c.Endpoints {
		i.endpoints[c.Endpoints[n].ID] = &c.Endpoints[n]
	}
	for n := range c.Tiers {
		i.tiers[c.Tiers[n].Name] = &c.Tiers[n]
	}
	return i
}

func (i items) has(key itemKey) (ok bool) {
	switch key.kind {
	case kindEndpoint:
		_, ok = i.endpoints[key.id]
	case kindTier:
		_, ok = i.tiers[key.id]
	case kindApplication:
		_, ok = i.applications[key.id]
	}
	return ok
}
