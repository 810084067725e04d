package portal

import (
	"cmp"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// form is a form of a page.
type form struct {
	Action  string // the path that it is sent to; empty: the page's own
	Do      string // which of the forms that go there it is; empty: the only one
	Button  string
	Note    string // what is said below the button; empty: nothing
	Problem string // what is wrong with it as a whole; empty: nothing
	Hidden  []hidden
	Fields  []field
	Across  bool // they stand side by side where there is room
}

// field is a field of a form.
type field struct {
	ID          string // on the page; empty: made of the form's Do and the name
	Name, Label string
	Help        string
	Value       string
	Problem     string // what is wrong with the value; empty: nothing
	Type        string // as of an input; empty: text
	Placeholder string
	Required    bool
	Most        int      // characters, at most; 0: a hundred
	Options     []choice // where there are any, one of them is chosen
	Hints       []string // what may be meant
	Lines       bool     // it has several lines
	Checked     bool     // of a box that is ticked or not
}

const maxHints = 200 // that a field has

// hints returns the first names of those that are offered.
func hints[T any](all []T, named func(T) (name string, offered bool)) (names []string) {
	for _, one := range all {
		if name, offered := named(one); offered {
			if names = append(names, name); len(names) == maxHints {
				break
			}
		}
	}
	return names
}

// DescribedBy returns the ids of what is said about the field.
func (f field) DescribedBy() string {
	var ids []string
	if f.Problem != "" {
		ids = append(ids, f.ID+"-problem")
	}
	if f.Help != "" {
		ids = append(ids, f.ID+"-help")
	}
	return strings.Join(ids, " ")
}

// hidden is what a form sends besides what people fill in.
type hidden struct{ Name, Value string }

// choice is one of those that a field offers.
type choice struct {
	Value, Label string
	Selected     bool
}

// choices returns those of a field by their values and labels, of which one is selected.
func choices(selected string, pairs ...[2]string) []choice {
	all := make([]choice, len(pairs))
	for i, p := range pairs {
		all[i] = choice{p[0], p[1], p[0] == selected}
	}
	return all
}

// errTooLong is the error of a form with more than maxBody bytes.
var errTooLong = fault.New(fault.Invalid, "The form is longer than the portal takes. Nothing was done.")

// form returns what was sent in the body of the request.
func (v *visit) form() (url.Values, error) {
	err := v.r.ParseForm()
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return nil, errTooLong
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "The form could not be read.")
	}
	return v.r.PostForm, nil
}

// fieldErrors are what is wrong with fields of a form, by their names.
type fieldErrors map[string]error

func (e fieldErrors) Error() string { return errors.Join(e.Unwrap()...).Error() }

func (e fieldErrors) Unwrap() []error {
	all := make([]error, 0, len(e))
	for _, name := range slices.Sorted(maps.Keys(e)) {
		all = append(all, e[name])
	}
	return all
}

// add notes what is wrong with a field, if anything is.
func (e fieldErrors) add(name string, err error) {
	if err != nil {
		e[name] = err
	}
}

// err returns itself where anything is wrong.
func (e fieldErrors) err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// misfilled returns the error of a field that is not filled in as it has to be.
func misfilled(name, format string, args ...any) error {
	return fieldErrors{name: fault.New(fault.Invalid, format, args...)}
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

// sent is a form that was sent and could not be done: the page shows it again as it was filled in, and what is wrong. nil: none was sent.
type sent struct {
	values url.Values
	err    error
	shown  bool // what is wrong is shown by one of the page's forms
}

// form returns a form, filled in as it was sent where it is the one that was.
func (s *sent) form(f form) form {
	isSent := s != nil && s.values.Get("do") == f.Do
	var wrong fieldErrors
	if isSent {
		s.shown = true
		if !errors.As(s.err, &wrong) {
			f.Problem = sentence(fault.Message(s.err))
		}
	}
	for i := range f.Fields {
		one := &f.Fields[i]
		one.ID = cmp.Or(one.ID, strings.TrimPrefix(f.Do+"-"+one.Name, "-"))
		if isSent {
			one.fill(s.values)
			if err := wrong[one.Name]; err != nil {
				one.Problem = sentence(fault.Message(err))
			}
		}
	}
	return f
}

// fill fills a field in as it was sent. A password is typed again.
func (f *field) fill(values url.Values) {
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
	return sentence(fault.Message(s.err))
}

// status returns the status of the page that shows it.
func (s *sent) status() int {
	if s == nil {
		return http.StatusOK
	}
	switch kind := fault.KindOf(s.err); kind {
	case fault.Invalid, fault.NotFound:
		return http.StatusUnprocessableEntity
	default:
		return answer.Status(kind)
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
	App       *application // nil: it is an operator who is asked
	Operating operating
	Heading   string
	Text      string
	Asked     string   // the page that the form goes to: of the application, or of operators
	Hidden    []hidden // what it sends, besides that it is meant
	Button    string
	Back      string // the path that leads back
}

// isSure reports whether the question was asked already, and answered.
func isSure(form url.Values) bool { return form.Get("sure") == "yes" }

// ask asks a question on behalf of a tab.
func (v *visit) ask(tab string, q question) error {
	app := v.application(tab)
	q.App, q.Back, q.Asked = &app, v.portal.applicationPath(v.app.ID, tab), v.portal.applicationPath(v.app.ID, q.Asked)
	return v.show(http.StatusOK, "confirm", page{Title: q.Heading + " · " + displayName(v.app), Body: q})
}

// mayChange reports whether the account may change the application.
func (v *visit) mayChange() bool { return v.role == registry.Admin }
