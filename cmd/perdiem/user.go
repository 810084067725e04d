package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/registry"
)

type userCommands struct {
	Add      userAddCommand      `cmd:"" help:"Add an account; its password is asked for, or read from standard input."`
	List     userListCommand     `cmd:"" help:"List the accounts, or an application's team."`
	Password userPasswordCommand `cmd:"" help:"Set an account's password, and sign it out everywhere."`
	Operator userOperatorCommand `cmd:"" help:"Make an account an operator's, or no longer one."`
	Remove   userRemoveCommand   `cmd:"" help:"Remove an account, and what was granted to it."`
	Grant    userGrantCommand    `cmd:"" help:"Let an account see an application."`
	Withdraw userWithdrawCommand `cmd:"" help:"Take back what grant has granted."`
	Grants   userGrantsCommand   `cmd:"" help:"List what is granted to an account."`
}

// emailArg is the account that a command is about.
type emailArg struct {
	Email string `arg:"" help:"The account's address of mail."`
}

// Validate is called by kong.
func (a emailArg) Validate() error { return checkEmail(a.Email) }

// checkEmail refuses what cannot be the email of an account.
func checkEmail(email string) error {
	if email == "" {
		return errors.New("email: give the account's, such as ann@example.com")
	}
	_, err := registry.ParseEmail(email)
	return err
}

type userAddCommand struct {
	connection
	emailArg
	Operator bool `help:"The account sees and does everything."`
	OIDC     bool `name:"oidc" help:"The account has no password: it signs in by OIDC alone."`
}

func (c userAddCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	user := adminapi.NewUser{Email: c.Email, Operator: c.Operator}
	if !c.OIDC {
		if user.Password, err = p.readPassword(); err != nil {
			return err
		}
	}
	var added adminapi.User
	if err := node.call(http.MethodPost, "users", nil, user, &added); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "account %s added\n", added.Email)
	return err
}

type userListCommand struct {
	connection
	App *string `placeholder:"ID" help:"The application whose team is listed; else all accounts are."`
}

// Validate is called by kong.
func (c userListCommand) Validate() error {
	if c.App == nil {
		return nil
	}
	return checkID("--app", *c.App)
}

func (c userListCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	if c.App != nil {
		return printGrants(p, node, url.Values{"application": {*c.App}}, "EMAIL", func(g adminapi.Grant) string { return g.Email })
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "EMAIL\tKIND\tSIGNS IN BY\tCREATED")
	query := url.Values{}
	for {
		var page adminapi.UserPage
		if err := node.call(http.MethodGet, "users", query, nil, &page); err != nil {
			return err
		}
		for _, u := range page.Users {
			kind, by := "developer", "password"
			if u.Operator {
				kind = "operator"
			}
			if !u.Password {
				by = "oidc"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", u.Email, kind, by, instant(&u.Created, ""))
		}
		if err := w.Flush(); err != nil || page.Next == "" {
			return err
		}
		query.Set("after", page.Next)
	}
}

// printGrants prints those that a query asks for, by what the query does not tell.
func printGrants(p *program, node *client, query url.Values, heading string, of func(adminapi.Grant) string) error {
	var list adminapi.GrantList
	if err := node.call(http.MethodGet, "grants", query, nil, &list); err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, heading+"\tROLE")
	for _, g := range list.Grants {
		fmt.Fprintf(w, "%s\t%s\n", of(g), g.Role)
	}
	return w.Flush()
}

type userPasswordCommand struct {
	connection
	emailArg
}

func (c userPasswordCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	password, err := p.readPassword()
	if err != nil {
		return err
	}
	if err := node.call(http.MethodPut, "users/password", nil, adminapi.UserPassword{Email: c.Email, Password: password}, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "password of %s set\n", c.Email)
	return err
}

type userOperatorCommand struct {
	connection
	emailArg
	Is string `arg:"" enum:"yes,no" help:"yes or no."`
}

func (c userOperatorCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	if err := node.call(http.MethodPut, "users/operator", nil, adminapi.UserOperator{Email: c.Email, Operator: c.Is == "yes"}, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "account %s operator: %s\n", c.Email, c.Is)
	return err
}

type userRemoveCommand struct {
	connection
	emailArg
}

func (c userRemoveCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	if err := node.call(http.MethodDelete, "users", url.Values{"email": {c.Email}}, nil, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "account %s removed\n", c.Email)
	return err
}

// grantArgs are what a grant is about.
type grantArgs struct {
	Email       string `arg:"" help:"The account's address of mail."`
	Application string `arg:"" help:"The application's id."`
}

// Validate is called by kong.
func (a grantArgs) Validate() error {
	return errors.Join(checkEmail(a.Email), checkID("application", a.Application))
}

type userGrantCommand struct {
	connection
	grantArgs
	Role string `enum:"admin,viewer" default:"viewer" placeholder:"ROLE" help:"viewer (the default) sees the application; admin changes what developers may change, too."`
}

func (c userGrantCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	if err := node.call(http.MethodPut, "grants", nil, adminapi.Grant{Email: c.Email, Application: c.Application, Role: c.Role}, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "application %s granted to %s as %s\n", c.Application, c.Email, c.Role)
	return err
}

type userWithdrawCommand struct {
	connection
	grantArgs
}

func (c userWithdrawCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	if err := node.call(http.MethodDelete, "grants", url.Values{"email": {c.Email}, "application": {c.Application}}, nil, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "application %s withdrawn from %s\n", c.Application, c.Email)
	return err
}

type userGrantsCommand struct {
	connection
	emailArg
}

func (c userGrantsCommand) Run(p *program) error {
	node, err := c.open(p)
	if err != nil {
		return err
	}
	return printGrants(p, node, url.Values{"email": {c.Email}}, "APPLICATION", func(g adminapi.Grant) string { return g.Application })
}
