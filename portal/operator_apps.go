package portal

import (
	"context"
	"net/url"
	"strings"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// operatorAppsBody is what the list of all applications is told.
type operatorAppsBody struct {
	operating
	Query string
	Total string
	Rows  []operatorAppRow
	Pages *pager
	Add   form
}

type operatorAppRow struct {
	ID, Name, Tier, Path, Analytics string
	Suspended, Shadow               bool
	Overrides                       int
	Origin                          origin
}

// operatorApps lists all applications.
func (p *Portal) operatorApps(v *visit) error { return p.showOperatorApps(v, nil) }

func (p *Portal) showOperatorApps(v *visit, s *sent) error {
	snapshot, query := p.Catalog(), v.r.URL.Query()
	body := operatorAppsBody{Query: query.Get("q"), Add: s.form(form{Do: "add", Button: "Preview", Fields: []field{
		{Name: "id", Label: "Id", Help: "As its tokens tell it: 1 to 256 bytes. It cannot be changed.", Required: true, Most: 256},
		{Name: "name", Label: "Name", Help: "For people. May be left out.", Most: catalog.MaxDisplayName},
		tierField(snapshot, ""),
	}})}
	all := search(snapshot.Applications(), body.Query, appNames)
	body.Total = count(int64(len(all)), "application", "applications")
	all, body.Pages = paged(all, query, p.operatorPath("apps"))
	ids := make([]string, len(all))
	for i, a := range all {
		ids[i] = a.ID
	}
	origins, err := p.origins(v.r.Context(), registry.Application, ids)
	if err != nil {
		return err
	}
	for i, a := range all {
		body.Rows = append(body.Rows, operatorAppRow{
			ID: a.ID, Name: displayName(a), Tier: a.Tier, Path: p.itemPath("apps", a.ID), Analytics: p.applicationPath(a.ID, "analytics"),
			Suspended: a.Suspended, Shadow: a.Shadow, Overrides: len(a.Overrides), Origin: origins[i],
		})
	}
	body.operating = v.operating("apps", "Applications", s)
	return v.show(s.status(), "operator-apps", page{Title: "Applications · operators", Body: body})
}

// addOperatorApp adds an application.
func (p *Portal) addOperatorApp(v *visit) error {
	return p.change(v, "apps", p.showOperatorApps, func(do string, form url.Values) (plan, error) {
		id := form.Get("id")
		if do != "add" {
			return plan{}, errNotOffered
		}
		if !registry.ValidID(id) {
			return plan{}, misfilled("id", "Must be 1 to 256 bytes of UTF-8 without control characters.")
		}
		tier, err := readTier(p.Catalog(), form)
		asked := plan{edit: registry.PutApplication{ID: id, Name: new(form.Get("name")), Tier: &tier}, next: p.itemPath("apps", id)}
		if _, known := p.Catalog().Application(id); known {
			asked.same = fieldErrors{"id": fault.New(fault.Conflict, "There is an application of this id already.")}
		}
		return asked, err
	})
}

// tierField is the field of an application's tier.
func tierField(s *catalog.Snapshot, tier string) field {
	offered := hints(s.Tiers(), func(t *catalog.Tier) (string, bool) { return t.Name, true })
	return field{Name: "tier", Label: "Tier", Help: "Left empty: none, and the endpoints' own limits hold.", Value: tier, Most: 256, Hints: offered}
}

// readTier returns the tier that a form names; empty: none.
func readTier(s *catalog.Snapshot, form url.Values) (string, error) {
	tier := strings.TrimSpace(form.Get("tier"))
	if _, known := s.Tier(tier); !known && tier != "" {
		return "", misfilled("tier", "There is no tier of this name.")
	}
	return tier, nil
}

// operatorAppBody is what the page of one application is told.
type operatorAppBody struct {
	operating
	ID, Name, Tier, Analytics string
	Suspended, Shadow         bool
	Origin                    origin
	Settings                  form
	Overrides                 []overrideRow
	Override                  form
}

// overrideRow is the limits that an application has of its own for an endpoint.
type overrideRow struct {
	Endpoint            string
	Application, Member string
	From                string
	RunTime             bool // some of it was set at run time, and can be cleared
	Waits               bool // there is no such endpoint at the moment
}

// operatorApp shows one application.
func (p *Portal) operatorApp(v *visit) error { return p.showOperatorApp(v, nil) }

func (p *Portal) showOperatorApp(v *visit, s *sent) error {
	snapshot := p.Catalog()
	app, known := snapshot.Application(v.r.PathValue("id"))
	if !known {
		return errNotFound
	}
	body := operatorAppBody{
		ID: app.ID, Name: displayName(app), Tier: app.Tier, Analytics: p.applicationPath(app.ID, "analytics"), Suspended: app.Suspended, Shadow: app.Shadow,
		Settings: s.form(form{Do: "set", Button: "Preview", Fields: []field{
			{Name: "name", Label: "Name", Help: "For people. May be left out.", Value: app.Name, Most: catalog.MaxDisplayName},
			tierField(snapshot, app.Tier),
		}}),
		Override: s.form(form{Do: "override", Button: "Preview", Fields: limitFields(snapshot), Across: true}),
	}
	var err error
	if body.Origin, err = p.origin(v.r.Context(), registry.Application, app.ID); err != nil {
		return err
	}
	if body.Overrides, err = p.overrideRows(v.r.Context(), snapshot, app); err != nil {
		return err
	}
	body.operating = v.operating("apps", body.Name, s)
	return v.show(s.status(), "operator-app", page{Title: body.Name + " · operators", Body: body})
}

// overrideRows returns all overrides of an application, those that wait for their endpoint too.
func (p *Portal) overrideRows(ctx context.Context, s *catalog.Snapshot, app *catalog.Application) ([]overrideRow, error) {
	made, err := p.runtimeOverrides(ctx, app.ID)
	if err != nil {
		return nil, err
	}
	var rows []overrideRow
	for _, id := range sortedKeys(app.Overrides, made) {
		holds, atRunTime := app.Overrides[id], made[id]
		row := overrideRow{Endpoint: id, RunTime: !atRunTime.IsZero(), From: "Catalog file"}
		if _, known := s.Endpoint(id); !known {
			row.Waits, holds = true, atRunTime
		}
		row.Application, row.Member = partialWords(holds.Application), partialWords(holds.Member)
		switch {
		case !row.RunTime:
		case (holds.Application != nil && atRunTime.Application == nil) || (holds.Member != nil && atRunTime.Member == nil):
			row.From = "Run time, over the file's"
		default:
			row.From = "Run time"
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// runtimeOverrides returns the overrides of an application that were made at run time, by endpoint.
func (p *Portal) runtimeOverrides(ctx context.Context, application string) (map[string]catalog.PartialLimits, error) {
	made := map[string]catalog.PartialLimits{}
	after := registry.OverrideName{Application: application}
	for {
		some, err := p.Operators.Runtime.Overrides(ctx, after, registry.MaxOverrides)
		if err != nil {
			return nil, err
		}
		for _, o := range some {
			if o.Application != application {
				return made, nil
			}
			made[o.Endpoint] = o.Limits
			after = o.OverrideName
		}
		if len(some) < registry.MaxOverrides {
			return made, nil
		}
	}
}

// changeOperatorApp changes one application.
func (p *Portal) changeOperatorApp(v *visit) error {
	app, known := p.Catalog().Application(v.r.PathValue("id"))
	if !known {
		return p.gone(v, "apps")
	}
	return p.change(v, "apps", p.showOperatorApp, func(do string, form url.Values) (plan, error) {
		here := p.itemPath("apps", app.ID)
		put := registry.PutApplication{ID: app.ID}
		switch do {
		case "set":
			tier, err := readTier(p.Catalog(), form)
			if err != nil {
				return plan{}, err
			}
			put.Name, put.Tier = ifOther(form.Get("name"), app.Name), ifOther(tier, app.Tier)
			if put == (registry.PutApplication{ID: app.ID}) {
				return plan{edit: put, next: here, same: errSame}, nil
			}
		case "suspend", "resume":
			put.Suspended = new(do == "suspend")
		case "shadow", "unshadow":
			put.Shadow = new(do == "shadow")
		case "override":
			endpoint, limits, err := readLimitsOf(form)
			return plan{edit: registry.PutOverride{Application: app.ID, Endpoint: endpoint, Limits: limits}, next: here}, err
		case "clear":
			return plan{edit: registry.ClearOverride{Application: app.ID, Endpoint: form.Get("endpoint")}, next: here, takesAway: true}, nil
		default:
			return p.readCommon("apps", registry.Application, app.ID, do, form)
		}
		return plan{edit: put, next: here}, nil
	})
}

// errSame is the error of a form that was sent as it was.
var errSame = fault.New(fault.Invalid, "This is what holds already: nothing was changed.")

// ifOther returns what is set where it is not what holds, and else nil: what is not set stays the file's.
func ifOther[T comparable](set, holds T) *T {
	if set == holds {
		return nil
	}
	return &set
}
