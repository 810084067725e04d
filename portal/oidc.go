package portal

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/perdiem/perdiem/answer"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
)

// OIDCCallback is the path, below the portal's own, to which the issuer sends browsers back.
const OIDCCallback = "/signin/callback"

const (
	attemptCookie = "perdiem-signin"
	attemptTime   = 600 // seconds that somebody may take at the issuer
)

// attempt is a sign-in at the issuer that is under way. The browser keeps it, so that nobody else's answer to it passes, and the portal nothing.
type attempt struct {
	secret string
	next   string // where to go on to; empty: the list of applications
}

// beginOIDC sends somebody to the issuer.
func (p *Portal) beginOIDC(v *visit) error {
	if p.OIDC == nil {
		return errNotFound
	}
	a := attempt{secret: rand.Text(), next: p.inside(v.r.URL.Query().Get("next"))}
	if v.account != nil {
		p.goOn(v, a.next)
		return nil
	}
	address, err := p.OIDC.Begin(v.r.Context(), a.secret, p.From(v.r))
	if err != nil {
		return v.failOIDC(a, err)
	}
	v.keepCookie(attemptCookie, a.secret+"."+base64.RawURLEncoding.EncodeToString([]byte(a.next)), attemptTime)
	http.Redirect(v.w, v.r, address, http.StatusSeeOther)
	return nil
}

// finishOIDC signs somebody in who comes back from the issuer.
func (p *Portal) finishOIDC(v *visit) error {
	if p.OIDC == nil {
		return errNotFound
	}
	a := v.attempt()
	query, err := url.ParseQuery(v.r.URL.RawQuery)
	if err != nil {
		return fault.New(fault.Invalid, "The address could not be read.")
	}
	account, err := p.OIDC.Finish(v.r.Context(), a.secret, query, p.From(v.r))
	if errors.Is(err, identity.ErrNotBegun) { // the attempt, if there is one, waits for another answer
		if v.account != nil { // by another tab
			p.goOn(v, "")
			return nil
		}
		return v.failOIDC(a, err)
	}
	if fault.KindOf(err) != fault.Exhausted { // an answer is good once; this one was not looked at, and may be brought again
		v.keepCookie(attemptCookie, "", -1)
	}
	if err == nil {
		err = v.signedIn(account)
	}
	if err != nil {
		return v.failOIDC(a, err)
	}
	p.goOn(v, a.next)
	return nil
}

// failOIDC shows the page of signing in again, with what went wrong: those who have a password can go on by that.
func (v *visit) failOIDC(a attempt, err error) error {
	status := answer.Status(fault.KindOf(err))
	switch status {
	case http.StatusInternalServerError:
		return err
	case http.StatusUnauthorized, http.StatusConflict:
		status = http.StatusForbidden
	}
	v.sayWait(err)
	return v.showSignIn(status, signInPage{Next: a.next, Problem: fault.Message(err)})
}

// attempt returns the one that the browser keeps; the zero attempt where it keeps none.
func (v *visit) attempt() attempt {
	cookie, err := v.r.Cookie(v.cookieName(attemptCookie))
	if err != nil {
		return attempt{}
	}
	secret, text, _ := strings.Cut(cookie.Value, ".")
	next, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || secret == "" {
		return attempt{}
	}
	return attempt{secret: secret, next: v.portal.inside(string(next))}
}
