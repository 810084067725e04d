package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// TierSummary is a tier without its limits.
type TierSummary struct {
	Name         string `json:"name"`
	Endpoints    int    `json:"endpoints" doc:"How many endpoints it has limits for."`
	Applications int    `json:"applications" doc:"How many applications are in it."`
	Origin       Origin `json:"origin"`
}

// Tier is a tier.
type Tier struct {
	TierSummary
	Limits map[string]OverrideLimits `json:"limits" doc:"By endpoints' ids."`
}

// TierPage is some of the tiers.
type TierPage struct {
	Tiers []TierSummary `json:"tiers" nullable:"false" doc:"In the order of their names."`
	Next  string        `json:"next,omitempty" doc:"Ask again with this as after: more follow. Left out: these were the last."`
}

// TierSettings are what can be set of a tier; what is not told stays as it is.
type TierSettings struct {
	Name   string                    `json:"name" minLength:"1" maxLength:"256" doc:"1 to 256 bytes of UTF-8 without control characters."`
	Limits map[string]OverrideLimits `json:"limits,omitempty" doc:"By endpoints' ids."`
}

const maxTier = 4 << 20 // bytes: limits for ten thousand endpoints

type (
	tierInput struct {
		Name string `query:"name" required:"true" minLength:"1" maxLength:"256" doc:"The tier's name."`
	}
	tierOutput   struct{ Body Tier }
	tiersOutput  struct{ Body TierPage }
	setTierInput struct {
		EditInput
		Body TierSettings
	}
)

func (a *API) registerTiers(api huma.API) {
	list := a.operation("list-tiers", http.MethodGet, "tiers", "List the tiers, a page at a time")
	huma.Register(api, list, func(ctx context.Context, in *pageInput) (*tiersOutput, error) {
		snapshot := a.Catalog()
		tiers, next := page(snapshot.Tiers(), *in, tierName, func(t *catalog.Tier) []string { return []string{t.Name} })
		origins, err := a.origins(ctx, registry.Tier, idsOf(tiers, tierName))
		if err != nil {
			return nil, a.fail(ctx, list.OperationID, err)
		}
		out := &tiersOutput{Body: TierPage{Tiers: make([]TierSummary, len(tiers)), Next: next}}
		members := applicationsByTier(snapshot)
		for i, t := range tiers {
			out.Body.Tiers[i] = TierSummary{Name: t.Name, Endpoints: len(t.Limits), Applications: members[t.Name], Origin: origins[i]}
		}
		return out, nil
	})
	get := a.operation("get-tier", http.MethodGet, "tier", "Tell of one tier, with its limits", http.StatusNotFound)
	huma.Register(api, get, func(ctx context.Context, in *tierInput) (*tierOutput, error) {
		snapshot := a.Catalog()
		t, ok := snapshot.Tier(in.Name)
		if !ok {
			return nil, a.problem(fault.New(fault.NotFound, "There is no tier %.64q.", in.Name))
		}
		origin, err := a.origin(ctx, registry.Tier, t.Name)
		if err != nil {
			return nil, a.fail(ctx, get.OperationID, err)
		}
		return &tierOutput{Body: Tier{
			TierSummary: TierSummary{Name: t.Name, Endpoints: len(t.Limits), Applications: applicationsByTier(snapshot)[t.Name], Origin: origin},
			Limits:      newOverrideLimits(t.Limits),
		}}, nil
	})
	put := a.operation("set-tier", http.MethodPut, "tiers", "Set a tier's limits, or add a tier",
		http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge)
	put.Description = "What is told goes before the file's until it is taken back by revert-amendment. Where there is no such tier it is added, and lies under a file's of the same name."
	put.MaxBodyBytes = maxTier
	huma.Register(api, put, func(ctx context.Context, in *setTierInput) (*editOutput, error) {
		limits := make(map[string]catalog.PartialLimits, len(in.Body.Limits))
		for id, l := range in.Body.Limits {
			limits[id] = l.partial()
		}
		return a.answerEdit(ctx, put.OperationID, registry.PutTier{Name: in.Body.Name, Limits: limits}, in.EditInput)
	})
	a.registerRemove(api, registry.Tier, "tiers", "Remove a tier that was added at run time", "Not while an application is in it.")
}

func tierName(t *catalog.Tier) string { return t.Name }

func applicationsByTier(s *catalog.Snapshot) map[string]int {
	members := make(map[string]int)
	for _, app := range s.Applications() {
		members[app.Tier]++
	}
	return members
}
