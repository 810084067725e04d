package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

const (
	maxCatalog  = 16<<20 + 1 // bytes: one more than a catalog may have, since a body of this size is refused
	catalogTime = time.Minute
)

type applyInput struct {
	File    string `query:"file" maxLength:"1024" doc:"The file's name, for messages and the audit."`
	DryRun  bool   `query:"dryRun" doc:"Change nothing, and tell what would change."`
	RawBody []byte `contentType:"application/yaml" doc:"The catalog."`
}

type applyOutput struct {
	Body struct {
		Changes []string `json:"changes" nullable:"false" doc:"What changed, or would, such as '~ endpoint posts.create member 150 -> 200'."`
	}
}

func (a *API) registerCatalog(api huma.API) {
	op := a.operation("apply-catalog", http.MethodPut, "catalog", "Make the registry match a catalog file", http.StatusConflict, http.StatusRequestEntityTooLarge)
	op.Description = "What an earlier file brought and this one does not have is removed; what was made at run time is kept."
	op.MaxBodyBytes = maxCatalog
	op.BodyReadTimeout = catalogTime
	huma.Register(api, op, func(ctx context.Context, in *applyInput) (*applyOutput, error) {
		changes, err := a.apply(ctx, in)
		if err != nil {
			return nil, a.fail(ctx, op.OperationID, err)
		}
		out := &applyOutput{}
		out.Body.Changes = make([]string, len(changes))
		for i, c := range changes {
			out.Body.Changes[i] = c.String()
		}
		return out, nil
	})
	get := a.operation("get-catalog", http.MethodGet, "catalog", "Tell the catalog that holds, both what files brought and what was made at run time")
	get.Description = "In the form of a catalog's file: applied, it changes nothing. With many applications it is large; the lists tell the same a page at a time."
	huma.Register(api, get, func(context.Context, *struct{}) (*catalogOutput, error) {
		return &catalogOutput{Body: newCatalogDocument(a.Catalog())}, nil
	})
}

func (a *API) apply(ctx context.Context, in *applyInput) ([]catalog.Change, error) {
	if in.File == "" {
		in.File = "catalog.yaml"
	}
	c, err := catalog.Parse(in.File, in.RawBody, a.Paths)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s", err)
	}
	if !in.DryRun {
		if err := a.MayApply(in.RawBody); err != nil {
			return nil, err
		}
	}
	changes, err := a.Registry.Apply(ctx, c, registry.ApplyOptions{Source: in.File, Actor: actor(ctx), DryRun: in.DryRun})
	if err != nil || in.DryRun {
		return changes, err
	}
	return changes, a.changed(ctx)
}
