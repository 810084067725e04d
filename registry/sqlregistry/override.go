package sqlregistry

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// override is one that was made at run time.
type override struct {
	application, endpoint string
	limits                catalog.PartialLimits
}

// overrides is the layer over the file's, in the order of application and endpoint.
type overrides []override

// putOver changes c, the file's layer, to what holds. An override of something that c does not have waits for it to come back.
func (o overrides) putOver(c *catalog.Catalog) {
	applications, endpoints := indexApplications(c), indexEndpoints(c)
	for _, one := range o {
		a, ok := applications[one.application]
		if !ok || !endpoints[one.endpoint] {
			continue
		}
		if a.Overrides == nil {
			a.Overrides = make(map[string]catalog.PartialLimits)
		}
		a.Overrides[one.endpoint] = merge(one.limits, a.Overrides[one.endpoint])
	}
}

// keptOver returns the overrides that stay though the file, of which old was the last and c is the next, says another number, or
// no longer has what they name.
func (o overrides) keptOver(old, c *catalog.Catalog) []catalog.Change {
	var kept []catalog.Change
	applications, endpoints := indexApplications(c), indexEndpoints(c)
	hadApplications, hadEndpoints := indexApplications(old), indexEndpoints(old)
	for _, one := range o {
		change := catalog.Change{Op: catalog.Kept, Noun: "override", Name: one.application + " " + one.endpoint}
		a, ok := applications[one.application]
		if !ok || !endpoints[one.endpoint] {
			if _, had := hadApplications[one.application]; had && hadEndpoints[one.endpoint] {
				kept = append(kept, change)
			}
			continue
		}
		file := a.Overrides[one.endpoint]
		if differ(one.limits.Application, file.Application) {
			change.Field, change.From, change.To = "application", one.limits.Application.String(), file.Application.String()
			kept = append(kept, change)
		}
		if differ(one.limits.Member, file.Member) {
			change.Field, change.From, change.To = "member", one.limits.Member.String(), file.Member.String()
			kept = append(kept, change)
		}
	}
	return kept
}

// differ reports whether both are told, and not the same.
func differ[Limit comparable](a, b *Limit) bool { return a != nil && b != nil && *a != *b }

// merge returns what over tells, and what under tells where over does not.
func merge(over, under catalog.PartialLimits) catalog.PartialLimits {
	if over.Application == nil {
		over.Application = under.Application
	}
	if over.Member == nil {
		over.Member = under.Member
	}
	return over
}

func indexApplications(c *catalog.Catalog) map[string]*catalog.Application {
	index := make(map[string]*catalog.Application, len(c.Applications))
	for i := range c.Applications {
		index[c.Applications[i].ID] = &c.Applications[i]
	}
	return index
}

func indexEndpoints(c *catalog.Catalog) map[string]bool {
	index := map[string]bool{catalog.CatchAllID: true}
	for i := range c.Endpoints {
		index[c.Endpoints[i].ID] = true
	}
	return index
}

// SetOverride sets at run time the limits that l tells.
func (r *Registry) SetOverride(ctx context.Context, application, endpoint string, l catalog.PartialLimits, actor string) error {
	return r.write(ctx, func(tx *sql.Tx) error {
		note, err := setOverride(ctx, tx, application, endpoint, l)
		if err != nil {
			return err
		}
		if note.Before == note.After {
			return errRollback
		}
		return r.recordOverride(ctx, tx, note, actor)
	})
}

// setOverride writes an override, and returns what the audit is told of it.
func setOverride(ctx context.Context, tx *sql.Tx, application, endpoint string, l catalog.PartialLimits) (note registry.AuditEntry, err error) {
	if l.IsZero() {
		return note, fault.New(fault.Invalid, "the override tells no limit: give one for the application, for its members, or both")
	}
	if _, err := readApplication(ctx, tx, application); err != nil {
		return note, err
	}
	if err := requireEndpoint(ctx, tx, endpoint); err != nil {
		return note, err
	}
	if err := checkOverride(application, endpoint, l); err != nil {
		return note, err
	}
	before, err := readOverride(ctx, tx, application, endpoint)
	if err != nil {
		return note, err
	}
	after := merge(l, before)
	note = registry.AuditEntry{
		Action: registry.ActionSetOverride, Subject: describeOverride(application, endpoint), Before: describeLimits(before), After: describeLimits(after),
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO overrides (application, endpoint, application_limit, member_limit) VALUES ($1, $2, $3, $4) "+
		"ON CONFLICT (application, endpoint) DO UPDATE SET application_limit = excluded.application_limit, member_limit = excluded.member_limit",
		application, endpoint, (*int64)(after.Application), (*int64)(after.Member))
	return note, err
}

