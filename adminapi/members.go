package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// NearMember is a member who is near its limit for an endpoint today.
type NearMember struct {
	Endpoint  string `json:"endpoint"`
	ID        string `json:"id" doc:"The member's."`
	Percent   int    `json:"percent" doc:"How much of the limit is used, rounded down: 75 or more."`
	Limit     int64  `json:"limit"`
	Used      int64  `json:"used"`
	Remaining int64  `json:"remaining"`
	Refused   int64  `json:"refused" doc:"For the member's limit."`
}

// NearMembers are members who are near their limits today.
type NearMembers struct {
	Members []NearMember `json:"members" nullable:"false" doc:"The nearest first."`
	Total   int          `json:"total" doc:"How many are kept by name, those that are not told among them."`
}

type (
	nearMembersInput struct {
		Application string `query:"application" required:"true" minLength:"1" maxLength:"256" doc:"The application's id."`
		Endpoint    string `query:"endpoint" maxLength:"256" doc:"The endpoint's id; left out: all of them."`
		Limit       int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many are told at most."`
	}
	nearMembersOutput struct{ Body NearMembers }
)

func (a *API) registerMembers(api huma.API) {
	op := a.operation("list-near-members", http.MethodGet, "members/near", "Tell which members of an application have used 75 % of a limit today", http.StatusNotFound)
	op.Description = "Of each endpoint the hundred nearest are kept by name, until the day ends."
	huma.Register(api, op, func(ctx context.Context, in *nearMembersInput) (*nearMembersOutput, error) {
		out, err := a.nearMembers(ctx, in)
		if err != nil {
			return nil, a.fail(ctx, op.OperationID, err)
		}
		return &nearMembersOutput{Body: out}, nil
	})
}

func (a *API) nearMembers(ctx context.Context, in *nearMembersInput) (out NearMembers, err error) {
	if err := a.inCatalog(in.Application, in.Endpoint); err != nil {
		return out, err
	}
	near, err := a.Usage.MembersNear(ctx, in.Application, in.Endpoint)
	if err != nil {
		return out, err
	}
	out = NearMembers{Members: make([]NearMember, min(in.Limit, len(near))), Total: len(near)}
	for i := range out.Members {
		m := near[i] // who is near a limit has one
		out.Members[i] = NearMember{
			Endpoint: m.Endpoint, ID: m.ID, Percent: m.Percent, Limit: *m.Limit, Used: m.Used, Remaining: *m.Remaining, Refused: m.Refused,
		}
	}
	return out, nil
}
