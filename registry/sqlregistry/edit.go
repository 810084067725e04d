package sqlregistry

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// Edit makes one change to what was made at run time.
func (r *Registry) Edit(ctx context.Context, e registry.Edit, o registry.EditOptions) (edited registry.Edited, err error) {
	var m made
	err = r.write(ctx, func(tx *sql.Tx) error {
		if m, err = r.perform(ctx, tx, e, o.Actor); err != nil {
			return err
		}
		if o.DryRun {
			return errRollback // what follows takes longest, and nobody has to wait for it
		}
		if edited, err = r.compare(m, o.Expect); err != nil {
			return err
		}
		if m.before.equal(m.after) {
			return errRollback
		}
		if err := raiseVersion(ctx, tx); err != nil {
			return err
		}
		m.note.Actor = o.Actor
		if len(edited.Changes) == 0 {
			return r.record(ctx, tx, m.note)
		}
		made := edited.Changes[:len(edited.Changes)-len(m.lost)] // of the rest, the audit was told when it was lost
		return r.recordAll(ctx, tx, changeEntries(made, registry.AuditEntry{Actor: o.Actor, Action: m.note.Action}))
	})
	if err == nil && o.DryRun {
		edited, err = r.compare(m, o.Expect)
	}
	if err != nil && !errors.Is(err, registry.ErrOvertaken) {
		return registry.Edited{}, err
	}
	return edited, err
}

// made is an edit that was made, and not yet looked at.
type made struct {
	file          map[itemKey]string // the file's layer
	before, after runtimeLayer
	note          registry.AuditEntry // what the audit is told where nothing changes in what holds
	lost          []catalog.Change    // what goes with the application that it takes out of the catalog
	where         string              // what is said before what makes no sense
}

// perform makes an edit, whether or not it changes anything or makes sense.
func (r *Registry) perform(ctx context.Context, tx *sql.Tx, e registry.Edit, actor string) (m made, err error) {
	if version, err := readVersion(ctx, tx); err != nil {
		return m, err
	} else if version == 0 {
		return m, errNoCatalog
	}
	if m.file, err = readDocuments(ctx, tx, "catalog_items"); err != nil {
		return m, err
	}
	if m.before, err = readRuntime(ctx, tx); err != nil {
		return m, err
	}
	if e, ok := e.(registry.Remove); ok {
		key := itemKey{kind(e.Noun), e.ID}
		if _, stays := m.file[key]; key.kind == kindApplication && !stays {
			overrides, err := lostOverrides(ctx, tx, e.ID)
			if err != nil {
				return m, err
			}
			if m.lost, err = r.losses(ctx, tx, e.ID); err != nil {
				return m, err
			}
			m.lost = append(overrides, m.lost...)
		}
		m.where = fmt.Sprintf("%s %s is named elsewhere; change that first: ", e.Noun, e.ID)
	}
	if m.note, err = r.edit(ctx, tx, e, actor); err != nil {
		return m, err
	}
	m.after, err = readRuntime(ctx, tx)
	return m, err
}

// compare returns what an edit changes in what holds, and then what is lost with it. [fault.Invalid] where what would hold makes no sense; [registry.ErrOvertaken], with what it
// changes, where that is not what was expected. An edit that was made already, and sent again for want of an answer, is as it was expected to be.
func (r *Registry) compare(m made, expect string) (edited registry.Edited, err error) {
	d := newDigest()
	if !m.before.equal(m.after) {
		held, err := assemble(m.file)
		if err != nil {
			return edited, err
		}
		holds := held.Clone()
		if err := errors.Join(m.before.putOn(held), m.after.putOn(holds)); err != nil {
			return edited, err
		}
		if err := holds.Validate(r.paths); err != nil {
			return edited, fault.New(fault.Invalid, "%s%s", m.where, firstLines(fault.Message(err)))
		}
		edited.Changes = append(catalog.Diff(held, holds), m.lost...)
		edited.Touched = catalog.Touches(held, holds, registry.MaxTouched, d.touch)
	}
	for _, c := range edited.Changes {
		d.change(c)
	}
	edited.Digest = d.String()
	if expect != "" && edited.Digest != expect && !m.before.equal(m.after) {
		return edited, registry.ErrOvertaken
	}
	return edited, nil
}

