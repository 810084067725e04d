package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// Endpoint is an endpoint of the catalog.
type Endpoint struct {
	ID     string     `json:"id" doc:"* is the catch-all's."`
	Match  string     `json:"match" doc:"Method and path, such as POST /rest/posts; * for the catch-all."`
	When   Conditions `json:"when"`
	Limits Limits     `json:"limits" doc:"What holds unless a tier or an override says else."`
	Cost   int64      `json:"cost" doc:"Calls that one request is charged."`
	Shadow bool       `json:"shadow" doc:"Nobody is refused: what a limit would refuse is let pass, uncharged, and counted as refused."`
	Origin Origin     `json:"origin"`
}

// Conditions are what else a request must bring to meet an endpoint.
type Conditions struct {
	Header map[string]string `json:"header,omitempty" doc:"Values by names of headers; * is any."`
	Query  map[string]string `json:"query,omitempty" doc:"Values by names of query parameters; * is any."`
}

// EndpointPage is some of the endpoints.
type EndpointPage struct {
	Endpoints []Endpoint `json:"endpoints" nullable:"false" doc:"In the order of their ids, the catch-all among them."`
	Next      string     `json:"next,omitempty" doc:"Ask again with this as after: more follow. Left out: these were the last."`
}

// EndpointSettings are what can be set of an endpoint; what is not told stays as it is.
type EndpointSettings struct {
	ID     string         `json:"id" minLength:"1" maxLength:"256" doc:"1 to 256 bytes of UTF-8 without control characters; * for the catch-all."`
	Match  string         `json:"match,omitempty" maxLength:"4200" doc:"Method and path, as in a catalog's file. Needed to add an endpoint; a file's cannot be changed."`
	When   *Conditions    `json:"when,omitempty" doc:"Goes with match."`
	Limits OverrideLimits `json:"limits,omitzero" doc:"Of an endpoint that is added, what is not told is unlimited."`
	Cost   *int64         `json:"cost,omitempty" minimum:"1" maximum:"1000000" doc:"Calls that one request is charged."`
	Shadow *bool          `json:"shadow,omitempty" doc:"Refuse nobody."`
}

type (
	endpointInput struct {
		ID string `query:"id" required:"true" minLength:"1" maxLength:"256" doc:"The endpoint's id; * for the catch-all."`
	}
	endpointOutput   struct{ Body Endpoint }
	endpointsOutput  struct{ Body EndpointPage }
	setEndpointInput struct {
		EditInput
		Body EndpointSettings
	}
)

func (a *API) registerEndpoints(api huma.API) {
	list := a.operation("list-endpoints", http.MethodGet, "endpoints", "List the endpoints, a page at a time")
	huma.Register(api, list, func(ctx context.Context, in *pageInput) (*endpointsOutput, error) {
		endpoints, next := page(a.Catalog().Endpoints(), *in, endpointID, func(e *catalog.Endpoint) []string { return []string{e.ID, e.Match()} })
		origins, err := a.origins(ctx, registry.Endpoint, idsOf(endpoints, endpointID))
		if err != nil {
			return nil, a.fail(ctx, list.OperationID, err)
		}
		out := &endpointsOutput{Body: EndpointPage{Endpoints: make([]Endpoint, len(endpoints)), Next: next}}
		for i, e := range endpoints {
			out.Body.Endpoints[i] = newEndpoint(e, origins[i])
		}
		return out, nil
	})
	get := a.operation("get-endpoint", http.MethodGet, "endpoint", "Tell of one endpoint", http.StatusNotFound)
	huma.Register(api, get, func(ctx context.Context, in *endpointInput) (*endpointOutput, error) {
		e, ok := a.Catalog().Endpoint(in.ID)
		if !ok {
			return nil, a.problem(fault.New(fault.NotFound, "There is no endpoint %.64q.", in.ID))
		}
		origin, err := a.origin(ctx, registry.Endpoint, e.ID)
		if err != nil {
			return nil, a.fail(ctx, get.OperationID, err)
		}
		return &endpointOutput{Body: newEndpoint(e, origin)}, nil
	})
	put := a.operation("set-endpoint", http.MethodPut, "endpoints", "Set an endpoint's limits, cost or shadow mode, or add an endpoint",
		http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge)
	put.Description = "What is told goes before the file's until it is taken back by revert-amendment. Where there is no such endpoint it is added, and lies under a file's of the same id."
	huma.Register(api, put, func(ctx context.Context, in *setEndpointInput) (*editOutput, error) {
		e := registry.PutEndpoint{ID: in.Body.ID, Match: in.Body.Match, Limits: in.Body.Limits.partial(), Cost: in.Body.Cost, Shadow: in.Body.Shadow}
		if in.Body.When != nil {
			e.When = &catalog.Conditions{Header: in.Body.When.Header, Query: in.Body.When.Query}
		}
		return a.answerEdit(ctx, put.OperationID, e, in.EditInput)
	})
	a.registerRemove(api, registry.Endpoint, "endpoints", "Remove an endpoint that was added at run time",
		"What it matched is counted under the endpoint that matches next, in the end the catch-all. Overrides for it go, unless a file has it too.")
}

func endpointID(e *catalog.Endpoint) string { return e.ID }

func newEndpoint(e *catalog.Endpoint, o Origin) Endpoint {
	return Endpoint{
		ID: e.ID, Match: e.Match(), When: Conditions{Header: e.When.Header, Query: e.When.Query},
		Limits: newLimits(e.Limits), Cost: e.Cost, Shadow: e.Shadow, Origin: o,
	}
}
