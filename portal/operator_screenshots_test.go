package portal

import (
	"strings"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

// operated has operators change much, and applications use much.
func (s *site) operated() {
	s.Helper()
	limit := func(n quota.Limit) *quota.Limit { return &n }
	for _, e := range []registry.Edit{
		registry.PutEndpoint{ID: "posts.create", Limits: catalog.PartialLimits{Application: limit(650)}, Shadow: new(true)},
		registry.PutEndpoint{
			ID: "likes.find", Match: "GET /rest/likes", When: &catalog.Conditions{Header: map[string]string{"X-RestLi-Method": "FINDER"}, Query: map[string]string{"q": "*"}},
			Limits: catalog.PartialLimits{Application: limit(90000), Member: limit(250)},
		},
		registry.PutTier{Name: "partner"},
		registry.PutTier{Name: "development", Limits: map[string]catalog.PartialLimits{"posts.find": {Application: limit(2000)}, "organizations.resources03.list": {Member: limit(9)}}},
		registry.PutApplication{ID: "acme", Name: new("Acme Scheduler for teams"), Shadow: new(true)},
		registry.PutOverride{Application: "acme", Endpoint: "posts.find", Limits: catalog.PartialLimits{Application: limit(quota.Unlimited), Member: limit(40)}},
		registry.PutOverride{Application: "acme", Endpoint: "*", Limits: catalog.PartialLimits{Application: limit(0)}},
		registry.PutApplication{ID: "met-today", Tier: new("development")},
		registry.PutApplication{ID: "long-" + strings.Repeat("x", 251)},
		registry.PutApplication{ID: "partner-07", Suspended: new(true)},
	} {
		if _, err := s.registry.Edit(s.Context(), e, registry.EditOptions{Actor: operatorEmail}); err != nil {
			s.Fatal(err)
		}
	}
	if err := s.refresh(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.counts.set("acme", called()...)
	s.counts.set("much", s.calledMuch()...)
	for i, a := range s.now.Load().Applications() {
		if i%4 == 0 {
			s.counts.set(a.ID, usage.Counts{Endpoint: "posts.create", Used: int64(30*i) % 400, Refused: int64(i % 3 * 40), RefusedForMember: int64(i % 3 * 7)})
		}
	}
}
