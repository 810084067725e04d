package portal

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/netaddr"
)

// signInPage is what the page of signing in is told.
type signInPage struct {
	Email     string
	Next      string // where to go on to; empty: the list of applications
	Issuer    string // where one can sign in, too; empty: there is none
	Problem   string
	Insecure  string
	SignedOut bool
}

// signInForm shows the page of signing in. Somebody who is signed in goes on.
func (p *Portal) signInForm(v *visit) error {
	query := v.r.URL.Query()
	next := p.inside(query.Get("next"))
	if v.account != nil {
		p.goOn(v, next)
		return nil
	}
	return v.showSignIn(http.StatusOK, signInPage{Next: next, SignedOut: query.Has("out")})
}

func (v *visit) showSignIn(status int, with signInPage) error {
	if v.isSecure() && v.isPlain() {
		with.Insecure = "This connection is not encrypted, and your browser will not keep you signed in over it. Open " + v.portal.URL.String() + " instead."
		if v.portal.URLUntold { // a proxy may speak TLS
			with.Insecure = "Unless the address of this page begins with https, the connection is not encrypted, and your browser will not keep you signed in over it. Ask whoever runs this API for the address to open instead."
		}
	}
	if v.portal.OIDC != nil {
		with.Issuer = v.portal.OIDC.Label()
	}
	return v.show(status, "signin", page{Title: "Sign in", Body: with})
}

// isPlain reports whether the request came without TLS, as far as can be known, from another machine.
func (v *visit) isPlain() bool {
	if v.r.TLS != nil || v.portal.URL.Scheme == "https" {
		return false
	}
	return !v.isAtLoopback()
}

// isAtLoopback reports whether the request is to a name by which this machine alone finds itself.
func (v *visit) isAtLoopback() bool { return netaddr.IsLoopback((&url.URL{Host: v.r.Host}).Hostname()) }

// isSecure reports whether cookies are for TLS alone: unless nobody but this machine can read along.
func (v *visit) isSecure() bool {
	switch u := v.portal.URL; {
	case u.Scheme == "https":
		return true
	case v.portal.URLUntold:
		return !v.isAtLoopback()
	default:
		return !netaddr.IsLoopback(u.Hostname())
	}
}

// signIn signs somebody in.
func (p *Portal) signIn(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	email, next := form.Get("email"), p.inside(form.Get("next"))
	from := identity.From{Address: p.From(v.r)}
	if cookie, err := v.r.Cookie(v.cookieName(markCookie)); err == nil {
		from.Mark = cookie.Value
	}
	found, err := p.SignIn(v.r.Context(), email, form.Get("password"), from)
	if err == nil {
		if err = v.signedIn(found); err == nil {
			v.keepCookie(markCookie, p.Mark(found.Email), int(markAge/time.Second))
			p.goOn(v, next)
			return nil
		}
	}
	again := signInPage{Email: email, Next: next, Problem: fault.Message(err)}
	switch fault.KindOf(err) {
	case fault.Unauthorized, fault.Invalid, fault.Conflict:
		return v.showSignIn(http.StatusForbidden, again)
	case fault.Exhausted:
		v.sayWait(err)
		return v.showSignIn(http.StatusTooManyRequests, again)
	default:
		return err
	}
}

// markCookie is the cookie by which a browser is known again from which somebody has signed in by a password.
const (
	markCookie = "perdiem-browser"
	markAge    = 365 * 24 * time.Hour
)

// cookieName returns the whole name of a cookie; with TLS no other host and no page without it can set that.
func (v *visit) cookieName(name string) string {
	if v.isSecure() {
		return "__Host-" + name
	}
	return name
}

// keepCookie has the browser keep a cookie for some seconds; a negative age has it forget. It also comes along when another site leads here, as an issuer does.
func (v *visit) keepCookie(name, value string, age int) {
	http.SetCookie(v.w, &http.Cookie{
		Name: v.cookieName(name), Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: v.isSecure(), SameSite: http.SameSiteLaxMode,
	})
}

// signOut signs somebody out. Whoever is not signed in has the registry write nothing.
func (p *Portal) signOut(v *visit) error {
	if v.session != nil {
		if err := v.signedOut(); err != nil {
			return err
		}
	}
	v.redirect("/signin?out")
	return nil
}

// goOn sends the browser on after signing in.
func (p *Portal) goOn(v *visit, next string) {
	if next == "" {
		next = p.path("/apps")
	}
	http.Redirect(v.w, v.r, next, http.StatusSeeOther)
}

// inside returns where to go on to, unless that is not a path of this portal: then nothing.
func (p *Portal) inside(next string) string {
	if len(next) > 2048 || !strings.HasPrefix(next, p.base+"/") || strings.HasPrefix(next, "//") {
		return ""
	}
	for _, c := range []byte(next) {
		if c <= ' ' || c == '\\' || c >= 0x7f { // browsers drop some of them, and take a backslash for a slash
			return ""
		}
	}
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil {
		return ""
	}
	for part := range strings.SplitSeq(strings.ToLower(u.EscapedPath()), "/") {
		if part = strings.ReplaceAll(part, "%2e", "."); part == "." || part == ".." { // out of the portal's path
			return ""
		}
	}
	return next
}
