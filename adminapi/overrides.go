package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/registry"
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
	EditInput
	Body Override
}

type clearOverrideInput struct {
	EditInput
	Application string `query:"application" required:"true" minLength:"1" maxLength:"256" doc:"The application's id."`
	Endpoint    string `query:"endpoint" required:"true" minLength:"1" maxLength:"256" doc:"The endpoint's id; * for the catch-all."`
}

type overridesInput struct {
	AfterApplication string `query:"afterApplication" maxLength:"256" doc:"Where to go on, with afterEndpoint: what an earlier answer told as next; left out: at the first."`
	AfterEndpoint    string `query:"afterEndpoint" maxLength:"256" doc:"See afterApplication."`
	Limit            int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many overrides are told at most."`
}

// OverridePage is some of the overrides that were made at run time.
type OverridePage struct {
	Overrides []Override    `json:"overrides" nullable:"false" doc:"In the order of applications and endpoints; those whose application or endpoint is gone, and which wait for it, are among them."`
	Next      *OverrideName `json:"next,omitempty" doc:"Ask again with these as afterApplication and afterEndpoint: more follow. Left out: these were the last."`
}

// OverrideName names an override.
type OverrideName struct {
	Application string `json:"application"`
	Endpoint    string `json:"endpoint"`
}

type overridesOutput struct{ Body OverridePage }

// overrideOutput has a body in a dry run alone.
type overrideOutput struct {
	Status int
	Body   *Edited
}

func (a *API) registerOverrides(api huma.API) {
	list := a.operation("list-overrides", http.MethodGet, "overrides", "List the overrides that were made at run time, a page at a time")
	huma.Register(api, list, func(ctx context.Context, in *overridesInput) (*overridesOutput, error) {
		page, err := a.overrides(ctx, in)
		if err != nil {
			return nil, a.fail(ctx, list.OperationID, err)
		}
		return &overridesOutput{Body: page}, nil
	})
	set := a.operation("set-override", http.MethodPut, "overrides", "Set an application's limits for an endpoint", http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge)
	set.Description = "They hold on every node within a second, on the day that is running, and before those of a file."
	set.Responses["204"] = &huma.Response{Description: "It is set."}
	huma.Register(api, set, func(ctx context.Context, in *setOverrideInput) (*overrideOutput, error) {
		o := in.Body
		return a.answerOverride(ctx, set.OperationID, in.EditInput, registry.PutOverride{Application: o.Application, Endpoint: o.Endpoint, Limits: o.Limits.partial()}, func() error {
			return a.Registry.SetOverride(ctx, o.Application, o.Endpoint, o.Limits.partial(), actor(ctx))
		})
	})
	remove := a.operation("clear-override", http.MethodDelete, "overrides", "Take back what set-override set", http.StatusNotFound, http.StatusConflict)
	remove.Responses["204"] = &huma.Response{Description: "It is taken back."}
	huma.Register(api, remove, func(ctx context.Context, in *clearOverrideInput) (*overrideOutput, error) {
		return a.answerOverride(ctx, remove.OperationID, in.EditInput, registry.ClearOverride{Application: in.Application, Endpoint: in.Endpoint}, func() error {
			return a.Registry.ClearOverride(ctx, in.Application, in.Endpoint, actor(ctx))
		})
	})
}

// overrides returns a page of overrides.
func (a *API) overrides(ctx context.Context, in *overridesInput) (OverridePage, error) {
	// Where a page is full, another may follow, though nothing be on it.
	kept, err := a.Registry.Overrides(ctx, registry.OverrideName{Application: in.AfterApplication, Endpoint: in.AfterEndpoint}, in.Limit)
	if err != nil {
		return OverridePage{}, err
	}
	page := OverridePage{Overrides: make([]Override, len(kept))}
	for i, o := range kept {
		page.Overrides[i] = Override{Application: o.Application, Endpoint: o.Endpoint, Limits: newPartialLimits(o.Limits)}
	}
	if len(kept) == in.Limit {
		page.Next = new(OverrideName(kept[len(kept)-1].OverrideName))
	}
	return page, nil
}

// answerOverride changes an override: by an edit where that is a dry run, or has to be as expected, and else by change, which does not read the whole
// catalog.
func (a *API) answerOverride(ctx context.Context, operation string, in EditInput, e registry.Edit, change func() error) (*overrideOutput, error) {
	var err error
	if in.DryRun || in.Expect != "" {
		var edited Edited
		edited, err = a.edit(ctx, e, in)
		if err == nil && in.DryRun {
			return &overrideOutput{Status: http.StatusOK, Body: &edited}, nil
		}
	} else if err = change(); err == nil {
		err = a.changed(ctx)
	}
	if err != nil {
		return nil, a.fail(ctx, operation, err)
	}
	return &overrideOutput{Status: http.StatusNoContent}, nil
}
