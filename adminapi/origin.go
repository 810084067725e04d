package adminapi

import (
	"context"

	"github.com/perdiem/perdiem/registry"
)

// Origin says where an item of the catalog comes from.
type Origin struct {
	File    bool        `json:"file" doc:"The catalog's file has it."`
	Added   bool        `json:"added" doc:"It was added at run time; where the file has it too, the file's holds."`
	Amended []Amendment `json:"amended" nullable:"false" doc:"What was set of it at run time, and goes before the file's."`
}

// Amendment is something that was set at run time of an item.
type Amendment struct {
	Field string `json:"field" doc:"What was set: member; of a tier, posts.create member."`
	Value string `json:"value" doc:"What holds: 200, unlimited, true."`
	Under string `json:"under,omitempty" doc:"What would hold without it; left out: nothing would."`
}

// origins returns where items come from, in the order of ids.
func (a *API) origins(ctx context.Context, noun registry.Noun, ids []string) ([]Origin, error) {
	kept, err := a.Registry.Origins(ctx, noun, ids)
	if err != nil {
		return nil, err
	}
	origins := make([]Origin, len(kept))
	for i, o := range kept {
		origins[i] = Origin{File: o.File, Added: o.Added, Amended: make([]Amendment, len(o.Amended))}
		for j, one := range o.Amended {
			origins[i].Amended[j] = Amendment(one)
		}
	}
	return origins, nil
}

// origin returns where one item comes from.
func (a *API) origin(ctx context.Context, noun registry.Noun, id string) (Origin, error) {
	origins, err := a.origins(ctx, noun, []string{id})
	if err != nil {
		return Origin{}, err
	}
	return origins[0], nil
}
