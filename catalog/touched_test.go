package catalog

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/quota"
)

func TestTouches(t *testing.T) {
	parse := func(text string) *Catalog {
		t.Helper()
		c, err := Parse("catalog.yaml", []byte(text), PathPolicy{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := parse(`
endpoints: [{id: a, match: /a, application: 10}, {id: b, match: /b}, {id: gone, match: /gone}]
catch_all: {application: 5}
tiers: {low: {a: {application: 1}}, high: {a: {application: 100}, b: {member: 7}}}
applications: [{id: one, tier: low}, {id: two}, {id: three, tier: low, overrides: {a: {application: 3}}}, {id: left}]
`)
	changed := parse(`
endpoints: [{id: a, match: /a, application: 11}, {id: b, match: /b}, {id: come, match: /come}]
catch_all: {application: 5}
tiers: {low: {a: {application: 2}}, high: {a: {application: 100}, b: {member: 7}}}
applications: [{id: one, tier: high}, {id: two}, {id: three, tier: low, overrides: {a: {application: 3, member: 3}}}, {id: joined}]
`)
	limits := func(application, member quota.Limit) quota.Limits {
		return quota.Limits{Application: application, Member: member}
	}
	want := Touched{Applications: 3, Limits: 4, First: []Touch{
		{"one", "a", limits(1, quota.Unlimited), limits(100, quota.Unlimited)},
		{"one", "b", limits(quota.Unlimited, quota.Unlimited), limits(quota.Unlimited, 7)},
		{"three", "a", limits(3, quota.Unlimited), limits(3, 3)},
		{"two", "a", limits(10, quota.Unlimited), limits(11, quota.Unlimited)},
	}}
	if diff := cmp.Diff(want, Touches(old, changed, 100, nil)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	named := want.First
	want.First = named[:2]
	var all []Touch
	if diff := cmp.Diff(want, Touches(old, changed, 2, func(t Touch) { all = append(all, t) })); diff != "" {
		t.Errorf("the first two (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(named, all); diff != "" {
		t.Errorf("each of them (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(Touched{}, Touches(old, old.Clone(), 100, nil)); diff != "" {
		t.Errorf("nothing changed (-want +got)\n%s", diff)
	}
	// What is told here is what the snapshots say.
	before, err := NewSnapshot(old, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, touch := range Touches(old, changed, 100, nil).First {
		app, _ := before.Application(touch.Application)
		endpoint, _ := before.Endpoint(touch.Endpoint)
		if got := before.Limits(app, endpoint); got != touch.Before {
			t.Errorf("%s at %s: the snapshot says %v, not %v", touch.Application, touch.Endpoint, got, touch.Before)
		}
	}
}
