package portal

import (
	"net/url"
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
	Form      form
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
func (p *Portal) team(v *visit) error { return p.showTeam(v, nil) }

func (p *Portal) showTeam(v *visit, s *sent) error {
	grants, err := p.Accounts.Team(v.r.Context(), v.app.ID)
	if err != nil {
		return err
	}
	body := teamBody{
		App: v.application("team"), MayChange: v.mayChange(), Done: teamDone[v.r.URL.Query().Get("done")],
		Withdraw: p.applicationPath(v.app.ID, "team/withdraw"),
		Form: s.form(form{Action: p.applicationPath(v.app.ID, "team"), Button: "Grant", Fields: []field{
			{Name: "email", Label: "Email address of an account", Help: "Whoever runs this API adds accounts. An account that has a role already gets the new one.", Type: "email", Required: true, Most: 254},
			{Name: "role", Label: "Role", Options: choices(string(registry.Viewer), [2]string{string(registry.Viewer), "Viewer: sees it"}, [2]string{string(registry.Admin), "Admin: changes it, too"})},
		}}),
	}
	for _, g := range grants {
		mate := teammate{Grant: g, You: g.Email == v.account.Email, Other: registry.Admin}
		if g.Role == registry.Admin {
			mate.Other = registry.Viewer
		}
		body.Rows = append(body.Rows, mate)
	}
	return v.show(s.status(), "team", page{Title: "Team · " + displayName(v.app), Body: body})
}

// grant lets an account see the application, or changes its role.
func (p *Portal) grant(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	g, err := p.readGrant(v, form)
	if err != nil {
		return p.showTeam(v, &sent{values: form, err: err})
	}
	if g.Role != registry.Admin && !isSure(form) {
		left, err := p.adminsWithout(v, g.Email)
		if err != nil {
			return err
		}
		if text := p.farewell(v, g.Email, left, "change what developers may change"); text != "" {
			return v.ask("team", question{
				Heading: "Make " + g.Email + " a viewer?", Text: text, Asked: "team", Hidden: []hidden{{"email", g.Email}, {"role", string(g.Role)}}, Button: "Make " + g.Email + " a viewer",
			})
		}
	}
	err = p.Accounts.Grant(v.r.Context(), g, v.account.Email)
	switch fault.KindOf(err) {
	case fault.NotFound: // the application was found a moment ago
		err = misfilled("email", "There is no account of this address. Whoever runs this API has to add it first; then it can be granted here.")
	case fault.Conflict:
		err = fieldErrors{"email": err}
	}
	if isFormError(err) {
		return p.showTeam(v, &sent{values: form, err: err})
	}
	if err != nil {
		return err
	}
	v.onward("team", "done", "granted")
	return nil
}

// readGrant returns what the form grants.
func (p *Portal) readGrant(v *visit, form url.Values) (g registry.Grant, err error) {
	wrong := fieldErrors{}
	g = registry.Grant{Application: v.app.ID, Role: registry.Role(form.Get("role"))}
	if g.Email, err = registry.ParseEmail(form.Get("email")); err != nil {
		wrong.add("email", err)
	}
	if g.Role != registry.Viewer && g.Role != registry.Admin {
		wrong.add("role", fault.New(fault.Invalid, "Choose a role."))
	}
	return g, wrong.err()
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
				Heading: "Withdraw this application from " + email + "?", Text: text, Asked: "team/withdraw", Hidden: []hidden{{"email", email}}, Button: "Withdraw from " + email,
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