// edit writes an edit. It returns what the audit is told where it changes nothing in what holds.
func (r *Registry) edit(ctx context.Context, tx *sql.Tx, e registry.Edit, actor string) (note registry.AuditEntry, err error) {
	switch e := e.(type) {
	case registry.PutEndpoint:
		return putEndpoint(ctx, tx, e)
	case registry.PutTier:
		return putTier(ctx, tx, e)
	case registry.PutApplication:
		return putApplication(ctx, tx, e)
	case registry.PutOverride:
		return setOverride(ctx, tx, e.Application, e.Endpoint, e.Limits)
	case registry.ClearOverride:
		return clearOverride(ctx, tx, e.Application, e.Endpoint)
	case registry.Remove:
		return r.remove(ctx, tx, e, actor)
	case registry.Revert:
		return revertField(ctx, tx, e)
	default:
		return note, fmt.Errorf("an edit of type %T", e)
	}
}

// putAdded is what the audit is told where something was added, which is a change in what holds.
var putAdded = registry.AuditEntry{Action: registry.ActionPut}

func putEndpoint(ctx context.Context, tx *sql.Tx, e registry.PutEndpoint) (registry.AuditEntry, error) {
	key := itemKey{kindEndpoint, e.ID}
	_, ok, err := readItem(ctx, tx, kindEndpoint, e.ID)
	if err != nil {
		return registry.AuditEntry{}, err
	}
	if ok {
		if err := putMatch(ctx, tx, key, e); err != nil {
			return registry.AuditEntry{}, err
		}
		var d, own endpointAmendment
		var doc endpointDocument
		if ok, err := readOwn(ctx, tx, key, &doc); err != nil {
			return registry.AuditEntry{}, err
		} else if ok {
			own = endpointAmendment{&doc.Application, &doc.Member, &doc.Cost, &doc.Shadow}
		}
		return amend(ctx, tx, key, &d, func() error {
			limits := newLimitsDocument(e.Limits)
			d = endpointAmendment{
				besides(own.Application, limits.Application, d.Application), besides(own.Member, limits.Member, d.Member),
				besides(own.Cost, e.Cost, d.Cost), besides(own.Shadow, e.Shadow, d.Shadow),
			}
			return nil
		})
	}
	if e.Match == "" {
		return registry.AuditEntry{}, fault.New(fault.NotFound, "there is no endpoint %.64q: give match as well to add it", e.ID)
	}
	added := catalog.NewEndpoint(e.ID)
	added.Method, added.Path = catalog.SplitMatch(e.Match)
	if e.When != nil {
		added.When = *e.When
	}
	set(&added.Limits.Application, e.Limits.Application)
	set(&added.Limits.Member, e.Limits.Member)
	set(&added.Cost, e.Cost)
	set(&added.Shadow, e.Shadow)
	return putAdded, insertAdded(ctx, tx, key, newEndpointDocument(added), false)
}

// putMatch changes what requests meet an endpoint that is there, unless it is the file's.
func putMatch(ctx context.Context, tx *sql.Tx, key itemKey, e registry.PutEndpoint) error {
	if e.Match == "" && e.When == nil {
		return nil
	}
	change := func(text string) (d endpointDocument, differs bool, err error) {
		if err := decode(text, &d); err != nil {
			return d, false, err
		}
		is := d.endpoint(key.id)
		match, when := is.Match(), is.When.String()
		if e.Match != "" && e.Match != match {
			if key.id == catalog.CatchAllID {
				return d, false, fault.New(fault.Invalid, "the catch-all matches whatever matches nothing else: leave match out")
			}
			is.Method, is.Path = catalog.SplitMatch(e.Match)
		}
		if e.When != nil {
			is.When = *e.When
		}
		one := catalog.Catalog{Endpoints: []catalog.Endpoint{is}}
		one.Canonicalize()
		is = one.Endpoints[0]
		return newEndpointDocument(is), is.Match() != match || is.When.String() != when, nil
	}
	if text, ok, err := readDocument(ctx, tx, "catalog_items", key); err != nil {
		return err
	} else if ok {
		if _, differs, err := change(text); err != nil || !differs {
			return err
		}
		return fault.New(fault.Conflict, "endpoint %s belongs to the catalog's file: change what it matches there, and apply the file", key.id)
	}
	text, _, err := readDocument(ctx, tx, "added", key)
	if err != nil {
		return err
	}
	d, differs, err := change(text)
	if err != nil || !differs {
		return err
	}
	changed, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE added SET document = $1 WHERE kind = $2 AND id = $3", string(changed), string(key.kind), key.id)
	return err
}

