package sqlregistry

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// added are the applications that were added at run time: their tiers, by their ids.
type added map[string]string

// putUnder changes c, the file's layer in canonical form, to what holds but for overrides.
func (a added) putUnder(c *catalog.Catalog) {
	if len(a) == 0 {
		return
	}
	have := indexApplications(c)
	var more []catalog.Application
	for id, tier := range a {
		if _, ok := have[id]; !ok {
			more = append(more, catalog.Application{ID: id, Tier: tier})
		}
	}
	c.Applications = append(c.Applications, more...)
	c.Canonicalize()
}

// keptOver returns the applications that stay though the file no longer has them.
func (a added) keptOver(old, c *catalog.Catalog) []catalog.Change {
	had, have := indexApplications(old), indexApplications(c)
	var kept []catalog.Change
	for _, id := range slices.Sorted(maps.Keys(a)) {
		if _, ok := had[id]; ok && have[id] == nil {
			kept = append(kept, catalog.Change{Op: catalog.Kept, Noun: "application", Name: id})
		}
	}
	return kept
}

// check returns why c, to which the applications were added, may not hold: it lacks a tier of theirs, or is too large with them.
func (a added) check(c *catalog.Catalog, paths catalog.PathPolicy) error {
	tiers := make(map[string]bool, len(c.Tiers))
	for _, t := range c.Tiers {
		tiers[t.Name] = true
	}
	missing := make(map[string]string)
	for _, application := range c.Applications {
		if tier, ok := a[application.ID]; ok && application.Tier == tier && !tiers[tier] {
			missing[tier] = application.ID
		}
	}
	if len(missing) > 0 {
		tier := slices.Sorted(maps.Keys(missing))[0]
		return fault.New(fault.Invalid, "there is no tier %q, which application %q, added at run time, is in: keep the tier, or declare its applications in the file", tier, missing[tier])
	}
	return c.Validate(paths)
}

// AddApplication adds an application at run time.
func (r *Registry) AddApplication(ctx context.Context, n registry.NewApplication) (version int64, err error) {
	if !registry.ValidID(n.ID) {
		return 0, fault.New(fault.Invalid, "application %.64q: must be 1 to 256 bytes of UTF-8 without control characters", n.ID)
	}
	err = r.write(ctx, func(tx *sql.Tx) error {
		if version, err = readVersion(ctx, tx); err != nil {
			return err
		}
		if _, err := readApplication(ctx, tx, n.ID); fault.KindOf(err) != fault.NotFound {
			if err == nil {
				return errRollback
			}
			return err
		}
		if _, ok, err := readItem(ctx, tx, kindTier, n.Tier); err != nil {
			return err
		} else if !ok {
			return fault.New(fault.NotFound, "tier %.64q is not in the catalog", n.Tier)
		}
		if err := makeRoom(ctx, tx, n.Most); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO applications (id, tier, added) VALUES ($1, $2, $3)", n.ID, n.Tier, millis(r.now())); err != nil {
			return err
		}
		if err := raiseVersion(ctx, tx); err != nil {
			return err
		}
		version++
		return r.record(ctx, tx, registry.AuditEntry{
			Actor: n.Actor, Action: registry.ActionAdd, Subject: "application " + n.ID, After: "tier " + n.Tier,
		})
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

// makeRoom returns [fault.Exhausted] where one more application would be too many.
func makeRoom(ctx context.Context, q querier, most int) error {
	var atRunTime, inFile int
	if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM applications").Scan(&atRunTime); err != nil {
		return err
	}
	if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM catalog_items WHERE kind = $1", string(kindApplication)).Scan(&inFile); err != nil {
		return err
	}
	switch {
	case atRunTime >= most:
		return fault.New(fault.Exhausted, "%d applications were added at run time, and no more may be: declare those that are wanted in the catalog's file", atRunTime)
	case atRunTime+inFile >= catalog.MaxApplications:
		return fault.New(fault.Exhausted, "the catalog has %d applications, and no more may be in it", catalog.MaxApplications)
	default:
		return nil
	}
}

func readAdded(ctx context.Context, q querier) (added, error) {
	rows, err := q.QueryContext(ctx, "SELECT id, tier FROM applications")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := added{}
	for rows.Next() {
		var id, tier string
		if err := rows.Scan(&id, &tier); err != nil {
			return nil, err
		}
		all[id] = tier
	}
	return all, rows.Err()
}

// readApplication returns the document of an application: the file's, or that of one that was added at run time.
func readApplication(ctx context.Context, q querier, id string) (applicationDocument, error) {
	text, ok, err := readItem(ctx, q, kindApplication, id)
	if err != nil {
		return applicationDocument{}, err
	}
	var d applicationDocument
	if ok {
		return d, decode(text, &d)
	}
	err = q.QueryRowContext(ctx, "SELECT tier FROM applications WHERE id = $1", id).Scan(&d.Tier)
	if errors.Is(err, sql.ErrNoRows) {
		err = fault.New(fault.NotFound, "application %.64q is not in the catalog", id)
	}
	return d, err
}