// checkOverride applies the catalog's own rules to an override, in the smallest catalog that can hold it.
func checkOverride(application, endpoint string, l catalog.PartialLimits) error {
	c := catalog.Catalog{
		CatchAll:     catalog.Endpoint{ID: catalog.CatchAllID, Cost: 1},
		Applications: []catalog.Application{{ID: application, Overrides: map[string]catalog.PartialLimits{endpoint: l}}},
	}
	if endpoint != catalog.CatchAllID {
		c.Endpoints = []catalog.Endpoint{{ID: endpoint, Path: "/", Cost: 1}}
	}
	return c.Validate(catalog.PathPolicy{})
}

// ClearOverride takes back what SetOverride set.
func (r *Registry) ClearOverride(ctx context.Context, application, endpoint, actor string) error {
	return r.write(ctx, func(tx *sql.Tx) error {
		note, err := clearOverride(ctx, tx, application, endpoint)
		if err != nil {
			return err
		}
		return r.recordOverride(ctx, tx, note, actor)
	})
}

// clearOverride removes an override, and returns what the audit is told of it.
func clearOverride(ctx context.Context, tx *sql.Tx, application, endpoint string) (note registry.AuditEntry, err error) {
	before, err := readOverride(ctx, tx, application, endpoint)
	if err != nil {
		return note, err
	}
	if before.IsZero() {
		return note, whyNothingToClear(ctx, tx, application, endpoint)
	}
	note = registry.AuditEntry{Action: registry.ActionClearOverride, Subject: describeOverride(application, endpoint), Before: describeLimits(before)}
	_, err = tx.ExecContext(ctx, "DELETE FROM overrides WHERE application = $1 AND endpoint = $2", application, endpoint)
	return note, err
}

// recordOverride makes a changed override known to nodes and to the audit.
func (r *Registry) recordOverride(ctx context.Context, tx *sql.Tx, note registry.AuditEntry, actor string) error {
	if err := raiseVersion(ctx, tx); err != nil {
		return err
	}
	note.Actor = actor
	return r.record(ctx, tx, note)
}

func describeOverride(application, endpoint string) string {
	return "override " + application + " " + endpoint
}

// whyNothingToClear returns the error that says why there is no override of run time.
func whyNothingToClear(ctx context.Context, q querier, application, endpoint string) error {
	a, err := readApplication(ctx, q, application)
	if err != nil {
		return err
	}
	if err := requireEndpoint(ctx, q, endpoint); err != nil {
		return err
	}
	if _, ok := a.Overrides[endpoint]; ok {
		return fault.New(fault.Conflict, "the override of %s for %s belongs to the catalog's file: take it out there, and apply the file", application, endpoint)
	}
	return fault.New(fault.NotFound, "application %s has no override for %s", application, endpoint)
}

func requireEndpoint(ctx context.Context, q querier, id string) error {
	_, ok, err := readItem(ctx, q, kindEndpoint, id)
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "endpoint %.64q is not in the catalog", id)
	}
	return err
}

// readOverride returns what was set at run time: nothing where nothing was.
func readOverride(ctx context.Context, q querier, application, endpoint string) (catalog.PartialLimits, error) {
	var d limitsDocument
	err := q.QueryRowContext(ctx, "SELECT application_limit, member_limit FROM overrides WHERE application = $1 AND endpoint = $2",
		application, endpoint).Scan(&d.Application, &d.Member)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return d.limits(), err
}

// describeLimits writes limits as "application 500 member 50".
func describeLimits(l catalog.PartialLimits) string {
	var parts []string
	if l.Application != nil {
		parts = append(parts, "application "+l.Application.String())
	}
	if l.Member != nil {
		parts = append(parts, "member "+l.Member.String())
	}
	return strings.Join(parts, " ")
}

func readOverrides(ctx context.Context, q querier) (overrides, error) {
	return scanOverrides(ctx, q, "ORDER BY application, endpoint")
}

// scanOverrides returns the overrides that a query's end asks for.
func scanOverrides(ctx context.Context, q querier, end string, args ...any) (overrides, error) {
	rows, err := q.QueryContext(ctx, "SELECT application, endpoint, application_limit, member_limit FROM overrides "+end, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all overrides
	for rows.Next() {
		var one override
		var d limitsDocument
		if err := rows.Scan(&one.application, &one.endpoint, &d.Application, &d.Member); err != nil {
			return nil, err
		}
		one.limits = d.limits()
		all = append(all, one)
	}
	return all, rows.Err()
}