func putTier(ctx context.Context, tx *sql.Tx, t registry.PutTier) (registry.AuditEntry, error) {
	key := itemKey{kindTier, t.Name}
	for _, id := range slices.Sorted(maps.Keys(t.Limits)) {
		if err := requireEndpoint(ctx, tx, id); err != nil {
			return registry.AuditEntry{}, err
		}
	}
	_, ok, err := readItem(ctx, tx, kindTier, t.Name)
	if err != nil {
		return registry.AuditEntry{}, err
	}
	if !ok {
		return putAdded, insertAdded(ctx, tx, key, tierDocument{Limits: limitsDocuments(t.Limits)}, false)
	}
	var d, own tierDocument
	if _, err := readOwn(ctx, tx, key, &own); err != nil {
		return registry.AuditEntry{}, err
	}
	return amend(ctx, tx, key, &d, func() error {
		for id, limits := range t.Limits {
			if d.Limits == nil {
				d.Limits = make(map[string]limitsDocument)
			}
			l, of, was := newLimitsDocument(limits), own.Limits[id], d.Limits[id]
			if l = (limitsDocument{besides(of.Application, l.Application, was.Application), besides(of.Member, l.Member, was.Member)}); l != (limitsDocument{}) {
				d.Limits[id] = l
			}
		}
		return nil
	})
}

func putApplication(ctx context.Context, tx *sql.Tx, a registry.PutApplication) (registry.AuditEntry, error) {
	key := itemKey{kindApplication, a.ID}
	_, ok, err := readItem(ctx, tx, kindApplication, a.ID)
	if err != nil {
		return registry.AuditEntry{}, err
	}
	if !ok {
		var d applicationDocument
		set(&d.Name, a.Name)
		set(&d.Tier, a.Tier)
		set(&d.Shadow, a.Shadow)
		set(&d.Suspended, a.Suspended)
		return putAdded, insertAdded(ctx, tx, key, d, false)
	}
	var d, own applicationAmendment
	var doc applicationDocument
	if ok, err := readOwn(ctx, tx, key, &doc); err != nil {
		return registry.AuditEntry{}, err
	} else if ok {
		own = applicationAmendment{&doc.Name, &doc.Tier, &doc.Shadow, &doc.Suspended}
	}
	return amend(ctx, tx, key, &d, func() error {
		d = applicationAmendment{
			besides(own.Name, a.Name, d.Name), besides(own.Tier, a.Tier, d.Tier),
			besides(own.Shadow, a.Shadow, d.Shadow), besides(own.Suspended, a.Suspended, d.Suspended),
		}
		return nil
	})
}

// readOwn reads what an item was added with. ok is false where the file has it: what is set of it then is set even if the file says the same, since the
// next may say something else.
func readOwn(ctx context.Context, q querier, key itemKey, document any) (ok bool, err error) {
	if _, inFile, err := readDocument(ctx, q, "catalog_items", key); err != nil || inFile {
		return false, err
	}
	text, ok, err := readDocument(ctx, q, "added", key)
	if err != nil || !ok {
		return false, err
	}
	return true, decode(text, document)
}

// besides returns what is set of an item: what an edit tells, or else what was set before. What the item was added with does not have to be set as well,
// so that adding it twice is as adding it once.
func besides[T comparable](own, told, was *T) *T {
	if was == nil && own != nil && told != nil && *told == *own {
		return nil
	}
	return or(told, was)
}

// amend changes the amendment of an item: change is called with what was set before in d, and changes it.
func amend(ctx context.Context, tx *sql.Tx, key itemKey, d any, change func() error) (note registry.AuditEntry, err error) {
	before, ok, err := readDocument(ctx, tx, "amendments", key)
	if err == nil && ok {
		err = decode(before, d)
	}
	if err == nil {
		err = change()
	}
	if err != nil {
		return note, err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return note, err
	}
	return writeAmendment(ctx, tx, registry.ActionPut, key, before, string(text))
}

// writeAmendment replaces an amendment, and returns what the audit is told of it.
func writeAmendment(ctx context.Context, tx *sql.Tx, action string, key itemKey, before, after string) (note registry.AuditEntry, err error) {
	note = registry.AuditEntry{Action: action, Subject: string(key.kind) + " " + key.id}
	if after == "{}" {
		after = ""
	}
	if note.Before, err = describeAmendment(key, before); err != nil {
		return note, err
	}
	if note.After, err = describeAmendment(key, after); err != nil {
		return note, err
	}
	if after == "" {
		_, err = tx.ExecContext(ctx, "DELETE FROM amendments WHERE kind = $1 AND id = $2", string(key.kind), key.id)
	} else {
		_, err = tx.ExecContext(ctx, "INSERT INTO amendments (kind, id, document) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO UPDATE SET document = excluded.document",
			string(key.kind), key.id, after)
	}
	return note, err
}

