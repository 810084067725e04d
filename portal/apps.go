package portal

import (
	"net/http"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
)

const appsSearch = 10 // from more applications than that on they can be searched

// appsBody is what the list of applications is told.
type appsBody struct {
	Operator bool
	Search   bool
	Query    string
	Total    string
	Problem  string
	Rows     []appRow
	Pages    *pager
}

// appRow is an application in the list.
type appRow struct {
	ID, Name, Tier, Path string
	Suspended            bool
	Known                bool // what it used is
	Calls                int64
	Nearest              *meter
}

// apps lists the applications that somebody may see.
func (p *Portal) apps(v *visit) error {
	visible, err := p.visible(v)
	if err != nil {
		return err
	}
	query := v.r.URL.Query()
	body := appsBody{Operator: v.account.Operator, Search: len(visible) > appsSearch, Query: query.Get("q")}
	visible = search(visible, body.Query, appNames)
	if len(visible) > 0 {
		body.Total = count(int64(len(visible)), "application", "applications")
	}
	visible, body.Pages = paged(visible, query, p.path("/apps"))
	for _, a := range visible {
		row := appRow{ID: a.ID, Name: displayName(a), Tier: a.Tier, Path: p.applicationPath(a.ID, "analytics"), Suspended: a.Suspended}
		report, err := p.Usage.Today(v.r.Context(), a.ID, "")
		switch {
		case err == nil:
			row.Known, row.Nearest = true, nearest(report)
			for _, e := range report.Endpoints {
				row.Calls += e.Application.Used
			}
		case fault.KindOf(err) == fault.NotFound: // it was removed a moment ago
			continue
		case fault.KindOf(err) == fault.Unavailable:
			body.Problem = "What was used today cannot be read at the moment. Reload the page in a minute."
		default:
			return err
		}
		body.Rows = append(body.Rows, row)
	}
	return v.show(http.StatusOK, "apps", page{Title: "Applications", Body: body})
}

// visible returns the applications that somebody may see, in order of their ids.
func (p *Portal) visible(v *visit) ([]*catalog.Application, error) {
	snapshot := p.Catalog()
	if v.account.Operator {
		return snapshot.Applications(), nil
	}
	grants, err := p.Accounts.Grants(v.r.Context(), v.account.Email)
	if err != nil {
		return nil, err
	}
	var visible []*catalog.Application
	for _, g := range grants {
		if a, known := snapshot.Application(g.Application); known {
			visible = append(visible, a)
		}
	}
	return visible, nil
}
