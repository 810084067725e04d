package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/perdiem/perdiem/fault"
)

// need is what somebody has to be to be served.
type need uint8

const (
	anybody    need = iota // whoever asks
	signedIn               // somebody who is signed in
	mayView                // and may see the application that the path names
	mayChange              // and may change it
	mayOperate             // and may do everything
)

// route is one thing that can be asked for.
type route struct {
	method string // GET stands for HEAD, too
	path   string // of segments; {id} is an application's, or what else the page is of
	needs  need
	plain  bool // it is for programs: errors are no pages
	serve  func(*Portal, *visit) error

	parts []string // of path
}

// routes are all that there is. It is a func, since handlers refer to it.
func routes() []route {
	all := []route{
		{"GET", "/", anybody, false, (*Portal).root, nil},
		{"GET", "/static/{id}", anybody, false, (*Portal).static, nil},
		{"GET", "/v1/usage", anybody, true, (*Portal).ownUsage, nil},
		{"GET", "/signin", anybody, false, (*Portal).signInForm, nil},
		{"POST", "/signin", anybody, false, (*Portal).signIn, nil},
		{"GET", "/signin/oidc", anybody, false, (*Portal).beginOIDC, nil},
		{"GET", OIDCCallback, anybody, false, (*Portal).finishOIDC, nil},
		{"POST", "/signout", anybody, false, (*Portal).signOut, nil},
		{"GET", "/apps", signedIn, false, (*Portal).apps, nil},
		{"GET", "/apps/{id}", mayView, false, (*Portal).app, nil},
		{"GET", "/apps/{id}/analytics", mayView, false, (*Portal).analytics, nil},
		{"GET", "/apps/{id}/credentials", mayView, false, (*Portal).credentials, nil},
		{"POST", "/apps/{id}/credentials", mayChange, false, (*Portal).issueToken, nil},
		{"POST", "/apps/{id}/credentials/revoke", mayChange, false, (*Portal).revokeToken, nil},
		{"GET", "/apps/{id}/alerts", mayView, false, (*Portal).alerts, nil},
		{"POST", "/apps/{id}/alerts", mayChange, false, (*Portal).saveAlerts, nil},
		{"POST", "/apps/{id}/alerts/secret", mayChange, false, (*Portal).renewSecret, nil},
		{"POST", "/apps/{id}/alerts/test", mayChange, false, (*Portal).testAlert, nil},
		{"GET", "/apps/{id}/team", mayView, false, (*Portal).team, nil},
		{"POST", "/apps/{id}/team", mayChange, false, (*Portal).grant, nil},
		{"POST", "/apps/{id}/team/withdraw", mayChange, false, (*Portal).withdraw, nil},
		{"GET", "/apps/{id}/settings", mayView, false, (*Portal).settings, nil},
		{"GET", "/apps/{id}/call", mayChange, false, (*Portal).testCall, nil},
		{"POST", "/apps/{id}/call", mayChange, false, (*Portal).makeCall, nil},
		{"GET", "/apps/{id}/live", mayView, true, (*Portal).live, nil},
		{"GET", "/apps/{id}/usage.csv", mayView, false, (*Portal).usageCSV, nil},
		{"GET", "/apps/{id}/usage.json", mayView, false, (*Portal).usageJSON, nil},
		{"GET", "/operator", mayOperate, false, (*Portal).operator, nil},
		{"GET", "/operator/apps", mayOperate, false, (*Portal).operatorApps, nil},
		{"POST", "/operator/apps", mayOperate, false, (*Portal).addOperatorApp, nil},
		{"GET", "/operator/apps/{id}", mayOperate, false, (*Portal).operatorApp, nil},
		{"POST", "/operator/apps/{id}", mayOperate, false, (*Portal).changeOperatorApp, nil},
		{"GET", "/operator/endpoints", mayOperate, false, (*Portal).operatorEndpoints, nil},
		{"POST", "/operator/endpoints", mayOperate, false, (*Portal).addOperatorEndpoint, nil},
		{"GET", "/operator/endpoints/{id}", mayOperate, false, (*Portal).operatorEndpoint, nil},
		{"POST", "/operator/endpoints/{id}", mayOperate, false, (*Portal).changeOperatorEndpoint, nil},
		{"GET", "/operator/tiers", mayOperate, false, (*Portal).operatorTiers, nil},
		{"POST", "/operator/tiers", mayOperate, false, (*Portal).addOperatorTier, nil},
		{"GET", "/operator/tiers/{id}", mayOperate, false, (*Portal).operatorTier, nil},
		{"POST", "/operator/tiers/{id}", mayOperate, false, (*Portal).changeOperatorTier, nil},
		{"GET", "/operator/nearest", mayOperate, false, (*Portal).operatorNearest, nil},
		{"GET", "/operator/audit", mayOperate, false, (*Portal).operatorAudit, nil},
		{"GET", "/operator/health", mayOperate, false, (*Portal).operatorHealth, nil},
		{"GET", "/operator/accounts", mayOperate, false, (*Portal).operatorAccounts, nil},
		{"POST", "/operator/accounts", mayOperate, false, (*Portal).changeOperatorAccounts, nil},
	}
	for i := range all {
		all[i].parts = strings.Split(all[i].path, "/")
	}
	return all
}

