package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
)

const (
	appsPage   = 50 // applications on a page
	appsSearch = 10 // from more than that on they can be searched
)

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

// pager leads from one page of a list to others.
type pager struct {
	Number, Of    int
	Before, After string // paths; empty: there is none
}

// apps lists the applications that somebody may see.
func (p *Portal) apps(v *visit) error {
	visible, err := p.visible(v)
	if err != nil {
		return err
	}
	query := v.r.URL.Query()
	body := appsBody{Operator: v.account.Operator, Search: len(visible) > appsSearch, Query: query.Get("q")}
	if body.Query != "" {
		visible = slices.DeleteFunc(visible, func(a *catalog.Application) bool { return !contains(a.ID, body.Query) && !contains(a.Name, body.Query) })
	}
	if len(visible) > 0 {
		body.Total = count(int64(len(visible)), "application", "applications")
	}
	visible, body.Pages = p.paged(visible, query)
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
		return slices.Clone(snapshot.Applications()), nil
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

// paged returns the part of a list that the query asks for; nil for the pager where it fits on one page.
func (p *Portal) paged(all []*catalog.Application, query url.Values) ([]*catalog.Application, *pager) {
	of := (len(all) + appsPage - 1) / appsPage
	if of <= 1 {
		return all, nil
	}
	number, err := strconv.Atoi(query.Get("page"))
	if err != nil {
		number = 1
	}
	number = max(1, min(number, of))
	pages := &pager{Number: number, Of: of}
	to := func(number int) string {
		next := url.Values{"page": {strconv.Itoa(number)}}
		if q := query.Get("q"); q != "" {
			next.Set("q", q)
		}
		return p.path("/apps?" + next.Encode())
	}
	if number > 1 {
		pages.Before = to(number - 1)
	}
	if number < of {
		pages.After = to(number + 1)
	}
	return all[(number-1)*appsPage : min(number*appsPage, len(all))], pages
}

// contains reports whether s has part, whatever their case.
func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}