// describeAmendment writes an amendment as "member 200 shadow true", cut short where it is long.
func describeAmendment(key itemKey, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	set, err := amendedAttributes(key, text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i, one := range set {
		if i > 0 {
			b.WriteByte(' ')
		}
		if b.Len() > maxDescription {
			fmt.Fprintf(&b, "and %d more", len(set)-i)
			break
		}
		b.WriteString(one.String() + " " + one.value)
	}
	return b.String(), nil
}

const maxDescription = 1000 // bytes, about

// remove takes away what was added.
func (r *Registry) remove(ctx context.Context, tx *sql.Tx, e registry.Remove, actor string) (note registry.AuditEntry, err error) {
	key, err := itemOf(e.Noun, e.ID)
	if err != nil {
		return note, err
	}
	gone, err := tx.ExecContext(ctx, "DELETE FROM added WHERE kind = $1 AND id = $2", string(key.kind), key.id)
	if err != nil {
		return note, err
	}
	rows, err := gone.RowsAffected()
	if err != nil {
		return note, err
	}
	_, inFile, err := readDocument(ctx, tx, "catalog_items", key)
	switch {
	case err != nil:
		return note, err
	case rows == 0 && inFile:
		return note, fault.New(fault.Conflict, "%s %s belongs to the catalog's file: take it out there, and apply the file", key.kind, key.id)
	case rows == 0:
		return note, notInCatalog(key)
	}
	note = registry.AuditEntry{Action: registry.ActionRemove, Subject: string(key.kind) + " " + key.id, After: "removed from under the file's"}
	if inFile {
		return note, nil
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM amendments WHERE kind = $1 AND id = $2", string(key.kind), key.id); err != nil {
		return note, err
	}
	switch key.kind {
	case kindEndpoint:
		_, err = tx.ExecContext(ctx, "DELETE FROM overrides WHERE endpoint = $1", key.id)
	case kindApplication:
		cleared, err := tx.ExecContext(ctx, "DELETE FROM overrides WHERE application = $1", key.id)
		if err != nil {
			return note, err
		}
		told, err := r.leave(ctx, tx, key.id, actor)
		if err != nil {
			return note, err
		}
		if n, err := cleared.RowsAffected(); err != nil {
			return note, err
		} else if n > 0 {
			told = append(told, registry.AuditEntry{
				Actor: actor, Action: registry.ActionClearOverride, Subject: "overrides of application " + key.id, After: fmt.Sprintf("%d cleared", n),
			})
		}
		if len(told) > 0 {
			return note, r.recordAll(ctx, tx, told)
		}
	}
	return note, err
}

// revertField takes back what was set.
func revertField(ctx context.Context, tx *sql.Tx, e registry.Revert) (note registry.AuditEntry, err error) {
	key, err := itemOf(e.Noun, e.ID)
	if err != nil {
		return note, err
	}
	before, ok, err := readDocument(ctx, tx, "amendments", key)
	if err != nil {
		return note, err
	}
	if !ok {
		if _, ok, err := readItem(ctx, tx, key.kind, key.id); err != nil {
			return note, err
		} else if !ok {
			return note, notInCatalog(key)
		}
		return note, fault.New(fault.NotFound, "nothing was set of %s %s at run time", key.kind, key.id)
	}
	after := ""
	if e.Field != "" {
		if after, ok, err = revert(key, before, e.Field); err != nil {
			return note, err
		} else if !ok {
			return note, fault.New(fault.NotFound, "%.64q of %s %s was not set at run time", e.Field, key.kind, key.id)
		}
	}
	return writeAmendment(ctx, tx, registry.ActionRevert, key, before, after)
}

func itemOf(noun registry.Noun, id string) (itemKey, error) {
	key := itemKey{kind(noun), id}
	if key.kind.section() < 0 {
		return key, fault.New(fault.Invalid, "%.64q is neither endpoint, tier nor application", string(noun))
	}
	return key, nil
}

func notInCatalog(key itemKey) error {
	return fault.New(fault.NotFound, "%s %.64q is not in the catalog", key.kind, key.id)
}

// firstLines returns the first few lines of a text that may have many.
func firstLines(text string) string {
	const most = 20
	lines := strings.SplitAfterN(text, "\n", most+1)
	if len(lines) <= most {
		return text
	}
	return strings.Join(lines[:most], "") + "and more"
}
