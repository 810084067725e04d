package sqlregistry

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/perdiem/perdiem/catalog"
)

// kind tells the items of a catalog apart.
type kind string

const (
	kindEndpoint    kind = "endpoint" // the catch-all too, by its id
	kindTier        kind = "tier"
	kindApplication kind = "application"
)

// itemKey names an item of a catalog.
type itemKey struct {
	kind kind
	id   string
}

// The documents are the registry's own format, apart from the catalog's types, which may change without a migration. A limit is a
// number of calls; unlimited is one like any other.
type (
	endpointDocument struct {
		Method      string            `json:"method,omitempty"`
		Path        string            `json:"path,omitempty"`
		Header      map[string]string `json:"header,omitempty"`
		Query       map[string]string `json:"query,omitempty"`
		Application int64             `json:"application"`
		Member      int64             `json:"member"`
		Cost        int64             `json:"cost"`
		Shadow      bool              `json:"shadow,omitempty"`
	}
	tierDocument struct {
		Limits map[string]limitsDocument `json:"limits,omitempty"`
	}
	applicationDocument struct {
		Name      string                    `json:"name,omitempty"`
		Tier      string                    `json:"tier,omitempty"`
		Overrides map[string]limitsDocument `json:"overrides,omitempty"`
		Shadow    bool                      `json:"shadow,omitempty"`
		Suspended bool                      `json:"suspended,omitempty"`
	}
	limitsDocument struct {
		Application *int64 `json:"application,omitempty"`
		Member      *int64 `json:"member,omitempty"`
	}
)

// documents returns what is kept of a catalog in canonical form: equal catalogs have equal documents.
func documents(c *catalog.Catalog) (map[itemKey]string, error) {
	docs := make(map[itemKey]string, len(c.Endpoints)+1+len(c.Tiers)+len(c.Applications))
	add := func(kind kind, id string, document any) error {
		text, err := json.Marshal(document)
		docs[itemKey{kind, id}] = string(text)
		return err
	}
	endpoint := func(e catalog.Endpoint) error {
		return add(kindEndpoint, e.ID, newEndpointDocument(e))
	}
	if err := endpoint(c.CatchAll); err != nil {
		return nil, err
	}
	for _, e := range c.Endpoints {
		if err := endpoint(e); err != nil {
			return nil, err
		}
	}
	for _, t := range c.Tiers {
		if err := add(kindTier, t.Name, tierDocument{Limits: limitsDocuments(t.Limits)}); err != nil {
			return nil, err
		}
	}
	for _, a := range c.Applications {
		if err := add(kindApplication, a.ID, applicationDocument{
			Name: a.Name, Tier: a.Tier, Overrides: limitsDocuments(a.Overrides), Shadow: a.Shadow, Suspended: a.Suspended,
		}); err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// assemble returns the catalog whose documents these are, in canonical form.
func assemble(docs map[itemKey]string) (*catalog.Catalog, error) {
	c := new(catalog.Catalog)
	for key, text := range docs {
		if err := appendItem(c, key, text); err != nil {
			return nil, err
		}
	}
	c.Canonicalize()
	return c, nil
}

// appendItem adds the item whose document this is to c.
func appendItem(c *catalog.Catalog, key itemKey, text string) (err error) {
	switch key.kind {
	case kindEndpoint:
		var d endpointDocument
		err = decode(text, &d)
		e := d.endpoint(key.id)
		if key.id == catalog.CatchAllID {
			c.CatchAll = e
		} else {
			c.Endpoints = append(c.Endpoints, e)
		}
	case kindTier:
		var d tierDocument
		err = decode(text, &d)
		c.Tiers = append(c.Tiers, catalog.Tier{Name: key.id, Limits: partialLimits(d.Limits)})
	case kindApplication:
		var d applicationDocument
		err = decode(text, &d)
		c.Applications = append(c.Applications, catalog.Application{
			ID: key.id, Name: d.Name, Tier: d.Tier, Overrides: partialLimits(d.Overrides), Shadow: d.Shadow, Suspended: d.Suspended,
		})
	default:
		err = fmt.Errorf("no such kind of item")
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", key.kind, key.id, err)
	}
	return nil
}

func newEndpointDocument(e catalog.Endpoint) endpointDocument {
	return endpointDocument{
		Method: e.Method, Path: e.Path, Header: e.When.Header, Query: e.When.Query,
		Application: int64(e.Limits.Application), Member: int64(e.Limits.Member), Cost: e.Cost, Shadow: e.Shadow,
	}
}

func (d endpointDocument) endpoint(id string) catalog.Endpoint {
	e := catalog.Endpoint{
		ID: id, Method: d.Method, Path: d.Path, When: catalog.Conditions{Header: d.Header, Query: d.Query}, Cost: d.Cost, Shadow: d.Shadow,
	}
	limits := limitsDocument{Application: &d.Application, Member: &d.Member}.limits()
	e.Limits.Application, e.Limits.Member = *limits.Application, *limits.Member
	return e
}

// decode refuses a field that it does not know: it may hold a limit that must not be overlooked.
func decode(text string, document any) error {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	return d.Decode(document)
}

func limitsDocuments(m map[string]catalog.PartialLimits) map[string]limitsDocument {
	if len(m) == 0 {
		return nil
	}
	docs := make(map[string]limitsDocument, len(m))
	for id, l := range m {
		docs[id] = newLimitsDocument(l)
	}
	return docs
}

func partialLimits(docs map[string]limitsDocument) map[string]catalog.PartialLimits {
	if len(docs) == 0 {
		return nil
	}
	m := make(map[string]catalog.PartialLimits, len(docs))
	for id, d := range docs {
		m[id] = d.limits()
	}
	return m
}

func newLimitsDocument(l catalog.PartialLimits) limitsDocument {
	return limitsDocument{Application: (*int64)(l.Application), Member: (*int64)(l.Member)}
}

func (d limitsDocument) limits() (l catalog.PartialLimits) {
	setLimit(&l.Application, d.Application)
	setLimit(&l.Member, d.Member)
	return l
}

// setLimit makes a catalog's limit of a number. Its type is the catalog's affair.
func setLimit[Limit ~int64](limit **Limit, n *int64) {
	if n != nil {
		*limit = new(Limit(*n))
	}
}
