package portal

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/perdiem/perdiem/fault"
)

// form is a form of a page, which is sent to the page itself.
type form struct {
	Do      string // what the page is asked to do
	Button  string
	Problem string // what is wrong with it as a whole; empty: nothing
	Fields  []entry
	Across  bool // they stand side by side where there is room
}

// entry is a field of a form.
type entry struct {
	ID, Name, Label string
	Help            string
	Value           string
	Problem         string // what is wrong with the value; empty: nothing
	Type            string // as of an input; empty: text
	Required        bool
	Most            int      // characters, at most; 0: a hundred
	Options         []choice // where there are any, one of them is chosen
	Hints           []string // what may be meant
	Lines           bool     // it has several lines
	Checked         bool     // of a box that is ticked or not
}

type choice struct {
	Value, Label string
	Selected     bool
}

// choices returns options by their values and labels, of which one is selected.
func choices(selected string, pairs ...[2]string) []choice {
	all := make([]choice, len(pairs))
	for i, p := range pairs {
		all[i] = choice{p[0], p[1], p[0] == selected}
	}
	return all
}

// fieldError is what is wrong with one field of a form.
type fieldError struct {
	field string
	error
}

func (e fieldError) Unwrap() error { return e.error }

// misfilled returns the error of a field that is not filled in as it has to be.
func misfilled(field, format string, args ...any) error {
	return fieldError{field, fault.New(fault.Invalid, format, args...)}
}

// sent is a form that was sent and could not be done: the page shows it again as it was filled in, and what is wrong. nil: none was sent.
type sent struct {
	values url.Values
	err    error
	shown  bool // what is wrong is shown by one of the page's forms
}

// readForm returns the form that was sent.
func (v *visit) readForm() (url.Values, error) {
	if err := v.r.ParseForm(); err != nil {
		return nil, fault.New(fault.Invalid, "The form could not be read.")
	}
	return v.r.PostForm, nil
}

// isFormError reports whether an error is of what somebody has filled in: the page then shows it.
func isFormError(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.Conflict:
		return true
	default:
		return false
	}
}

// form returns a form, filled in as it was sent where it is the one that was.
func (s *sent) form(do, button string, fields ...entry) form {
	f := form{Do: do, Button: button, Fields: fields}
	isSent := s != nil && s.values.Get("do") == do
	var at fieldError
	if isSent {
		s.shown = true
		if !errors.As(s.err, &at) {
			f.Problem = fault.Message(s.err)
		}
	}
	for i := range f.Fields {
		one := &f.Fields[i]
		one.ID = do + "-" + one.Name
		if isSent {
			one.fill(s.values)
			if one.Name == at.field {
				one.Problem = fault.Message(s.err)
			}
		}
	}
	return f
}

// fill fills a field in as it was sent. A password is typed again.
func (f *entry) fill(values url.Values) {
	switch f.Type {
	case "password":
	case "checkbox":
		f.Checked = values.Has(f.Name)
	default:
		f.Value = values.Get(f.Name)
		for i := range f.Options {
			f.Options[i].Selected = f.Options[i].Value == f.Value
		}
	}
}

// problem returns what is wrong, as long as no form of the page shows it.
func (s *sent) problem() string {
	if s == nil || s.shown {
		return ""
	}
	return fault.Message(s.err)
}

// status returns the status of the page that shows it.
func (s *sent) status() int {
	switch {
	case s == nil:
		return http.StatusOK
	case fault.KindOf(s.err) == fault.Conflict:
		return http.StatusConflict
	default:
		return http.StatusBadRequest
	}
}

// across has the fields stand side by side.
func (f form) across() form {
	f.Across = true
	return f
}
