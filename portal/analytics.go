package portal

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

// analyticsBody is what the Analytics tab is told.
type analyticsBody struct {
	App      application
	Day      day
	Facts    facts
	Live     string // the path of the events; empty: they are not asked for
	Sort     string
	Headings []heading
	Rows     []row
	Example  string // a command that makes a call; empty: it is not known how
	CSV      string // the paths of what is shown, for programs
	JSON     string
	History  *historyBody
	Member   *memberBody
	Near     *nearBody
	MayCall  bool // a test call can be made here, by the reader
}

// day is the running one.
type day struct {
	Date     string // Monday, 23 November 2026
	ResetsAt time.Time
	Left     string // until then: 05:12:33
	Now      time.Time
}

// facts are the four that stand above the table.
type facts struct {
	Calls      int64
	Refused    int64
	RefusedFor string // by kind; empty: none was
	Endpoints  int
	Nearest    *meter
}

// row is an endpoint in the table #usage.
type row struct {
	usage.Endpoint
	When  string // what requests must bring besides method and path
	Meter meter
}

// ApplicationRefused returns how many calls were refused for the application's limit.
func (r row) ApplicationRefused() int64 {
	return r.Application.Refused - r.Application.RefusedForMember
}

// memberBody is one member's part of the tab.
type memberBody struct {
	ID      string // that was looked up
	Problem string
	Rows    []memberRow
	Clear   string // the path of the tab without the member
}

type memberRow struct {
	row
	Meter meter // of the member's limit
}

// analytics shows the Analytics tab: how near the application is to its limits, and when they reset.
func (p *Portal) analytics(v *visit) error {
	query := v.r.URL.Query()
	sorting := parseSorting(query.Get("sort"))
	member, problem := p.askedMember(v.app.ID, query)
	report, err := p.Usage.Today(v.r.Context(), v.app.ID, member)
	if err != nil {
		return err
	}
	snapshot, now := p.Catalog(), p.Now()
	body := analyticsBody{
		App: v.application("analytics"), Day: newDay(report, now), Facts: newFacts(report), Live: p.applicationPath(v.app.ID, "live"),
		Sort: sorting.String(), Headings: sorting.headings(query), Example: p.example(snapshot, v.app),
		CSV: p.applicationPath(v.app.ID, "usage.csv") + sorting.query(), JSON: p.applicationPath(v.app.ID, "usage.json") + sorting.query(),
	}
	endpoint := askedEndpoint(snapshot, query)
	if body.History, err = p.readHistory(v.r.Context(), report, endpoint); err != nil {
		return err
	}
	body.History.Sort = sorting.String()
	body.MayCall = p.Call != nil && v.mayChange()
	if body.Near, err = p.readNear(v.r.Context(), v.app.ID, endpoint, report.ResetsAt); err != nil {
		return err
	}
	sorting.sort(report.Endpoints)
	for _, e := range report.Endpoints {
		body.Rows = append(body.Rows, newRow(snapshot, e, report.ResetsAt))
	}
	if query.Has("member") {
		body.Member = &memberBody{ID: query.Get("member"), Problem: problem, Clear: p.applicationPath(v.app.ID, "analytics") + sorting.query()}
		for _, e := range report.Endpoints {
			if member != "" && (e.Member.Used > 0 || e.Member.Refused > 0) {
				body.Member.Rows = append(body.Member.Rows, memberRow{newRow(snapshot, e, report.ResetsAt), newMeter(e.ID, e.Member.Limit, e.Member.Used, report.ResetsAt)})
			}
		}
	}
	return v.show(http.StatusOK, "analytics", page{Title: "Analytics · " + displayName(v.app), Script: "live.js", Body: body})
}

// askedMember returns the member whom a query asks for; where that can be none, nobody and why.
func (p *Portal) askedMember(application string, query url.Values) (member, problem string) {
	switch member = query.Get("member"); {
	case !query.Has("member"):
		return "", ""
	case !registry.ValidID(member):
		return "", "A member's id is 1 to 256 bytes of UTF-8 without control characters."
	case member == application:
		return "", "An application is no member of itself: the table above is its own."
	default:
		return member, ""
	}
}

// askedEndpoint returns the endpoint whose history and near members a query asks for; empty: those of all together.
func askedEndpoint(s *catalog.Snapshot, query url.Values) string {
	id := query.Get("endpoint")
	if _, known := s.Endpoint(id); !known {
		return ""
	}
	return id
}

func newDay(r *usage.Report, now time.Time) day {
	date, _ := time.Parse(time.DateOnly, r.Day) // it is one
	left := max(0, r.ResetsAt.Sub(now))
	return day{
		Date: date.Format("Monday, 2 January 2006"), ResetsAt: r.ResetsAt, Now: now.UTC(),
		Left: time.Time{}.Add(left % (100 * time.Hour)).Format("15:04:05"),
	}
}

func newFacts(r *usage.Report) facts {
	f := facts{Endpoints: len(r.Endpoints), Nearest: nearest(r)}
	var forMember int64
	for _, e := range r.Endpoints {
		f.Calls += e.Application.Used
		f.Refused += e.Application.Refused
		forMember += e.Application.RefusedForMember
	}
	if f.Refused > 0 {
		f.RefusedFor = group(f.Refused-forMember) + " application · " + group(forMember) + " member"
	}
	return f
}

func newRow(s *catalog.Snapshot, e usage.Endpoint, reset time.Time) row {
	return row{Endpoint: e, When: conditions(s, e.ID), Meter: newMeter(e.ID, e.Application.Limit, e.Application.Used, reset)}
}

// query returns the query that sorts a page so; empty where that needs none.
func (s sorting) query() string {
	if s.isDefault() {
		return ""
	}
	return "?" + url.Values{"sort": {s.String()}}.Encode()
}

// example returns a command that makes a call of the application: to an endpoint that it has access to and that changes nothing, if there is one.
func (p *Portal) example(s *catalog.Snapshot, app *catalog.Application) string {
	if p.Gateway == "" {
		return ""
	}
	path := "/"
	for _, e := range s.Endpoints() {
		readable := e.Method == http.MethodGet && !strings.ContainsAny(e.Path, "{}'") && e.When.IsZero()
		if readable && s.Limits(app, e).Application != 0 {
			path = e.Path
			break
		}
	}
	return "curl -i -H 'Authorization: Bearer TOKEN' '" + p.Gateway + path + "'"
}

// usageReport returns what the table shows, for a program, in the table's order.
func (p *Portal) usageReport(v *visit) (*usage.Report, error) {
	report, err := p.Usage.Today(v.r.Context(), v.app.ID, "")
	if err != nil {
		return nil, err
	}
	parseSorting(v.r.URL.Query().Get("sort")).sort(report.Endpoints)
	return report, nil
}
