package portal

import (
	"net/url"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// operatorTiersBody is what the list of tiers is told.
type operatorTiersBody struct {
	operating
	Total string
	Rows  []tierRow
	Pages *pager
	Add   form
}

type tierRow struct {
	Name, Path              string
	Endpoints, Applications int
	Origin                  origin
}

// operatorTiers lists the tiers.
func (p *Portal) operatorTiers(v *visit) error { return p.showOperatorTiers(v, nil) }

func (p *Portal) showOperatorTiers(v *visit, s *sent) error {
	snapshot := p.Catalog()
	body := operatorTiersBody{Total: count(int64(len(snapshot.Tiers())), "tier", "tiers"), Add: s.form(form{Do: "add", Button: "Preview", Fields: []field{
		{Name: "name", Label: "Name", Help: "Its limits are set on its own page.", Required: true, Most: 256},
	}})}
	some, pages := paged(snapshot.Tiers(), v.r.URL.Query(), p.operatorPath("tiers"))
	body.Pages = pages
	ids := make([]string, len(some))
	for i, t := range some {
		ids[i] = t.Name
	}
	origins, err := p.origins(v.r.Context(), registry.Tier, ids)
	if err != nil {
		return err
	}
	members := inTiers(snapshot)
	for i, t := range some {
		body.Rows = append(body.Rows, tierRow{Name: t.Name, Path: p.itemPath("tiers", t.Name), Endpoints: len(t.Limits), Applications: members[t.Name], Origin: origins[i]})
	}
	body.operating = v.operating("tiers", "Tiers", s)
	return v.show(s.status(), "operator-tiers", page{Title: "Tiers · operators", Body: body})
}

// inTiers returns how many applications are in each tier.
func inTiers(s *catalog.Snapshot) map[string]int {
	members := map[string]int{}
	for _, a := range s.Applications() {
		members[a.Tier]++
	}
	return members
}

// addOperatorTier adds a tier.
func (p *Portal) addOperatorTier(v *visit) error {
	return p.change(v, "tiers", p.showOperatorTiers, func(do string, form url.Values) (plan, error) {
		name := form.Get("name")
		if do != "add" {
			return plan{}, errNotOffered
		}
		if !registry.ValidID(name) {
			return plan{}, misfilled("name", "Must be 1 to 256 bytes of UTF-8 without control characters.")
		}
		asked := plan{edit: registry.PutTier{Name: name}, next: p.itemPath("tiers", name)}
		if _, known := p.Catalog().Tier(name); known {
			asked.same = fieldErrors{"name": fault.New(fault.Conflict, "There is a tier of this name already.")}
		}
		return asked, nil
	})
}

// operatorTierBody is what the page of one tier is told.
type operatorTierBody struct {
	operating
	Applications string
	Origin       origin
	Limits       []tierLimit
	Set          form
}

// tierLimit is what a tier says of an endpoint, and what the endpoint says itself.
type tierLimit struct {
	Endpoint            string
	Application, Member string
	Own                 string
}

// operatorTier shows one tier.
func (p *Portal) operatorTier(v *visit) error { return p.showOperatorTier(v, nil) }

func (p *Portal) showOperatorTier(v *visit, s *sent) error {
	snapshot := p.Catalog()
	t, known := snapshot.Tier(v.r.PathValue("id"))
	if !known {
		return errNotFound
	}
	body := operatorTierBody{
		Applications: count(int64(inTiers(snapshot)[t.Name]), "application", "applications") + " in it",
		Set:          s.form(form{Do: "set", Button: "Preview", Fields: limitFields(snapshot), Across: true}),
	}
	var err error
	if body.Origin, err = p.origin(v.r.Context(), registry.Tier, t.Name); err != nil {
		return err
	}
	for _, id := range sortedKeys(t.Limits) {
		l := tierLimit{Endpoint: id, Application: partialWords(t.Limits[id].Application), Member: partialWords(t.Limits[id].Member), Own: "–"}
		if e, known := snapshot.Endpoint(id); known {
			l.Own = limitWords(e.Limits.Application) + " / " + limitWords(e.Limits.Member)
		}
		body.Limits = append(body.Limits, l)
	}
	body.operating = v.operating("tiers", t.Name, s)
	return v.show(s.status(), "operator-tier", page{Title: t.Name + " · operators", Body: body})
}

// changeOperatorTier changes one tier.
func (p *Portal) changeOperatorTier(v *visit) error {
	t, known := p.Catalog().Tier(v.r.PathValue("id"))
	if !known {
		return p.gone(v, "tiers")
	}
	return p.change(v, "tiers", p.showOperatorTier, func(do string, form url.Values) (plan, error) {
		if do != "set" {
			return p.readCommon("tiers", registry.Tier, t.Name, do, form)
		}
		endpoint, limits, err := readLimitsOf(form)
		return plan{edit: registry.PutTier{Name: t.Name, Limits: map[string]catalog.PartialLimits{endpoint: limits}}, next: p.itemPath("tiers", t.Name)}, err
	})
}
