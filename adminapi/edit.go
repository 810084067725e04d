package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

// Edited is what an edit changes, or would, in what holds.
type Edited struct {
	Changes []string `json:"changes" nullable:"false" doc:"Such as '~ endpoint posts.create member 150 -> 200'. Empty: nothing changes for whoever calls. Of an application that is removed also what goes with it, such as '- application acme tokens 3'."`
	Touched Touched  `json:"touched"`
	Digest  string   `json:"digest" doc:"Names all that changes and all that is touched. The same edit with it as expect is made only if that is still so."`
}

// Touched says whose limits an edit changes.
type Touched struct {
	Applications int     `json:"applications" doc:"How many applications have a limit that changes."`
	Limits       int     `json:"limits" doc:"How many pairs of an application and an endpoint change."`
	First        []Touch `json:"first" nullable:"false" doc:"The first hundred of them, in the order of applications and endpoints."`
}

// Touch is an application whose limits for an endpoint change.
type Touch struct {
	Application string `json:"application"`
	Endpoint    string `json:"endpoint"`
	Before      Limits `json:"before"`
	After       Limits `json:"after"`
}

// Limits are the limits that hold, of both kinds.
type Limits struct {
	Application Limit `json:"application" doc:"Calls a day of the application."`
	Member      Limit `json:"member" doc:"Calls a day of each member through it."`
}

func newLimits(l quota.Limits) Limits { return Limits{Limit(l.Application), Limit(l.Member)} }

// DryInput is what makes an edit a dry run.
type DryInput struct {
	DryRun bool `query:"dryRun" doc:"Change nothing, and tell what would change and whom that would touch."`
}

// EditInput is how an edit is made.
type EditInput struct {
	DryInput
	Expect string `query:"expect" maxLength:"64" doc:"The digest of a dry run: the edit is made only if it still changes and touches the same, and is a conflict otherwise. Sent again once it is made, it changes nothing, and is none; one that takes away what is gone by then is 404."`
}

type editOutput struct{ Body Edited }

// edit makes an edit, and has it hold on this node.
func (a *API) edit(ctx context.Context, e registry.Edit, in EditInput) (Edited, error) {
	edited, err := a.Registry.Edit(ctx, e, registry.EditOptions{Actor: actor(ctx), DryRun: in.DryRun, Expect: in.Expect})
	if err != nil {
		return Edited{}, err
	}
	if !in.DryRun {
		if err := a.changed(ctx); err != nil {
			return Edited{}, err
		}
	}
	out := Edited{
		Changes: make([]string, len(edited.Changes)),
		Digest:  edited.Digest,
		Touched: Touched{Applications: edited.Touched.Applications, Limits: edited.Touched.Limits, First: make([]Touch, len(edited.Touched.First))},
	}
	for i, c := range edited.Changes {
		out.Changes[i] = c.String()
	}
	for i, t := range edited.Touched.First {
		out.Touched.First[i] = Touch{Application: t.Application, Endpoint: t.Endpoint, Before: newLimits(t.Before), After: newLimits(t.After)}
	}
	return out, nil
}

// answerEdit makes an edit and answers with what it changed.
func (a *API) answerEdit(ctx context.Context, operation string, e registry.Edit, in EditInput) (*editOutput, error) {
	edited, err := a.edit(ctx, e, in)
	if err != nil {
		return nil, a.fail(ctx, operation, err)
	}
	return &editOutput{Body: edited}, nil
}

type removeInput struct {
	EditInput
	ID string `query:"id" required:"true" minLength:"1" maxLength:"256" doc:"The id."`
}

// registerRemove registers the removal of items of one kind.
func (a *API) registerRemove(api huma.API, noun registry.Noun, path, summary, description string) {
	op := a.operation("remove-"+string(noun), http.MethodDelete, path, summary, http.StatusNotFound, http.StatusConflict)
	op.Description = description
	huma.Register(api, op, func(ctx context.Context, in *removeInput) (*editOutput, error) {
		return a.answerEdit(ctx, op.OperationID, registry.Remove{Noun: noun, ID: in.ID}, in.EditInput)
	})
}

type revertInput struct {
	EditInput
	Noun  string `query:"noun" required:"true" enum:"endpoint,tier,application" doc:"Of which kind the item is."`
	ID    string `query:"id" required:"true" minLength:"1" maxLength:"256" doc:"The item's id."`
	Field string `query:"field" maxLength:"300" doc:"What of it, as an origin tells it: member; of a tier posts.create, or posts.create member. Left out: all."`
}

func (a *API) registerAmendments(api huma.API) {
	op := a.operation("revert-amendment", http.MethodDelete, "amendments", "Take back what was set at run time of an endpoint, a tier or an application",
		http.StatusNotFound, http.StatusConflict)
	op.Description = "What the file says, or what the item was added with, holds again."
	huma.Register(api, op, func(ctx context.Context, in *revertInput) (*editOutput, error) {
		return a.answerEdit(ctx, op.OperationID, registry.Revert{Noun: registry.Noun(in.Noun), ID: in.ID, Field: in.Field}, in.EditInput)
	})
}
