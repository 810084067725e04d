package adminapi

import "github.com/perdiem/perdiem/catalog"

// catalogDocument is a catalog in the form of its file, as JSON, which is YAML as well.
type (
	catalogDocument struct {
		Endpoints    []endpointDocument                   `json:"endpoints" nullable:"false"`
		CatchAll     catchAllDocument                     `json:"catch_all"`
		Tiers        map[string]map[string]OverrideLimits `json:"tiers" doc:"Limits by tiers' names and endpoints' ids."`
		Applications []applicationDocument                `json:"applications" nullable:"false"`
	}
	catchAllDocument struct {
		Application Limit `json:"application"`
		Member      Limit `json:"member"`
		Cost        int64 `json:"cost"`
		Shadow      bool  `json:"shadow"`
	}
	endpointDocument struct {
		ID    string     `json:"id"`
		Match string     `json:"match"`
		When  Conditions `json:"when"`

		Application Limit `json:"application"`
		Member      Limit `json:"member"`
		Cost        int64 `json:"cost"`
		Shadow      bool  `json:"shadow"`
	}
	applicationDocument struct {
		ID        string                    `json:"id"`
		Name      string                    `json:"name"`
		Tier      string                    `json:"tier,omitempty"`
		Overrides map[string]OverrideLimits `json:"overrides"`
		Shadow    bool                      `json:"shadow"`
		Suspended bool                      `json:"suspended"`
	}
)

type catalogOutput struct{ Body catalogDocument }

func newCatalogDocument(s *catalog.Snapshot) catalogDocument {
	d := catalogDocument{
		Endpoints:    make([]endpointDocument, 0, len(s.Endpoints())),
		Tiers:        make(map[string]map[string]OverrideLimits, len(s.Tiers())),
		Applications: make([]applicationDocument, len(s.Applications())),
	}
	for _, e := range s.Endpoints() {
		l := newLimits(e.Limits)
		if e.ID == catalog.CatchAllID {
			d.CatchAll = catchAllDocument{l.Application, l.Member, e.Cost, e.Shadow}
			continue
		}
		d.Endpoints = append(d.Endpoints, endpointDocument{
			ID: e.ID, Match: e.Match(), When: Conditions{Header: e.When.Header, Query: e.When.Query},
			Application: l.Application, Member: l.Member, Cost: e.Cost, Shadow: e.Shadow,
		})
	}
	for _, t := range s.Tiers() {
		d.Tiers[t.Name] = newOverrideLimits(t.Limits)
	}
	for i, a := range s.Applications() {
		d.Applications[i] = applicationDocument{
			ID: a.ID, Name: a.Name, Tier: a.Tier, Overrides: newOverrideLimits(a.Overrides), Shadow: a.Shadow, Suspended: a.Suspended,
		}
	}
	return d
}
