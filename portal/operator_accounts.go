package portal

import (
	"context"
	"net/http"
	"net/url"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// operatorAccountsBody is what the page of accounts is told.
type operatorAccountsBody struct {
	operating
	Rows     []accountRow
	First    string // the path of the first page; empty: this is it
	Next     string // the path of the next page; empty: there is none
	Add      form
	Password form
}

type accountRow struct {
	registry.Account
	Own bool // it is the one that looks
}

// operatorAccounts lists the accounts.
func (p *Portal) operatorAccounts(v *visit) error { return p.showOperatorAccounts(v, nil) }

func (p *Portal) showOperatorAccounts(v *visit, s *sent) error {
	after := v.r.URL.Query().Get("after")
	accounts, next, err := p.Accounts.Accounts(v.r.Context(), after, perPage)
	if err != nil {
		return err
	}
	body := operatorAccountsBody{
		Add: s.form(form{Do: "add", Button: "Add the account", Fields: []field{
			{Name: "email", Label: "Email address", Type: "email", Required: true, Most: 254},
			{Name: "password", Label: "Password", Type: "password", Help: "At least 12 characters. Left out, the account has none.", Most: 1024},
			{Name: "operator", Label: "Operator: sees and does everything", Type: "checkbox"},
		}}),
		Password: s.form(form{Do: "password", Button: "Set the password", Fields: []field{
			{Name: "email", Label: "Email address", Type: "email", Required: true, Most: 254},
			{Name: "password", Label: "New password", Type: "password", Help: "At least 12 characters. The account's sessions end.", Required: true, Most: 1024},
		}}),
	}
	for _, a := range accounts {
		body.Rows = append(body.Rows, accountRow{a, a.Email == v.account.Email})
	}
	if after != "" {
		body.First = p.operatorPath("accounts")
	}
	if next != "" {
		body.Next = p.operatorPath("accounts") + "?" + url.Values{"after": {next}}.Encode()
	}
	body.operating = v.operating("accounts", "Accounts", s)
	return v.show(s.status(), "operator-accounts", page{Title: "Accounts · operators", Body: body})
}

// changeOperatorAccounts does what a form of the page asks for.
func (p *Portal) changeOperatorAccounts(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if email := form.Get("email"); form.Get("do") == "remove" && !isSure(form) {
		at := p.operatorPath("accounts")
		q := question{
			Operating: v.operating("accounts", "Accounts", nil), Heading: "Remove " + email + "?", Text: "The account, its grants and its sessions go. That cannot be undone.",
			Asked: at, Hidden: []hidden{{"do", "remove"}, {"email", email}}, Button: "Remove the account", Back: at,
		}
		return v.show(http.StatusOK, "confirm", page{Title: q.Heading + " · operators", Body: q})
	}
	switch err := p.changeAccounts(v.r.Context(), v.account.Email, form); {
	case isFormError(err):
		return p.showOperatorAccounts(v, &sent{values: form, err: err})
	case err != nil:
		return err
	}
	v.redirect("/operator/accounts?saved")
	return nil
}

func (p *Portal) changeAccounts(ctx context.Context, actor string, form url.Values) error {
	email, err := registry.ParseEmail(form.Get("email"))
	if err != nil {
		return fieldErrors{"email": err}
	}
	do := form.Get("do")
	if email == actor && (do == "remove" || do == "demote") { // or there may be no operator left
		return fault.New(fault.Invalid, "This is your own account: ask another operator to do that.")
	}
	switch do {
	case "add":
		return p.addAccount(ctx, actor, email, form)
	case "password":
		hash, err := p.hashPassword(ctx, form.Get("password"))
		if err != nil {
			return err
		}
		return p.Accounts.SetPassword(ctx, email, hash, actor)
	case "promote", "demote":
		return p.Accounts.SetOperator(ctx, email, do == "promote", actor)
	case "remove":
		return p.Accounts.RemoveAccount(ctx, email, actor)
	default:
		return errNotOffered
	}
}

func (p *Portal) addAccount(ctx context.Context, actor, email string, form url.Values) (err error) {
	n := registry.NewAccount{Email: email, Operator: form.Has("operator")}
	if word := form.Get("password"); word != "" {
		if n.Password, err = p.hashPassword(ctx, word); err != nil {
			return err
		}
	}
	if _, err = p.Accounts.AddAccount(ctx, n, actor); fault.KindOf(err) == fault.Conflict {
		return fieldErrors{"email": err}
	}
	return err
}

// hashPassword returns the hash of a password. What is wrong with the password is told of its field.
func (p *Portal) hashPassword(ctx context.Context, word string) (string, error) {
	hash, err := p.Operators.HashPassword(ctx, word)
	if fault.KindOf(err) == fault.Invalid {
		err = fieldErrors{"password": err}
	}
	return hash, err
}
