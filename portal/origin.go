package portal

import (
	"context"
	"maps"
	"slices"

	"github.com/perdiem/perdiem/registry"
)

// origin is where an item of the catalog comes from, in words.
type origin struct {
	From    string
	Changed string // how much of it was set at run time; empty: nothing
	Added   bool   // it was added at run time, and can be removed
	Own     bool   // no file has it
	Amended []amendment
}

// amendment is something that was set of an item at run time, and can be taken back.
type amendment struct{ Field, Value, Under string }

func newOrigin(o registry.Origin) origin {
	words := origin{From: "Catalog file", Added: o.Added, Own: o.Added && !o.File}
	switch {
	case !o.File && !o.Added:
		words.From = "–" // it was removed a moment ago
	case !o.File:
		words.From = "Run time"
	case o.Added:
		words.From = "Catalog file, over one added at run time"
	}
	for _, a := range o.Amended {
		words.Amended = append(words.Amended, amendment{a.Field, a.Value, orDash(a.Under)})
	}
	if n := len(o.Amended); n > 0 {
		words.Changed = count(int64(n), "setting", "settings") + " at run time"
	}
	return words
}

// origins returns where items come from, in the order of ids.
func (p *Portal) origins(ctx context.Context, noun registry.Noun, ids []string) ([]origin, error) {
	kept, err := p.Operators.Runtime.Origins(ctx, noun, ids)
	if err != nil {
		return nil, err
	}
	all := make([]origin, len(kept))
	for i, o := range kept {
		all[i] = newOrigin(o)
	}
	return all, nil
}

// origin returns where one item comes from.
func (p *Portal) origin(ctx context.Context, noun registry.Noun, id string) (origin, error) {
	all, err := p.origins(ctx, noun, []string{id})
	if err != nil {
		return origin{}, err
	}
	return all[0], nil
}

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

// sortedKeys returns the keys of maps in order.
func sortedKeys[V any](all ...map[string]V) []string {
	var keys []string
	for _, m := range all {
		keys = slices.AppendSeq(keys, maps.Keys(m))
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
