package portal

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

// plan is a change of the catalog that a form asks for.
type plan struct {
	edit registry.Edit
	next string // the path where to go on when it is done
	// same is what a form is answered that asks for what holds already; nil: it asks for something else. Sent from its preview it asked for something when
	// that was made, and is done by now: Save was pressed twice, or the answer was lost.
	same error
	// takesAway says that the edit takes away something that was there when its preview was made.
	takesAway bool
}

// change does what a form asks for, in two steps: sent first, the form leads to a preview of whom it touches; sent again from there, it is done, unless it would
// change something else, or touch somebody else, by then. A form that cannot be done is shown again. at is the tab that it belongs to.
func (p *Portal) change(v *visit, at string, again func(*visit, *sent) error, read func(do string, form url.Values) (plan, error)) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	asked, err := read(form.Get("do"), form)
	seen := form.Get("seen")
	if err == nil && seen == "" {
		err = asked.same
	}
	if err == nil {
		var edited registry.Edited
		edited, err = p.Operators.Runtime.Edit(v.r.Context(), asked.edit, registry.EditOptions{Actor: v.account.Email, DryRun: seen == "", Expect: seen})
		switch {
		case seen != "" && asked.takesAway && fault.KindOf(err) == fault.NotFound: // it was pressed twice
			err = nil
		case asked.same != nil && isFormError(err): // somebody else added it, and otherwise
			err = asked.same
		case err == nil && seen == "" || errors.Is(err, registry.ErrOvertaken):
			return p.preview(v, at, form, asked.edit, edited)
		}
	}
	if isFormError(err) {
		return again(v, &sent{values: form, err: err})
	}
	if err != nil {
		return err
	}
	if err := p.Operators.Changed(v.r.Context()); err != nil {
		p.Log.Warn("a change of the catalog is kept, and this node could not take it up yet; it goes on trying", "err", err)
		return v.show(http.StatusAccepted, "problem", page{Title: notTakenUp.Heading, Body: notTakenUp})
	}
	http.Redirect(v.w, v.r, asked.next+"?saved", http.StatusSeeOther)
	return nil
}

// gone answers a form that changes an item which the catalog does not have: one that takes it away, and comes from its preview, was sent before.
func (p *Portal) gone(v *visit, page string) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if form.Get("do") != "remove" || form.Get("seen") == "" {
		return errNotFound
	}
	http.Redirect(v.w, v.r, p.operatorPath(page)+"?saved", http.StatusSeeOther)
	return nil
}

// notTakenUp is what is said of a change that was saved, and does not hold on the node yet: its pages may not have what was changed.
var notTakenUp = problem{
	Heading: "Saved, but not in force here yet", Happened: "The change is kept, but this node could not take it up.",
	Advice: "Do not send it again: the node goes on trying, and takes it up by itself. Until then it decides as before. Its log says why.",
}

// errNotOffered is the error of a form that no page has.
var errNotOffered = fault.New(fault.Invalid, "The form asks for something that this page does not do.")

// readCommon returns what the forms ask for that the pages of all kinds of items have.
func (p *Portal) readCommon(page string, noun registry.Noun, id, do string, form url.Values) (plan, error) {
	switch do {
	case "revert":
		return plan{edit: registry.Revert{Noun: noun, ID: id, Field: form.Get("field")}, next: p.itemPath(page, id), takesAway: true}, nil
	case "remove":
		return plan{edit: registry.Remove{Noun: noun, ID: id}, next: p.operatorPath(page), takesAway: true}, nil
	default:
		return plan{}, errNotOffered
	}
}

// previewBody is what the preview of a change is told.
type previewBody struct {
	operating
	Consequences []string // what it means beyond limits
	Again        bool     // it is not what was looked at before
	Hidden       []hidden
	Changes      []changeRow
	Touched      string // how many limits it changes, and of how many applications; empty: none
	Touches      []touchRow
	More         string // how many more it changes; empty: none
	Back         string
	Button       string
	Danger       bool // it takes something away
}

// changeRow is one change in what holds.
type changeRow struct{ Sign, Word, Noun, Name, Field, From, To string }

// touchRow is an application whose limits for an endpoint change.
type touchRow struct {
	Application, Endpoint string
	OfApplication         fromTo
	OfMember              fromTo
}

// fromTo is a limit before and after.
type fromTo struct{ From, To string }

// IsSame reports whether it does not change.
func (f fromTo) IsSame() bool { return f.From == f.To }

func newFromTo(from, to quota.Limit) fromTo { return fromTo{limitWords(from), limitWords(to)} }

// opWords are what happens, as words.
var opWords = map[catalog.Op]string{catalog.Added: "Added", catalog.Changed: "Changed", catalog.Removed: "Removed", catalog.Kept: "Kept"}

const shownTouches = 25 // limits that a preview names

