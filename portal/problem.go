package portal

import "net/http"

// problem is what the page of an error says.
type problem struct {
	Heading  string
	Happened string
	Advice   string
}

// advice says, by status, what the page of an error is headed by, and what to do.
var advice = map[int]struct{ heading, text string }{
	http.StatusBadRequest: {"Not understood", "Go back, and try again."},
	http.StatusForbidden:  {"Not allowed", "Go back, and reload the page before you try again. If it is a right that you miss, ask an admin of the application, or whoever runs this API."},
	http.StatusNotFound: {"Not found", "Check the address. If it is an application that you should see, ask one of its admins, or whoever runs this API, " +
		"to grant it to your account."},
	http.StatusRequestEntityTooLarge: {"Too long", "Go back, and fill less in."},
	http.StatusConflict:              {"Not possible", "Go back, and reload the page: something may have changed."},
	http.StatusMethodNotAllowed:      {"Not taken", "Follow a link or send a form of the portal instead."},
	http.StatusTooManyRequests:       {"Too much at once", "Try again later."},
	http.StatusInternalServerError:   {"Something broke", "It was written to the log of this node. Try again; if it stays, tell whoever runs this API."},
	http.StatusServiceUnavailable:    {"Not now", "Nothing is lost. Try again in a minute; if it stays, tell whoever runs this API."},
}

// problem answers with the page of an error.
func (v *visit) problem(status int, happened string) {
	a, known := advice[status]
	if !known {
		a = advice[http.StatusInternalServerError]
	}
	if err := v.show(status, "problem", page{Title: a.heading, Body: problem{a.heading, happened, a.text}}); err != nil {
		v.portal.Log.Error("the page of an error could not be made", "err", err)
		http.Error(v.w, happened, status)
	}
}
