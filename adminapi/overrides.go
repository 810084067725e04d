package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/quota"
)

// Override is the limits that an application has of its own for an endpoint.
type Override struct {
	Application string         `json:"application" minLength:"1" maxLength:"256" doc:"The application's id."`
	Endpoint    string         `json:"endpoint" minLength:"1" maxLength:"256" doc:"The endpoint's id; * for the catch-all."`
	Limits      OverrideLimits `json:"limits"`
}

// OverrideLimits are the limits that an override sets; what is not told stays as it is.
type OverrideLimits struct {
	Application *Limit `json:"application,omitempty" doc:"Calls a day of the application."`
	Member      *Limit `json:"member,omitempty" doc:"Calls a day of each member through it."`
}

type setOverrideInput struct {
	Body Override
}

type clearOverrideInput struct {
	Application string `query:"application" required:"true" minLength:"1" maxLength:"256" doc:"The application's id."`
	Endpoint    string `query:"endpoint" required:"true" minLength:"1" maxLength:"256" doc:"The endpoint's id; * for the catch-all."`
}

func (a *API) registerOverrides(api huma.API) {
	set := a.operation("set-override", http.MethodPut, "overrides", "Set an application's limits for an endpoint")
	set.Description = "They hold on every node within a second, on the day that is running, and before those of a file."
	huma.Register(api, set, func(ctx context.Context, in *setOverrideInput) (*struct{}, error) {
		o := in.Body
		limits := catalog.PartialLimits{Application: (*quota.Limit)(o.Limits.Application), Member: (*quota.Limit)(o.Limits.Member)}
		err := a.Registry.SetOverride(ctx, o.Application, o.Endpoint, limits, actor)
		if err == nil {
			err = a.changed(ctx)
		}
		if err != nil {
			return nil, a.fail(ctx, set.OperationID, err)
		}
		return nil, nil
	})
	remove := a.operation("clear-override", http.MethodDelete, "overrides", "Take back what set-override set")
	huma.Register(api, remove, func(ctx context.Context, in *clearOverrideInput) (*struct{}, error) {
		err := a.Registry.ClearOverride(ctx, in.Application, in.Endpoint, actor)
		if err == nil {
			err = a.changed(ctx)
		}
		if err != nil {
			return nil, a.fail(ctx, remove.OperationID, err)
		}
		return nil, nil
	})
}
