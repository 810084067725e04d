package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/registry"
)

// NewUser is an account of the Developer Portal about to be added.
type NewUser struct {
	Email    string `json:"email" minLength:"3" maxLength:"254" example:"ann@example.com" doc:"Names the account; in any case."`
	Operator bool   `json:"operator,omitempty" doc:"Sees and does everything."`
	Password string `json:"password,omitempty" maxLength:"1024" doc:"At least 12 characters. Left out: the account has none, and signs in by OIDC alone."`
}

// User is an account of the Developer Portal.
type User struct {
	Email    string    `json:"email" doc:"In lower case."`
	Operator bool      `json:"operator" doc:"Sees and does everything."`
	Password bool      `json:"password" doc:"It has a password; else it signs in by OIDC alone."`
	Created  time.Time `json:"created"`
}

// UserPage is some of the accounts.
type UserPage struct {
	Users []User `json:"users" nullable:"false" doc:"In order of their emails."`
	Next  string `json:"next,omitempty" doc:"Ask again with this as after: more accounts follow. Left out: these were the last."`
}

// UserPassword is a new password of an account.
type UserPassword struct {
	Email    string `json:"email" minLength:"3" maxLength:"254" doc:"The account's."`
	Password string `json:"password" minLength:"12" maxLength:"1024" doc:"At least 12 characters."`
}

// UserOperator says whether an account is an operator's.
type UserOperator struct {
	Email    string `json:"email" minLength:"3" maxLength:"254" doc:"The account's."`
	Operator bool   `json:"operator" doc:"Sees and does everything."`
}

type (
	addUserInput  struct{ Body NewUser }
	addUserOutput struct{ Body User }
	usersInput    struct {
		After string `query:"after" maxLength:"254" doc:"Where to go on: what an earlier answer told as next; left out: at the first."`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"How many accounts are told at most."`
	}
	usersOutput       struct{ Body UserPage }
	userPasswordInput struct{ Body UserPassword }
	userOperatorInput struct{ Body UserOperator }
	removeUserInput   struct {
		Email string `query:"email" required:"true" minLength:"1" maxLength:"254" doc:"The account's."`
	}
	signOutInput struct {
		Email string `query:"email" required:"true" minLength:"1" maxLength:"254" doc:"The account's."`
	}
)

func (a *API) registerUsers(api huma.API) {
	add := a.operation("add-user", http.MethodPost, "users", "Add an account of the Developer Portal", http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests)
	add.DefaultStatus = http.StatusCreated
	huma.Register(api, add, func(ctx context.Context, in *addUserInput) (*addUserOutput, error) {
		added, err := a.addUser(ctx, in.Body)
		if err != nil {
			return nil, a.fail(ctx, add.OperationID, err)
		}
		return &addUserOutput{Body: newUser(added)}, nil
	})
	list := a.operation("list-users", http.MethodGet, "users", "List the accounts of the Developer Portal, a page at a time")
	huma.Register(api, list, func(ctx context.Context, in *usersInput) (*usersOutput, error) {
		accounts, next, err := a.Registry.Accounts(ctx, in.After, in.Limit)
		if err != nil {
			return nil, a.fail(ctx, list.OperationID, err)
		}
		out := &usersOutput{Body: UserPage{Users: make([]User, len(accounts)), Next: next}}
		for i, one := range accounts {
			out.Body.Users[i] = newUser(one)
		}
		return out, nil
	})
	password := a.operation("set-user-password", http.MethodPut, "users/password", "Set the password of an account, and end its sessions",
		http.StatusNotFound, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests)
	huma.Register(api, password, func(ctx context.Context, in *userPasswordInput) (*struct{}, error) {
		hash, err := a.HashPassword(ctx, in.Body.Password)
		if err == nil {
			err = a.Registry.SetPassword(ctx, in.Body.Email, hash, actor(ctx))
		}
		if err != nil {
			return nil, a.fail(ctx, password.OperationID, err)
		}
		return nil, nil
	})
	operator := a.operation("set-user-operator", http.MethodPut, "users/operator", "Make an account an operator's, or no longer one", http.StatusNotFound, http.StatusRequestEntityTooLarge)
	huma.Register(api, operator, func(ctx context.Context, in *userOperatorInput) (*struct{}, error) {
		if err := a.Registry.SetOperator(ctx, in.Body.Email, in.Body.Operator, actor(ctx)); err != nil {
			return nil, a.fail(ctx, operator.OperationID, err)
		}
		return nil, nil
	})
	remove := a.operation("remove-user", http.MethodDelete, "users", "Remove an account, its grants and its sessions", http.StatusNotFound)
	huma.Register(api, remove, func(ctx context.Context, in *removeUserInput) (*struct{}, error) {
		if err := a.Registry.RemoveAccount(ctx, in.Email, actor(ctx)); err != nil {
			return nil, a.fail(ctx, remove.OperationID, err)
		}
		return nil, nil
	})
	signOut := a.operation("sign-out-user", http.MethodDelete, "users/sessions", "End all sessions of an account: whoever uses it has to sign in again", http.StatusNotFound)
	huma.Register(api, signOut, func(ctx context.Context, in *signOutInput) (*struct{}, error) {
		if err := a.Registry.EndSessions(ctx, in.Email, actor(ctx)); err != nil {
			return nil, a.fail(ctx, signOut.OperationID, err)
		}
		return nil, nil
	})
}

func (a *API) addUser(ctx context.Context, n NewUser) (_ registry.Account, err error) {
	var hash string
	if n.Password != "" {
		if hash, err = a.HashPassword(ctx, n.Password); err != nil {
			return registry.Account{}, err
		}
	}
	return a.Registry.AddAccount(ctx, registry.NewAccount{Email: n.Email, Operator: n.Operator, Password: hash}, actor(ctx))
}

func newUser(a registry.Account) User {
	return User{Email: a.Email, Operator: a.Operator, Password: a.Password != "", Created: a.Created}
}
