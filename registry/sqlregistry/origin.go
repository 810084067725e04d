package sqlregistry

import (
	"context"
	"database/sql"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// Origins tells where items come from.
func (r *Registry) Origins(ctx context.Context, noun registry.Noun, ids []string) ([]registry.Origin, error) {
	if len(ids) > registry.MaxOrigins {
		return nil, fault.New(fault.Invalid, "%d ids: at most %d are taken at a time", len(ids), registry.MaxOrigins)
	}
	origins := make([]registry.Origin, len(ids))
	err := r.read(ctx, func(tx *sql.Tx) error {
		for i, id := range ids {
			key, err := itemOf(noun, id)
			if err != nil {
				return err
			}
			if origins[i], err = readOrigin(ctx, tx, key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return origins, nil
}

func readOrigin(ctx context.Context, q querier, key itemKey) (o registry.Origin, err error) {
	text, inFile, err := readDocument(ctx, q, "catalog_items", key)
	if err != nil {
		return o, err
	}
	added, ok, err := readDocument(ctx, q, "added", key)
	if err != nil {
		return o, err
	}
	o.File, o.Added = inFile, ok
	if !inFile {
		text = added
	}
	amended, ok, err := readDocument(ctx, q, "amendments", key)
	if err != nil || !ok {
		return o, err
	}
	set, err := amendedAttributes(key, amended)
	if err != nil {
		return o, err
	}
	var under map[attribute]string
	if text != "" {
		c := new(catalog.Catalog)
		if err := appendItem(c, key, text); err != nil {
			return o, err
		}
		under = indexItems(c).attributes(key)
	}
	for _, one := range set {
		o.Amended = append(o.Amended, registry.Amendment{Field: one.String(), Value: one.value, Under: under[one.attribute]})
	}
	return o, nil
}

// Overrides returns a page of the overrides that were made at run time.
func (r *Registry) Overrides(ctx context.Context, after registry.OverrideName, limit int) ([]registry.Override, error) {
	if limit < 1 || limit > registry.MaxOverrides {
		return nil, fault.New(fault.Invalid, "limit %d: must be 1 to %d", limit, registry.MaxOverrides)
	}
	page, err := scanOverrides(ctx, r.reader, "WHERE (application, endpoint) > ($1, $2) ORDER BY application, endpoint LIMIT $3", after.Application, after.Endpoint, limit)
	if err != nil {
		return nil, r.failure(err)
	}
	overrides := make([]registry.Override, len(page))
	for i, one := range page {
		overrides[i] = registry.Override{OverrideName: registry.OverrideName{Application: one.application, Endpoint: one.endpoint}, Limits: one.limits}
	}
	return overrides, nil
}
