package catalog

import (
	"strings"

	"github.com/perdiem/perdiem/quota"
)

// CatchAllID is the id of the endpoint under which a request is counted that matches no other. It is its match, too.
const CatchAllID = "*"

// Endpoint is a part of the API that has counters of its own.
type Endpoint struct {
	ID     string       // 1 to 256 bytes of UTF-8 without control characters; "*" is the catch-all's alone
	Method string       // in upper case; "" for any; GET means HEAD too
	Path   string       // the pattern, as in [net/http.ServeMux]: /rest/posts/{id}; "" for the catch-all alone
	When   Conditions   // what else a request must bring
	Limits quota.Limits // what holds unless a tier or an override says else
	Cost   int64        // calls that one request is charged, 1 to [quota.MaxCost]
	Shadow bool         // refuse nobody: what a limit would refuse is let pass uncharged, and counted as refused
}

// NewEndpoint returns an endpoint of which nothing is told but its id: what holds where a file is silent.
func NewEndpoint(id string) Endpoint {
	return Endpoint{ID: id, Limits: quota.Limits{Application: quota.Unlimited, Member: quota.Unlimited}, Cost: 1}
}

// Match returns the pattern as it is written in a catalog, such as "POST /rest/posts"; "*" for the catch-all.
func (e *Endpoint) Match() string {
	switch {
	case e.Path == "":
		return CatchAllID
	case e.Method == "":
		return e.Path
	default:
		return e.Method + " " + e.Path
	}
}

// SplitMatch parts a pattern as it is written in a catalog, "POST /rest/posts", in method and path. Whether they make sense is left to
// [Catalog.Validate].
func SplitMatch(match string) (method, path string) {
	if i := strings.IndexAny(match, " \t"); i >= 0 {
		return match[:i], strings.TrimLeft(match[i:], " \t")
	}
	return "", match
}
