package catalog_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

const limits = `
endpoints:
  - {id: a, match: /a, application: 100, member: 10}
  - {id: b, match: /b, application: 200}
catch_all: {application: 1000}
tiers:
  gold: {a: {application: 500}, "*": {member: 0}}
  silver: {a: {application: unlimited, member: 20}}
applications:
  - {id: plain}
  - {id: gold, tier: gold}
  - {id: silver, tier: silver}
  - {id: own, tier: gold, overrides: {a: {member: 7}, b: {application: 0}, "*": {application: 5}}}
  - {id: own.both, tier: silver, overrides: {a: {application: 1, member: unlimited}}}
`

func TestLimits(t *testing.T) {
	s := snapshot(t, limits)
	tests := []struct {
		app, endpoint       string
		application, member quota.Limit
	}{
		{"plain", "a", 100, 10},
		{"plain", "b", 200, quota.Unlimited},
		{"plain", "*", 1000, quota.Unlimited},
		{"gold", "a", 500, 10},
		{"gold", "b", 200, quota.Unlimited},
		{"gold", "*", 1000, 0},
		{"silver", "a", quota.Unlimited, 20},
		{"silver", "*", 1000, quota.Unlimited},
		{"own", "a", 500, 7},
		{"own", "b", 0, quota.Unlimited},
		{"own", "*", 5, 0},
		{"own.both", "a", 1, quota.Unlimited},
	}
	for _, test := range tests {
		app, ok := s.Application(test.app)
		endpoint, ok2 := s.Endpoint(test.endpoint)
		if !ok || !ok2 {
			t.Fatal(test)
		}
		want := quota.Limits{Application: test.application, Member: test.member}
		if got := s.Limits(app, endpoint); got != want {
			t.Errorf("%s, %s: got %v, want %v", test.app, test.endpoint, got, want)
		}
		if n := testing.AllocsPerRun(10, func() { s.Limits(app, endpoint) }); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func TestSnapshot(t *testing.T) {
	c := parse(t, limits)
	s, err := catalog.NewSnapshot(c, catalog.Options{Version: 42})
	if err != nil {
		t.Fatal(err)
	}
	// What is done to the catalog afterwards does not reach the snapshot.
	c.Endpoints[0].Limits.Member = 1
	*c.Tiers[0].Limits["a"].Application = 1
	*c.Applications[1].Overrides["a"].Member = 1
	c.CatchAll.Limits.Application = 1
	c.Applications[0].Tier = "gold"

	var endpoints, applications []string
	for _, e := range s.Endpoints() {
		endpoints = append(endpoints, e.ID)
	}
	for _, a := range s.Applications() {
		applications = append(applications, a.ID)
	}
	if diff := cmp.Diff([]string{"*", "a", "b"}, endpoints); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"gold", "own", "own.both", "plain", "silver"}, applications); diff != "" {
		t.Error(diff)
	}
	own, _ := s.Application("own")
	a, _ := s.Endpoint("a")
	if got := s.Limits(own, a); got != (quota.Limits{Application: 500, Member: 7}) || a.Limits.Member != 10 {
		t.Errorf("limits are now %v", got)
	}
	if _, ok := s.Application("nobody"); ok {
		t.Error("there is an application nobody")
	}
	if _, ok := s.Endpoint("c"); ok {
		t.Error("there is an endpoint c")
	}
	if s.Version() != 42 {
		t.Error(s.Version())
	}
	if e, _ := s.Endpoint("*"); e.Match() != "*" || a.Match() != "/a" {
		t.Error(e.Match(), a.Match())
	}
}

func TestNewSnapshotRefuses(t *testing.T) {
	s, err := catalog.NewSnapshot(&catalog.Catalog{}, catalog.Options{})
	if s != nil || fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v, %v", s, err)
	}
}
