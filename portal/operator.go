package portal

import (
	"context"
	"net/http"

	"github.com/perdiem/perdiem/registry"
)

// OperatorOptions are what the operators' pages need besides. All are required.
type OperatorOptions struct {
	// Runtime changes the catalog.
	Runtime registry.Runtime
	// Audit is [registry.Registry.Audit].
	Audit func(ctx context.Context, before int64, limit int) ([]registry.AuditEntry, error)
	// Changed is called after each change to the catalog. When it returns, the change holds on this node.
	Changed func(context.Context) error
	// HashPassword returns the hash of a password, as [registry.Account] has it. The error, of package fault, says why it may not be set.
	HashPassword func(ctx context.Context, password string) (hash string, err error)
	// Health returns how the node is.
	Health func() Health
}

// missing returns the name of an option that is not there; empty: none is missing.
func (o *OperatorOptions) missing() string {
	switch {
	case o.Runtime == nil:
		return "Runtime"
	case o.Audit == nil:
		return "Audit"
	case o.Changed == nil:
		return "Changed"
	case o.HashPassword == nil:
		return "HashPassword"
	case o.Health == nil:
		return "Health"
	default:
		return ""
	}
}

// operatorTabs are those of the operators' pages, in order.
var operatorTabs = []struct{ name, page string }{
	{"Applications", "apps"},
	{"Endpoints", "endpoints"},
	{"Tiers", "tiers"},
	{"Nearest limits", "nearest"},
	{"Audit log", "audit"},
	{"Health", "health"},
	{"Accounts", "accounts"},
}

// operating is what each of the operators' pages is told.
type operating struct {
	Heading string
	Tabs    []tab
	Saved   string // what was asked for was just done; empty: it was not
	Problem string // why it was not; empty: nothing is wrong, or a form says what
}

// operating returns what stands above an operators' page. The page's forms are made before: what they do not say is wrong stands there.
func (v *visit) operating(page, heading string, s *sent) operating {
	o := operating{Heading: heading, Problem: s.problem()}
	if v.r.Method != http.MethodPost && v.r.URL.Query().Has("saved") {
		o.Saved = "Done. It holds on this node now, and on every other within a second."
		if page == "accounts" {
			o.Saved = "Done."
		}
	}
	for _, t := range operatorTabs {
		o.Tabs = append(o.Tabs, tab{Name: t.name, Path: v.portal.operatorPath(t.page), Current: t.page == page})
	}
	return o
}

// operatorPath returns the path of an operators' page.
func (p *Portal) operatorPath(page string) string { return p.path("/operator/" + page) }

// itemPath returns the path of the page of an application, an endpoint or a tier.
func (p *Portal) itemPath(page, id string) string { return p.operatorPath(page) + "/" + segment(id) }

// operator sends the browser to the first of the operators' pages.
func (p *Portal) operator(v *visit) error {
	v.redirect("/operator/" + operatorTabs[0].page)
	return nil
}