// preview shows what a change would change, and whom it would touch.
func (p *Portal) preview(v *visit, at string, form url.Values, edit registry.Edit, edited registry.Edited) error {
	heading, consequence := p.describe(edit)
	body := previewBody{operating: v.operating(at, heading, nil), Again: form.Has("seen"), Back: p.operatorPath(at)}
	if id := v.r.PathValue("id"); id != "" {
		body.Back = p.itemPath(at, id)
	}
	body.Button = "Save"
	switch e := edit.(type) {
	case registry.Remove:
		body.Button, body.Danger = "Remove", true
	case registry.PutApplication:
		if e.Suspended != nil && *e.Suspended {
			body.Button, body.Danger = "Suspend", true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if name != "seen" {
			body.Hidden = append(body.Hidden, hidden{name, form.Get(name)})
		}
	}
	body.Hidden = append(body.Hidden, hidden{"seen", edited.Digest})
	if consequence != "" {
		body.Consequences = append(body.Consequences, consequence)
	}
	for _, c := range edited.Changes {
		if consequence := consequenceOf(c); consequence != "" && !slices.Contains(body.Consequences, consequence) { // that of match is that of when
			body.Consequences = append(body.Consequences, consequence)
		}
		body.Changes = append(body.Changes, changeRow{string(rune(c.Op)), opWords[c.Op], c.Noun, c.Name, c.Field, orDash(c.From), orDash(c.To)})
	}
	t := edited.Touched
	if t.Limits > 0 {
		body.Touched = "Touches " + count(int64(t.Limits), "limit", "limits") + " of " + count(int64(t.Applications), "application", "applications") + "."
	}
	first := t.First[:min(len(t.First), shownTouches)]
	for _, one := range first {
		body.Touches = append(body.Touches, touchRow{
			one.Application, one.Endpoint, newFromTo(one.Before.Application, one.After.Application), newFromTo(one.Before.Member, one.After.Member),
		})
	}
	if more := t.Limits - len(first); more > 0 {
		body.More = "and " + group(int64(more)) + " more"
	}
	return v.show(http.StatusOK, "operator-preview", page{Title: heading, Body: body})
}

// consequenceOf says what follows from a change of something that is no limit, whatever edit makes it; empty: nothing that its row does not say.
func consequenceOf(c catalog.Change) string {
	if c.Op != catalog.Changed {
		return ""
	}
	switch c.Noun + " " + c.Field {
	case "endpoint cost":
		return "Each request to " + c.Name + " costs " + grouped(c.To) + " from then on, instead of " + grouped(c.From) + ", whichever application and member makes it. What is used stays as it is."
	case "endpoint shadow":
		if c.To == "true" {
			return "In shadow mode nobody is refused for " + c.Name + ": what a limit would refuse is let pass, uncharged, and counted as refused."
		}
		return "Limits refuse calls to " + c.Name + " again, also those limits that are reached by now."
	case "endpoint match", "endpoint when":
		return "Requests that " + c.Name + " matches from then on are counted under it, and those that it no longer matches under the endpoint that matches next, in the end the catch-all. What is used stays as it is."
	case "application shadow":
		if c.To == "true" {
			return "It is refused nothing: what a limit would refuse is let pass, uncharged, and counted as refused."
		}
		return "Its limits refuse calls again, also those that are reached by now."
	case "application suspended":
		if c.To == "true" {
			return "Every call of the application is answered 403 until it is resumed. What it has used stays as it is."
		}
		return "Its calls are admitted again, within its limits."
	default:
		return ""
	}
}

// describe says what an edit does, and what follows from it besides what follows from its changes.
func (p *Portal) describe(edit registry.Edit) (heading, consequence string) {
	s := p.Catalog()
	switch e := edit.(type) {
	case registry.PutApplication:
		app, known := s.Application(e.ID)
		switch {
		case !known:
			return "Add application " + e.ID, ""
		case e.Suspended != nil && *e.Suspended:
			return "Suspend " + displayName(app), ""
		case e.Suspended != nil:
			return "Resume " + displayName(app), ""
		case e.Shadow != nil && *e.Shadow:
			return "Turn shadow mode on for " + displayName(app), ""
		case e.Shadow != nil:
			return "Turn shadow mode off for " + displayName(app), ""
		default:
			return "Change " + displayName(app), ""
		}
	case registry.PutEndpoint:
		if _, known := s.Endpoint(e.ID); !known {
			return "Add endpoint " + e.ID, "Calls that match it are counted under it from then on, and no longer under the endpoint that matched them before."
		}
		return "Change endpoint " + e.ID, ""
	case registry.PutTier:
		if _, known := s.Tier(e.Name); !known {
			return "Add tier " + e.Name, ""
		}
		return "Change tier " + e.Name, ""
	case registry.PutOverride:
		return "Set an override of " + e.Application, ""
	case registry.ClearOverride:
		return "Clear an override of " + e.Application, "What the file, its tier or the endpoint says holds again."
	case registry.Revert:
		return "Take back what was set of " + string(e.Noun) + " " + e.ID, "What lies under it holds again: the file's, or what it was added with."
	case registry.Remove:
		return "Remove " + string(e.Noun) + " " + e.ID, removals[e.Noun]
	default:
		return "Change the catalog", ""
	}
}

// removals say what follows from removing an item, by its kind.
var removals = map[registry.Noun]string{
	registry.Application: "Its tokens are revoked, and its overrides, grants and alert settings go, unless the catalog's file has it too. That cannot be undone.",
	registry.Endpoint:    "What it matched is counted under the endpoint that matches next, in the end the catch-all. Overrides for it go, unless the catalog's file has it too.",
	registry.Tier:        "What was set of it goes, unless the catalog's file has it too.",
}
