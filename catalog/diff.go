package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/perdiem/perdiem/quota"
)

// Op says what happens to a part of a catalog.
type Op byte

// The operations, as they begin a line.
const (
	Added   Op = '+'
	Changed Op = '~'
	Removed Op = '-'
	Kept    Op = '!' // a registry keeps its own against the file's
)

// Change is one difference between two catalogs.
type Change struct {
	Op    Op
	Noun  string // "endpoint", "tier", "application", "override"
	Name  string // which: "posts.create"; for limits of a tier or an override also of which endpoint: "acme posts.create"
	Field string // what of it: "member"; "" for the whole
	From  string // the value before; for Kept, the one that stays
	To    string // the value after; for Kept, the file's
}

// String returns the change as a line: "~ endpoint posts.create member 150 -> 200".
func (c Change) String() string {
	var b strings.Builder
	b.WriteByte(byte(c.Op))
	if c.Op == Kept {
		b.WriteString(" kept")
	}
	for _, word := range []string{c.Noun, c.Name, c.Field} {
		if word != "" {
			b.WriteByte(' ')
			b.WriteString(word)
		}
	}
	if c.Field == "" {
		return b.String()
	}
	switch c.Op {
	case Added:
		b.WriteString(" " + c.To)
	case Removed:
		b.WriteString(" " + c.From)
	case Changed:
		b.WriteString(" " + c.From + " -> " + c.To)
	case Kept:
		b.WriteString(" " + c.From + "; the file says " + c.To)
	}
	return b.String()
}

// Diff returns what has to change in old to make it new, in the order of the sections of a file and in each of ids and names.
// Either may be nil, an empty catalog.
func Diff(old, new *Catalog) []Change {
	var d differ
	before, after := index(old), index(new)
	d.endpoints(before, after)
	d.tiers(before, after)
	d.applications(before, after)
	return d.changes
}

// indexed is a catalog by ids and names.
type indexed struct {
	endpoints    map[string]*Endpoint
	tiers        map[string]*Tier
	applications map[string]*Application
}

func index(c *Catalog) indexed {
	by := indexed{map[string]*Endpoint{}, map[string]*Tier{}, map[string]*Application{}}
	if c == nil {
		return by
	}
	if c.CatchAll.ID != "" {
		by.endpoints[CatchAllID] = &c.CatchAll
	}
	for i := range c.Endpoints {
		by.endpoints[c.Endpoints[i].ID] = &c.Endpoints[i]
	}
	for i := range c.Tiers {
		by.tiers[c.Tiers[i].Name] = &c.Tiers[i]
	}
	for i := range c.Applications {
		by.applications[c.Applications[i].ID] = &c.Applications[i]
	}
	return by
}

// differ collects changes.
type differ struct{ changes []Change }

func (d *differ) endpoints(before, after indexed) {
	each(d, "endpoint", before.endpoints, after.endpoints, func(id string, old, new *Endpoint) {
		d.field("endpoint", id, "match", old.Match(), new.Match())
		d.field("endpoint", id, "when", old.When.String(), new.When.String())
		d.field("endpoint", id, "application", old.Limits.Application.String(), new.Limits.Application.String())
		d.field("endpoint", id, "member", old.Limits.Member.String(), new.Limits.Member.String())
		d.field("endpoint", id, "cost", strconv.FormatInt(old.Cost, 10), strconv.FormatInt(new.Cost, 10))
		d.field("endpoint", id, "shadow", strconv.FormatBool(old.Shadow), strconv.FormatBool(new.Shadow))
	})
}

func (d *differ) tiers(before, after indexed) {
	each(d, "tier", before.tiers, after.tiers, func(name string, old, new *Tier) {
		d.limits("tier", name, old.Limits, new.Limits)
	})
}

func (d *differ) applications(before, after indexed) {
	each(d, "application", before.applications, after.applications, func(id string, old, new *Application) {
		d.field("application", id, "name", fmt.Sprintf("%q", old.Name), fmt.Sprintf("%q", new.Name))
		d.field("application", id, "tier", orNone(old.Tier), orNone(new.Tier))
		d.field("application", id, "shadow", strconv.FormatBool(old.Shadow), strconv.FormatBool(new.Shadow))
		d.field("application", id, "suspended", strconv.FormatBool(old.Suspended), strconv.FormatBool(new.Suspended))
		d.limits("override", id, old.Overrides, new.Overrides)
	})
}

// limits compares limits by endpoint. Where one appears or goes, that is told of the kind, with its value.
func (d *differ) limits(noun, name string, before, after map[string]PartialLimits) {
	for _, id := range union(before, after) {
		old, new := before[id], after[id]
		d.limit(noun, name+" "+id, "application", old.Application, new.Application)
		d.limit(noun, name+" "+id, "member", old.Member, new.Member)
	}
}

func (d *differ) limit(noun, name, kind string, old, new *quota.Limit) {
	switch {
	case old == nil && new == nil:
	case old == nil:
		d.changes = append(d.changes, Change{Op: Added, Noun: noun, Name: name, Field: kind, To: new.String()})
	case new == nil:
		d.changes = append(d.changes, Change{Op: Removed, Noun: noun, Name: name, Field: kind, From: old.String()})
	default:
		d.field(noun, name, kind, old.String(), new.String())
	}
}

func (d *differ) field(noun, name, field, from, to string) {
	if from != to {
		d.changes = append(d.changes, Change{Op: Changed, Noun: noun, Name: name, Field: field, From: from, To: to})
	}
}

// each tells what is added and removed, and calls compare for what both sides have.
func each[T any](d *differ, noun string, before, after map[string]*T, compare func(name string, old, new *T)) {
	for _, name := range union(before, after) {
		old, new := before[name], after[name]
		switch {
		case old == nil:
			d.changes = append(d.changes, Change{Op: Added, Noun: noun, Name: name})
		case new == nil:
			d.changes = append(d.changes, Change{Op: Removed, Noun: noun, Name: name})
		default:
			compare(name, old, new)
		}
	}
}

// union returns the keys of both maps in order.
func union[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

func orNone(name string) string {
	if name == "" {
		return "none"
	}
	return name
}
