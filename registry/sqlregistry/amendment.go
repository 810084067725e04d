package sqlregistry

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/perdiem/perdiem/catalog"
)

// The documents of amendments. A tier's is a [tierDocument] with what was set alone.
type (
	endpointAmendment struct {
		Application *int64 `json:"application,omitempty"`
		Member      *int64 `json:"member,omitempty"`
		Cost        *int64 `json:"cost,omitempty"`
		Shadow      *bool  `json:"shadow,omitempty"`
	}
	applicationAmendment struct {
		Name      *string `json:"name,omitempty"`
		Tier      *string `json:"tier,omitempty"`
		Shadow    *bool   `json:"shadow,omitempty"`
		Suspended *bool   `json:"suspended,omitempty"`
	}
)

// amend sets what the amendment of an item that is there says.
func (i items) amend(key itemKey, text string) error {
	switch key.kind {
	case kindEndpoint:
		var d endpointAmendment
		if err := decode(text, &d); err != nil {
			return fmt.Errorf("amendment of %s %s: %w", key.kind, key.id, err)
		}
		e := i.endpoints[key.id]
		limits := limitsDocument{Application: d.Application, Member: d.Member}.limits()
		set(&e.Limits.Application, limits.Application)
		set(&e.Limits.Member, limits.Member)
		set(&e.Cost, d.Cost)
		set(&e.Shadow, d.Shadow)
	case kindTier:
		var d tierDocument
		if err := decode(text, &d); err != nil {
			return fmt.Errorf("amendment of %s %s: %w", key.kind, key.id, err)
		}
		t := i.tiers[key.id]
		for id, limits := range d.Limits {
			if i.endpoints[id] == nil {
				continue // it waits for the endpoint
			}
			if t.Limits == nil {
				t.Limits = make(map[string]catalog.PartialLimits)
			}
			t.Limits[id] = merge(limits.limits(), t.Limits[id])
		}
	case kindApplication:
		var d applicationAmendment
		if err := decode(text, &d); err != nil {
			return fmt.Errorf("amendment of %s %s: %w", key.kind, key.id, err)
		}
		a := i.applications[key.id]
		set(&a.Name, d.Name)
		set(&a.Tier, d.Tier)
		set(&a.Shadow, d.Shadow)
		set(&a.Suspended, d.Suspended)
	}
	return nil
}

// set sets what is told.
func set[T any](v, told *T) {
	if told != nil {
		*v = *told
	}
}

// or returns what over tells, else what under does.
func or[T any](over, under *T) *T {
	if over != nil {
		return over
	}
	return under
}

// attribute is what of an item can be amended.
type attribute struct {
	endpoint string // of a tier's limit; else ""
	name     string // "member"
}

// String returns the attribute as it is told to people: "member", "posts.create member".
func (a attribute) String() string {
	if a.endpoint == "" {
		return a.name
	}
	return a.endpoint + " " + a.name
}

// told is an attribute with its value in words.
type told struct {
	attribute
	value string
}

// amendedAttributes returns what an amendment tells, in order.
func amendedAttributes(key itemKey, text string) (all []told, err error) {
	switch key.kind {
	case kindEndpoint:
		var d endpointAmendment
		if err = decode(text, &d); err != nil {
			break
		}
		limits := limitsDocument{Application: d.Application, Member: d.Member}.limits()
		all = appendTold(all, "", "application", limits.Application, limitText)
		all = appendTold(all, "", "member", limits.Member, limitText)
		all = appendTold(all, "", "cost", d.Cost, costText)
		all = appendTold(all, "", "shadow", d.Shadow, strconv.FormatBool)
	case kindTier:
		var d tierDocument
		if err = decode(text, &d); err == nil {
			all = tierAttributes(partialLimits(d.Limits))
		}
	case kindApplication:
		var d applicationAmendment
		if err = decode(text, &d); err != nil {
			break
		}
		all = appendTold(all, "", "name", d.Name, strconv.Quote)
		all = appendTold(all, "", "tier", d.Tier, tierText)
		all = appendTold(all, "", "shadow", d.Shadow, strconv.FormatBool)
		all = appendTold(all, "", "suspended", d.Suspended, strconv.FormatBool)
	}
	if err != nil {
		return nil, fmt.Errorf("amendment of %s %s: %w", key.kind, key.id, err)
	}
	return all, nil
}

// attributes returns what an item of the catalog tells of what can be amended; nothing where there is none.
func (i items) attributes(key itemKey) map[attribute]string {
	var all []told
	switch key.kind {
	case kindEndpoint:
		if e := i.endpoints[key.id]; e != nil {
			all = appendTold(all, "", "application", &e.Limits.Application, limitText)
			all = appendTold(all, "", "member", &e.Limits.Member, limitText)
			all = appendTold(all, "", "cost", &e.Cost, costText)
			all = appendTold(all, "", "shadow", &e.Shadow, strconv.FormatBool)
		}
	case kindTier:
		if t := i.tiers[key.id]; t != nil {
			all = tierAttributes(t.Limits)
		}
	case kindApplication:
		if a := i.applications[key.id]; a != nil {
			all = appendTold(all, "", "name", &a.Name, strconv.Quote)
			all = appendTold(all, "", "tier", &a.Tier, tierText)
			all = appendTold(all, "", "shadow", &a.Shadow, strconv.FormatBool)
			all = appendTold(all, "", "suspended", &a.Suspended, strconv.FormatBool)
		}
	}
	by := make(map[attribute]string, len(all))
	for _, one := range all {
		by[one.attribute] = one.value
	}
	return by
}

func tierAttributes(limits map[string]catalog.PartialLimits) (all []told) {
	for _, id := range slices.Sorted(maps.Keys(limits)) {
		all = appendTold(all, id, "application", limits[id].Application, limitText)
		all = appendTold(all, id, "member", limits[id].Member, limitText)
	}
	return all
}

func appendTold[T any](all []told, endpoint, name string, v *T, text func(T) string) []told {
	if v == nil {
		return all
	}
	return append(all, told{attribute{endpoint, name}, text(*v)})
}

func limitText[L fmt.Stringer](l L) string { return l.String() }
func costText(cost int64) string           { return strconv.FormatInt(cost, 10) }
func tierText(name string) string          { return cmp.Or(name, "none") }

// revert returns an amendment without a field, or one endpoint's limits of a tier, and "" where nothing is left. ok is false where it does not tell it.
func revert(key itemKey, text, field string) (left string, ok bool, err error) {
	var d any
	switch key.kind {
	case kindTier:
		t := tierDocument{}
		if err := decode(text, &t); err != nil {
			return "", false, err
		}
		for id, l := range t.Limits {
			switch field {
			case id:
				l, ok = limitsDocument{}, true
			case attribute{id, "application"}.String():
				ok = ok || l.Application != nil
				l.Application = nil
			case attribute{id, "member"}.String():
				ok = ok || l.Member != nil
				l.Member = nil
			}
			if t.Limits[id] = l; l == (limitsDocument{}) {
				delete(t.Limits, id)
			}
		}
		d = t
	default:
		fields := make(map[string]json.RawMessage)
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			return "", false, err
		}
		_, ok = fields[field]
		delete(fields, field)
		d = fields
	}
	data, err := json.Marshal(d)
	if left = string(data); left == "{}" {
		left = ""
	}
	return left, ok, err
}
