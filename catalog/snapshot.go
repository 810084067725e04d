package catalog

import (
	"cmp"
	"slices"

	"github.com/perdiem/perdiem/quota"
)

// Options are what a [Snapshot] needs besides the catalog.
type Options struct {
	Version int64      // the registry's number of this state of the catalog
	Paths   PathPolicy // how paths are read
}

// Snapshot is a catalog at rest, indexed for requests. It never changes and is safe for concurrent use; what it returns
// belongs to it and must not be changed either.
type Snapshot struct {
	version      int64
	paths        PathPolicy
	root         node
	catchAll     *Endpoint
	endpoints    []*Endpoint // by id, the catch-all among them
	endpointByID map[string]*Endpoint
	tiers        []*Tier // by name
	tierByName   map[string]*Tier
	applications []*Application // by id
	appByID      map[string]*Application
}

// NewSnapshot indexes a copy of c. It returns what [Catalog.Validate] returns where c makes no sense, or none under the policy.
func NewSnapshot(c *Catalog, o Options) (*Snapshot, error) {
	if err := c.Validate(o.Paths); err != nil {
		return nil, err
	}
	c = c.Clone()
	c.Canonicalize()
	s := &Snapshot{
		version:      o.Version,
		paths:        o.Paths,
		catchAll:     &c.CatchAll,
		endpointByID: make(map[string]*Endpoint, len(c.Endpoints)+1),
		tierByName:   make(map[string]*Tier, len(c.Tiers)),
		appByID:      make(map[string]*Application, len(c.Applications)),
	}
	s.endpoints = append(s.endpoints, s.catchAll)
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		s.endpoints = append(s.endpoints, e)
		p, err := parsePattern(e.Method, e.Path, o.Paths)
		if err != nil {
			return nil, err // Validate has seen to it that this cannot be
		}
		s.root.add(e, p)
	}
	slices.SortFunc(s.endpoints, func(a, b *Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	for _, e := range s.endpoints {
		s.endpointByID[e.ID] = e
	}
	for i := range c.Tiers {
		t := &c.Tiers[i]
		s.tiers = append(s.tiers, t)
		s.tierByName[t.Name] = t
	}
	for i := range c.Applications {
		a := &c.Applications[i]
		s.applications = append(s.applications, a)
		s.appByID[a.ID] = a
	}
	return s, nil
}

// Version returns the number that the snapshot was made with.
func (s *Snapshot) Version() int64 { return s.version }

// NormalizePath is [NormalizePath] under the snapshot's policy.
func (s *Snapshot) NormalizePath(escaped string) (Path, error) {
	return NormalizePath(escaped, s.paths)
}

// Endpoint returns the endpoint with an id; "*" is the catch-all.
func (s *Snapshot) Endpoint(id string) (*Endpoint, bool) {
	e, ok := s.endpointByID[id]
	return e, ok
}

// Endpoints returns all endpoints in the order of their ids, the catch-all among them.
func (s *Snapshot) Endpoints() []*Endpoint { return s.endpoints }

// Tiers returns all tiers in the order of their names.
func (s *Snapshot) Tiers() []*Tier { return s.tiers }

// Tier returns the tier with a name.
func (s *Snapshot) Tier(name string) (*Tier, bool) {
	t, ok := s.tierByName[name]
	return t, ok
}

// Application returns the application with an id.
func (s *Snapshot) Application(id string) (*Application, bool) {
	a, ok := s.appByID[id]
	return a, ok
}

// Applications returns all applications in the order of their ids.
func (s *Snapshot) Applications() []*Application { return s.applications }

// Limits returns the limits that hold for calls of an application to an endpoint, both as the snapshot returned them: the
// application's override, else its tier's limit, else the endpoint's; for each kind by itself.
func (s *Snapshot) Limits(app *Application, e *Endpoint) quota.Limits {
	limits := e.Limits
	if app.Tier != "" {
		if t := s.tierByName[app.Tier]; t != nil {
			limits = t.Limits[e.ID].over(limits)
		}
	}
	if len(app.Overrides) > 0 {
		limits = app.Overrides[e.ID].over(limits)
	}
	return limits
}
