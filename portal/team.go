package portal

import (
	"net/http"
	"slices"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// teamBody is what the tab Team is told.
type teamBody struct {
	App       application
	MayChange bool
	Done      string
	Rows      []teammate
	Email     field
	Role      field
	Withdraw  string // the path of withdrawing
}

// teammate is somebody who may see the application.
type teammate struct {
	registry.Grant
	You   bool
	Other registry.Role // that they could have instead
}

// teamDone says what was done, by the name in the query.
var teamDone = map[string]string{
	"granted":   "Saved. It holds from now on.",
	"withdrawn": "Withdrawn. It is no longer among the applications that they see.",
}

// team shows the tab Team: to whom the application is granted.
func (p *Portal) team(v *visit) error {
	return p.showTeam(v, http.StatusOK, field{}, field{Value: string(registry.Viewer)})
}

func (p *Portal) showTeam(v *visit, status int, email, role field) error {
	grants, err := p.Accounts.Team(v.r.Context(), v.app.ID)
	if err != nil {
		return err
	}
	body := teamBody{
		App: v.application("team"), MayChange: v.mayChange(), Done: teamDone[v.r.URL.Query().Get("done")], Email: email, Role: role,
		Withdraw: p.applicationPath(v.app.ID, "team/withdraw"),
	}
	for _, g := range grants {
		mate := teammate{Grant: g, You: g.Email == v.account.Email, Other: registry.Admin}
		if g.Role == registry.Admin {
			mate.Other = registry.Viewer
		}
		body.Rows = append(body.Rows, mate)
	}
	return v.show(status, "team", page{Title: "Team · " + displayName(v.app), Body: body})
}

// grant lets an account see the application, or changes its role.
func (p *Portal) grant(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	email, role := field{Value: form.Get("email")}, field{Value: form.Get("role")}
	g := registry.Grant{Application: v.app.ID, Role: registry.Role(role.Value)}
	if g.Email, err = registry.ParseEmail(email.Value); err != nil {
		email.Problem = "Give an address such as ann@example.com: ASCII, at most 254 bytes, without white space, quotes and comments."
	}
	if g.Validate() != nil {
		role.Problem = "Choose a role."
	}
	if email.Problem != "" || role.Problem != "" {
		return p.showTeam(v, http.StatusUnprocessableEntity, email, role)
	}
	if g.Role != registry.Admin && !isSure(form) {
		left, err := p.adminsWithout(v, g.Email)
		if err != nil {
			return err
		}
		if text := p.farewell(v, g.Email, left, "change what developers may change"); text != "" {
			return v.ask("team", question{
				Heading: "Make " + g.Email + " a viewer?", Text: text, Asked: "team", Fields: [][2]string{{"email", g.Email}, {"role", string(g.Role)}}, Button: "Make " + g.Email + " a viewer",
			})
		}
	}
	switch err := p.Accounts.Grant(v.r.Context(), g, v.account.Email); fault.KindOf(err) {
	case fault.NotFound: // the application was found a moment ago
		email.Problem = "There is no account of this address. Whoever runs this API has to add it first; then it can be granted here."
		return p.showTeam(v, http.StatusUnprocessableEntity, email, role)
	case fault.Conflict:
		email.Problem = wrong(err)
		return p.showTeam(v, http.StatusUnprocessableEntity, email, role)
	default:
		if err != nil {
			return err
		}
	}
	v.onward("team", "done", "granted")
	return nil
}

// withdraw takes a grant back. One that is gone already is as good as withdrawn.
func (p *Portal) withdraw(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	email, err := registry.ParseEmail(form.Get("email"))
	if err != nil {
		return fault.New(fault.Invalid, "The form names no account.")
	}
	if !isSure(form) {
		left, err := p.adminsWithout(v, email)
		if err != nil {
			return err
		}
		if text := p.farewell(v, email, left, "see this application"); text != "" {
			return v.ask("team", question{
				Heading: "Withdraw this application from " + email + "?", Text: text, Asked: "team/withdraw", Fields: [][2]string{{"email", email}}, Button: "Withdraw from " + email,
			})
		}
	}
	if err := p.Accounts.Withdraw(v.r.Context(), email, v.app.ID, v.account.Email); err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if email == v.account.Email && !v.account.Operator {
		v.redirect("/apps")
		return nil
	}
	v.onward("team", "done", "withdrawn")
	return nil
}

// adminsWithout returns whether the team has an admin besides somebody; true where they are none themselves, since nothing is lost then.
func (p *Portal) adminsWithout(v *visit, email string) (bool, error) {
	team, err := p.Accounts.Team(v.r.Context(), v.app.ID)
	if err != nil {
		return false, err
	}
	isAdmin := func(g registry.Grant) bool { return g.Role == registry.Admin }
	if !slices.ContainsFunc(team, func(g registry.Grant) bool { return g.Email == email && isAdmin(g) }) {
		return true, nil
	}
	return slices.ContainsFunc(team, func(g registry.Grant) bool { return g.Email != email && isAdmin(g) }), nil
}

// farewell returns what somebody is to be told before an admin goes; empty where it needs no question, since an admin can undo it.
func (p *Portal) farewell(v *visit, email string, left bool, can string) string {
	you := email == v.account.Email && !v.account.Operator
	switch {
	case !left:
		return email + " is the only admin of this application. Without one, nobody of its team can issue tokens, change alerts or grant it to others, until whoever runs this API names another."
	case you:
		return "That is your own account: you will no longer " + can + ", until another admin grants it again."
	default:
		return ""
	}
}
