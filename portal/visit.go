package portal

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/registry"
)

// visit is a request, and who makes it.
type visit struct {
	portal *Portal
	w      http.ResponseWriter
	r      *http.Request
	to     route

	session *registry.Hash       // nil: none runs
	account *registry.Account    // nil: nobody is signed in
	app     *catalog.Application // nil: the path names none
	role    registry.Role        // what the account is of app
}

// errSignIn is the error of somebody who has to sign in first.
var errSignIn = fault.New(fault.Unauthorized, "Sign in first.")

var errCrossOrigin = fault.New(fault.Forbidden, "The form was sent from another web site, or by a browser that does not say from where. Nothing was done.")

// serve answers the request, or returns why it cannot be answered.
func (v *visit) serve() (err error) {
	var id string
	if v.to, id, err = v.portal.route(v.r); err != nil {
		return err
	}
	if v.portal.crossOrigin.Check(v.r) != nil {
		return errCrossOrigin
	}
	if err := v.enter(id); err != nil {
		return err
	}
	return v.to.serve(v.portal, v)
}

// enter finds out who asks, and whether they may.
func (v *visit) enter(id string) error {
	to := v.to
	v.r.SetPathValue("id", id)
	if to.path == "/static/{id}" || to.path == "/v1/usage" { // nobody's session matters there
		return nil
	}
	if err := v.identify(); err != nil || to.needs == anybody {
		return err
	}
	if v.account == nil {
		return errSignIn
	}
	if to.needs == mayOperate && !v.account.Operator {
		return errNotFound
	}
	if to.needs != mayView && to.needs != mayChange {
		return nil
	}
	app, known := v.portal.Catalog().Application(id)
	if !known {
		return errNotFound
	}
	role, err := v.portal.role(v.r.Context(), v.account, id)
	if err != nil {
		return err
	}
	v.app, v.role = app, role
	switch {
	case role == "":
		return errNotFound
	case to.needs == mayChange && role != registry.Admin:
		return fault.New(fault.Forbidden, "Your account may look at this application, and not change it.")
	case to.needs == mayChange && to.method == http.MethodPost:
		return v.keepPace()
	default:
		return nil
	}
}

// redirect sends the browser on to another page of the portal, by GET.
func (v *visit) redirect(path string) {
	http.Redirect(v.w, v.r, v.portal.path(path), http.StatusSeeOther)
}

// fail answers an error.
func (v *visit) fail(err error) {
	status := answer.Status(fault.KindOf(err))
	message := fault.Message(err)
	if methods, ok := errors.AsType[methodError](err); ok {
		v.w.Header().Set("Allow", join(methods.methods()))
		status, message = http.StatusMethodNotAllowed, "This page cannot be asked for by "+v.r.Method+"."
	}
	if errors.Is(err, errTooLong) {
		status = http.StatusRequestEntityTooLarge
	}
	v.sayWait(err)
	if status == http.StatusInternalServerError || status == http.StatusServiceUnavailable {
		if v.r.Context().Err() != nil {
			return // whoever asked is gone, and what was waited for gave up
		}
		v.portal.Log.Error("a page could not be made", "page", v.to.path, "err", err)
	}
	switch {
	case v.to.plain && status == http.StatusMethodNotAllowed:
		status, body := answer.Problem(v.w.Header(), nil, status, message)
		answer.Send(v.w, status, body)
	case v.to.plain:
		status, body := answer.Fault(v.w.Header(), nil, err)
		answer.Send(v.w, status, body)
	case status == http.StatusUnauthorized:
		v.redirect("/signin" + v.next())
	default:
		v.problem(status, message)
	}
}

// sayWait tells programs when to try again, where an error says that.
func (v *visit) sayWait(err error) {
	if wait, ok := errors.AsType[identity.Wait](err); ok {
		v.w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(time.Duration(wait).Seconds()))))
	}
}

// next returns the query with which the page of signing in goes on to the one that was asked for.
func (v *visit) next() string {
	if v.r.Method != http.MethodGet {
		return ""
	}
	asked := v.portal.stripped(v.r.URL.RequestURI())
	if asked == "/" || asked == "/apps" { // it goes there anyway
		return ""
	}
	return "?" + url.Values{"next": {v.portal.path(asked)}}.Encode()
}