// route returns what a request asks for, and the id in its path. The error is [fault.NotFound], or a [methodError].
func (p *Portal) route(r *http.Request) (found route, id string, err error) {
	path := strings.Split(p.stripped(r.URL.EscapedPath()), "/")
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allowed methodError
	for _, route := range p.routes {
		id, ok := match(route.parts, path)
		switch {
		case !ok:
		case route.method == method:
			return route, id, nil
		default:
			found = route
			allowed = append(allowed, route.method)
		}
	}
	if len(allowed) > 0 {
		return route{plain: found.plain}, "", allowed
	}
	return route{}, "", errNotFound
}

var errNotFound = fault.New(fault.NotFound, "There is no such page, or it is not yours to see.")

// methodError is the error of a request by another method than those.
type methodError []string

func (e methodError) Error() string {
	return "the page takes " + strings.Join(e.methods(), ", ") + " alone"
}

func (e methodError) methods() []string {
	methods := slices.Clone(e)
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return methods
}

// stripped returns an escaped path without the portal's own path before it, which a proxy may have stripped already.
func (p *Portal) stripped(path string) string {
	if rest, ok := strings.CutPrefix(path, p.base); ok && strings.HasPrefix(rest, "/") {
		return rest
	}
	return path
}

// match reports whether the segments of an escaped path are a route's, and which id it has. A trailing slash makes another path.
func match(want, have []string) (id string, ok bool) {
	if len(want) != len(have) {
		return "", false
	}
	for i, part := range want {
		if part != "{id}" {
			if part != have[i] {
				return "", false
			}
			continue
		}
		var err error
		if id, err = url.PathUnescape(have[i]); err != nil || id == "" {
			return "", false
		}
		id = unveil(id)
	}
	return id, true
}

// AnalyticsURL returns where browsers find the Analytics tab of an application, in a portal that they find at base.
func AnalyticsURL(base *url.URL, application string) string {
	return strings.TrimRight(base.String(), "/") + "/apps/" + segment(application) + "/analytics"
}

// segment returns an application's id as a segment of a path. Browsers take "." and "..", escaped or not, for a step in the path and never
// send them: these two get a "~" before them, as does whatever would otherwise look like one of them with it.
func segment(id string) string {
	if isDots(id) {
		id = "~" + id
	}
	return url.PathEscape(id)
}

// unveil returns the id of an unescaped segment.
func unveil(segment string) string {
	if rest, ok := strings.CutPrefix(segment, "~"); ok && isDots(rest) {
		return rest
	}
	return segment
}

// isDots reports whether an id is "." or "..", or that after any number of "~".
func isDots(id string) bool {
	id = strings.TrimLeft(id, "~")
	return id == "." || id == ".."
}
