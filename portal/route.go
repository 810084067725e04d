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
}

// routes are all that there is. It is a func, since handlers refer to it.
func routes() []route {
	return []route{
		{"GET", "/", anybody, false, (*Portal).root},
		{"GET", "/static/{id}", anybody, false, (*Portal).static},
		{"GET", "/v1/usage", anybody, true, (*Portal).ownUsage},
		{"GET", "/signin", anybody, false, (*Portal).signInForm},
		{"POST", "/signin", anybody, false, (*Portal).signIn},
		{"GET", "/signin/oidc", anybody, false, (*Portal).beginOIDC},
		{"GET", OIDCCallback, anybody, false, (*Portal).finishOIDC},
		{"POST", "/signout", anybody, false, (*Portal).signOut},
		{"GET", "/apps", signedIn, false, (*Portal).apps},
		{"GET", "/apps/{id}", mayView, false, (*Portal).app},
		{"GET", "/apps/{id}/analytics", mayView, false, (*Portal).analytics},
		{"GET", "/apps/{id}/credentials", mayView, false, (*Portal).credentials},
		{"POST", "/apps/{id}/credentials", mayChange, false, (*Portal).issueToken},
		{"POST", "/apps/{id}/credentials/revoke", mayChange, false, (*Portal).revokeToken},
		{"GET", "/apps/{id}/alerts", mayView, false, (*Portal).alerts},
		{"POST", "/apps/{id}/alerts", mayChange, false, (*Portal).saveAlerts},
		{"POST", "/apps/{id}/alerts/secret", mayChange, false, (*Portal).renewSecret},
		{"POST", "/apps/{id}/alerts/test", mayChange, false, (*Portal).testAlert},
		{"GET", "/apps/{id}/team", mayView, false, (*Portal).team},
		{"POST", "/apps/{id}/team", mayChange, false, (*Portal).grant},
		{"POST", "/apps/{id}/team/withdraw", mayChange, false, (*Portal).withdraw},
		{"GET", "/apps/{id}/settings", mayView, false, (*Portal).settings},
		{"GET", "/apps/{id}/call", mayChange, false, (*Portal).testCall},
		{"POST", "/apps/{id}/call", mayChange, false, (*Portal).makeCall},
		{"GET", "/apps/{id}/live", mayView, true, (*Portal).live},
		{"GET", "/apps/{id}/usage.csv", mayView, false, (*Portal).usageCSV},
		{"GET", "/apps/{id}/usage.json", mayView, false, (*Portal).usageJSON},
		{"GET", "/operator", mayOperate, false, (*Portal).operator},
		{"GET", "/operator/apps", mayOperate, false, (*Portal).operatorApps},
		{"POST", "/operator/apps", mayOperate, false, (*Portal).addOperatorApp},
		{"GET", "/operator/apps/{id}", mayOperate, false, (*Portal).operatorApp},
		{"POST", "/operator/apps/{id}", mayOperate, false, (*Portal).changeOperatorApp},
		{"GET", "/operator/endpoints", mayOperate, false, (*Portal).operatorEndpoints},
		{"POST", "/operator/endpoints", mayOperate, false, (*Portal).addOperatorEndpoint},
		{"GET", "/operator/endpoints/{id}", mayOperate, false, (*Portal).operatorEndpoint},
		{"POST", "/operator/endpoints/{id}", mayOperate, false, (*Portal).changeOperatorEndpoint},
		{"GET", "/operator/tiers", mayOperate, false, (*Portal).operatorTiers},
		{"POST", "/operator/tiers", mayOperate, false, (*Portal).addOperatorTier},
		{"GET", "/operator/tiers/{id}", mayOperate, false, (*Portal).operatorTier},
		{"POST", "/operator/tiers/{id}", mayOperate, false, (*Portal).changeOperatorTier},
		{"GET", "/operator/nearest", mayOperate, false, (*Portal).operatorNearest},
		{"GET", "/operator/audit", mayOperate, false, (*Portal).operatorAudit},
		{"GET", "/operator/health", mayOperate, false, (*Portal).operatorHealth},
		{"GET", "/operator/accounts", mayOperate, false, (*Portal).operatorAccounts},
		{"POST", "/operator/accounts", mayOperate, false, (*Portal).changeOperatorAccounts},
	}
}

// route returns what a request asks for, and the id in its path. The error is [fault.NotFound], or a [methodError].
func (p *Portal) route(r *http.Request) (found route, id string, err error) {
	path := r.URL.EscapedPath()
	if rest, ok := strings.CutPrefix(path, p.base); ok && p.base != "" && strings.HasPrefix(rest, "/") {
		path = rest
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allowed methodError
	for _, route := range routes() {
		id, ok := match(route.path, path)
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

// match reports whether an escaped path is a route's, and which id it has. A trailing slash makes another path.
func match(pattern, path string) (id string, ok bool) {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
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
