package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

// ApplicationSummary is an application without its overrides.
type ApplicationSummary struct {
	ID        string `json:"id"`
	Name      string `json:"name" doc:"For people; may be empty."`
	Tier      string `json:"tier" doc:"Empty: it is in none."`
	Shadow    bool   `json:"shadow" doc:"It is refused nothing: what a limit would refuse is let pass, uncharged, and counted as refused."`
	Suspended bool   `json:"suspended" doc:"It may call nothing: 403."`
	Overrides int    `json:"overrides" doc:"How many endpoints it has limits of its own for."`
	Origin    Origin `json:"origin"`
}

// Application is an application.
type Application struct {
	ApplicationSummary
	Limits map[string]OverrideLimits `json:"limits" doc:"Its overrides, by endpoints' ids."`
}

// ApplicationPage is some of the applications.
type ApplicationPage struct {
	Applications []ApplicationSummary `json:"applications" nullable:"false" doc:"In the order of their ids."`
	Next         string               `json:"next,omitempty" doc:"Ask again with this as after: more follow. Left out: these were the last."`
}

// ApplicationSettings are what can be set of an application; what is not told stays as it is.
type ApplicationSettings struct {
	ID        string  `json:"id" minLength:"1" maxLength:"256" doc:"1 to 256 bytes of UTF-8 without control characters."`
	Name      *string `json:"name,omitempty" maxLength:"1024" doc:"For people."`
	Tier      *string `json:"tier,omitempty" maxLength:"256" doc:"One of the catalog's; empty: none."`
	Shadow    *bool   `json:"shadow,omitempty" doc:"Refuse it nothing."`
	Suspended *bool   `json:"suspended,omitempty" doc:"Let it call nothing: 403."`
}

type (
	applicationInput struct {
		ID string `query:"id" required:"true" minLength:"1" maxLength:"256" doc:"The application's id."`
	}
	applicationOutput   struct{ Body Application }
	applicationsOutput  struct{ Body ApplicationPage }
	setApplicationInput struct {
		EditInput
		Body ApplicationSettings
	}
)

func (a *API) registerApplications(api huma.API) {
	list := a.operation("list-applications", http.MethodGet, "applications", "List the applications, a page at a time")
	huma.Register(api, list, func(ctx context.Context, in *pageInput) (*applicationsOutput, error) {
		apps, next := page(a.Catalog().Applications(), *in, applicationID, func(app *catalog.Application) []string { return []string{app.ID, app.Name} })
		origins, err := a.origins(ctx, registry.Application, idsOf(apps, applicationID))
		if err != nil {
			return nil, a.fail(ctx, list.OperationID, err)
		}
		out := &applicationsOutput{Body: ApplicationPage{Applications: make([]ApplicationSummary, len(apps)), Next: next}}
		for i, app := range apps {
			out.Body.Applications[i] = newApplicationSummary(app, origins[i])
		}
		return out, nil
	})
	get := a.operation("get-application", http.MethodGet, "application", "Tell of one application, with its overrides", http.StatusNotFound)
	huma.Register(api, get, func(ctx context.Context, in *applicationInput) (*applicationOutput, error) {
		app, ok := a.Catalog().Application(in.ID)
		if !ok {
			return nil, a.problem(fault.New(fault.NotFound, "There is no application %.64q.", in.ID))
		}
		origin, err := a.origin(ctx, registry.Application, app.ID)
		if err != nil {
			return nil, a.fail(ctx, get.OperationID, err)
		}
		return &applicationOutput{Body: Application{ApplicationSummary: newApplicationSummary(app, origin), Limits: newOverrideLimits(app.Overrides)}}, nil
	})
	put := a.operation("set-application", http.MethodPut, "applications", "Set an application's name, tier, suspension or shadow mode, or add an application",
		http.StatusConflict, http.StatusRequestEntityTooLarge)
	put.Description = "What is told goes before the file's until it is taken back by revert-amendment. Where there is no such application it is added, and lies under a file's of the same id."
	huma.Register(api, put, func(ctx context.Context, in *setApplicationInput) (*editOutput, error) {
		return a.answerEdit(ctx, put.OperationID, registry.PutApplication(in.Body), in.EditInput)
	})
	a.registerRemove(api, registry.Application, "applications", "Remove an application that was added at run time",
		"Its tokens are revoked, and its overrides, grants and alert settings go, unless a file has it too. One that is let in by unknown_applications comes back with its next token: suspend it instead.")
}

func applicationID(app *catalog.Application) string { return app.ID }

func newApplicationSummary(app *catalog.Application, o Origin) ApplicationSummary {
	return ApplicationSummary{
		ID: app.ID, Name: app.Name, Tier: app.Tier, Shadow: app.Shadow, Suspended: app.Suspended, Overrides: len(app.Overrides), Origin: o,
	}
}

func newOverrideLimits(limits map[string]catalog.PartialLimits) map[string]OverrideLimits {
	out := make(map[string]OverrideLimits, len(limits))
	for id, l := range limits {
		out[id] = newPartialLimits(l)
	}
	return out
}

func newPartialLimits(l catalog.PartialLimits) OverrideLimits {
	return OverrideLimits{Application: (*Limit)(l.Application), Member: (*Limit)(l.Member)}
}

// partial returns the limits as the catalog has them.
func (l OverrideLimits) partial() catalog.PartialLimits {
	return catalog.PartialLimits{Application: (*quota.Limit)(l.Application), Member: (*quota.Limit)(l.Member)}
}
