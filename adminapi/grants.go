package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// Grant lets an account of the Developer Portal see an application.
type Grant struct {
	Email       string `json:"email" minLength:"3" maxLength:"254" doc:"The account's."`
	Application string `json:"application" minLength:"1" maxLength:"256" doc:"The application's id."`
	Role        string `json:"role" enum:"admin,viewer" doc:"An admin changes what developers may change; a viewer only sees it."`
}

type (
	grantInput    struct{ Body Grant }
	withdrawInput struct {
		Email       string `query:"email" required:"true" minLength:"1" maxLength:"254" doc:"The account's."`
		Application string `query:"application" required:"true" minLength:"1" maxLength:"256" doc:"The application's id."`
	}
	grantsInput struct {
		Application string `query:"application" maxLength:"256" doc:"Tells its team. Either this or email is required."`
		Email       string `query:"email" maxLength:"254" doc:"Tells what is granted to the account."`
	}
	grantsOutput struct{ Body GrantList }
)

// GrantList is what is granted to an account, or to whom an application is granted.
type GrantList struct {
	Grants []Grant `json:"grants" nullable:"false" doc:"In order of emails and applications."`
}

func (a *API) registerGrants(api huma.API) {
	grant := a.operation("grant-application", http.MethodPut, "grants", "Let an account see an application, or change its role", http.StatusNotFound, http.StatusRequestEntityTooLarge)
	huma.Register(api, grant, func(ctx context.Context, in *grantInput) (*struct{}, error) {
		g := registry.Grant{Email: in.Body.Email, Application: in.Body.Application, Role: registry.Role(in.Body.Role)}
		if err := a.Registry.Grant(ctx, g, actor(ctx)); err != nil {
			return nil, a.fail(ctx, grant.OperationID, err)
		}
		return nil, nil
	})
	withdraw := a.operation("withdraw-application", http.MethodDelete, "grants", "Take back what grant-application granted", http.StatusNotFound)
	huma.Register(api, withdraw, func(ctx context.Context, in *withdrawInput) (*struct{}, error) {
		if err := a.Registry.Withdraw(ctx, in.Email, in.Application, actor(ctx)); err != nil {
			return nil, a.fail(ctx, withdraw.OperationID, err)
		}
		return nil, nil
	})
	list := a.operation("list-grants", http.MethodGet, "grants", "Tell an application's team, or what is granted to an account", http.StatusNotFound)
	huma.Register(api, list, func(ctx context.Context, in *grantsInput) (*grantsOutput, error) {
		grants, err := a.grants(ctx, in)
		if err != nil {
			return nil, a.fail(ctx, list.OperationID, err)
		}
		out := &grantsOutput{Body: GrantList{Grants: make([]Grant, len(grants))}}
		for i, g := range grants {
			out.Body.Grants[i] = Grant{Email: g.Email, Application: g.Application, Role: string(g.Role)}
		}
		return out, nil
	})
}

func (a *API) grants(ctx context.Context, in *grantsInput) ([]registry.Grant, error) {
	switch {
	case (in.Application == "") == (in.Email == ""):
		return nil, fault.New(fault.Invalid, "Give application, or email, and not both.")
	case in.Email == "":
		return a.Registry.Team(ctx, in.Application)
	default:
		return a.Registry.Grants(ctx, in.Email)
	}
}
