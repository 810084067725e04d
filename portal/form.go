package portal

import (
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// field is one of a form's: what it holds, and what is wrong with that.
type field struct {
	Value   string
	Problem string // empty: nothing
}

// fieldProblem is what is wrong with a field, for the page.
type fieldProblem struct{ ID, Problem string }

// For returns what is wrong with the field, which has an id on the page.
func (f field) For(id string) fieldProblem { return fieldProblem{id, f.Problem} }

// form returns the fields that were sent, once each.
func (v *visit) form() (url.Values, error) {
	if err := v.r.ParseForm(); err != nil {
		return nil, fault.New(fault.Invalid, "The form could not be read.")
	}
	return v.r.PostForm, nil
}

// wrong returns, as a sentence beside a field, why what it holds was not taken; empty where err is none of the reader's making, or nil.
func wrong(err error) string {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.Conflict:
		return sentence(fault.Message(err))
	default:
		return ""
	}
}

// sentence returns a message that begins with a capital letter and ends with a full stop.
func sentence(message string) string {
	first, size := utf8.DecodeRuneInString(message)
	message = string(unicode.ToUpper(first)) + message[size:]
	if !strings.HasSuffix(message, ".") {
		message += "."
	}
	return message
}

// onward sends the browser on to a tab of the application after a form was taken; done is what the tab then says, by its name.
func (v *visit) onward(page, name, done string) {
	http.Redirect(v.w, v.r, v.portal.applicationPath(v.app.ID, page)+"?"+url.Values{name: {done}}.Encode(), http.StatusSeeOther)
}

// question is asked before something that cannot be undone, or not by whoever does it.
type question struct {
	App     application
	Heading string
	Text    string
	Asked   string      // the page of the application that the form goes to
	Fields  [][2]string // what it sends, besides that it is meant
	Button  string
	Back    string // the path that leads back
}

// isSure reports whether the question was asked already, and answered.
func isSure(form url.Values) bool { return form.Get("sure") == "yes" }

// ask asks a question on behalf of a tab.
func (v *visit) ask(tab string, q question) error {
	q.App, q.Back, q.Asked = v.application(tab), v.portal.applicationPath(v.app.ID, tab), v.portal.applicationPath(v.app.ID, q.Asked)
	return v.show(http.StatusOK, "confirm", page{Title: q.Heading + " · " + displayName(v.app), Body: q})
}

// mayChange reports whether the account may change the application.
func (v *visit) mayChange() bool { return v.role == registry.Admin }
