// Package registrytest is what every [registry.Registry] must do.
package registrytest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

// Clock is the time that the registries under test are given. It stands still unless it is moved, and is safe for concurrent use.
type Clock struct{ millis atomic.Int64 }

// NewClock returns a clock that shows 2026-11-23T12:00:00Z.
func NewClock() *Clock {
	c := new(Clock)
	c.millis.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMilli())
	return c
}

// Now returns what the clock shows.
func (c *Clock) Now() time.Time { return time.UnixMilli(c.millis.Load()).UTC() }

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) { c.millis.Add(d.Milliseconds()) }

// Run runs the suite. Each call of open returns a registry of its own, empty, that goes by the clock; the suite closes it.
func Run(t *testing.T, open func(t *testing.T, clock *Clock) registry.Registry) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"an empty registry", testEmpty},
		{"apply brings what the file says", testApply},
		{"apply is idempotent", testApplyTwice},
		{"apply removes what the file brought", testApplyRemoves},
		{"an invalid catalog changes nothing", testApplyInvalid},
		{"a dry run changes nothing", testDryRun},
		{"every field survives", testFields},
		{"the caller's catalog is the caller's", testCatalogIsOwn},
		{"an override of run time wins", testOverrideWins},
		{"an override is told of one kind at a time", testOverrideMerges},
		{"an override of run time outlives its name", testOverrideOutlives},
		{"overrides that cannot be", testOverrideErrors},
		{"an application added at run time", testAddApplication},
		{"applications that cannot be added", testAddErrors},
		{"an application added at run time and the file's", testAddUnderFile},
		{"what is amended", testAmend},
		{"what is amended again", testAmendAgain},
		{"an amendment outlives its name", testAmendmentOutlives},
		{"items added at run time", testAddItems},
		{"items removed at run time", testRemove},
		{"whom an edit touches", testTouched},
		{"an edit that was overtaken", testOvertaken},
		{"an edit that is sent again", testSentAgain},
		{"edits that cannot be", testEditErrors},
		{"overrides page by page", testOverridePages},
		{"tokens", testTokens},
		{"tokens that cannot be", testTokenErrors},
		{"a revocation", testRevoke},
		{"a removed application's tokens", testRemovalRevokes},
		{"a long log of revocations", testRevocationPages},
		{"old tokens are forgotten", testForget},
		{"many old tokens are forgotten", testForgetMany},
		{"no more tokens than may be", testMaxOwn},
		{"tokens page by page", testTokenPages},
		{"tokens that hold", testHoldingTokens},
		{"accounts", testAccounts},
		{"accounts that cannot be", testAccountErrors},
		{"accounts page by page", testAccountPages},
		{"accounts of those who sign in elsewhere", testLinks},
		{"grants", testGrants},
		{"grants that cannot be", testGrantErrors},
		{"a removed application's grants", testRemovalWithdraws},
		{"a removed account", testRemoveAccount},
		{"sessions", testSessions},
		{"sessions that cannot be", testSessionErrors},
		{"sessions end", testSessionsEnd},
		{"old sessions are forgotten", testForgetSessions},
		{"sessions, accounts and passwords at once", testSessionRace},
		{"settings", testSettings},
		{"a setting that is kept", testKeepSetting},
		{"the operator's key", testOperatorKey},
		{"the audit", testAudit},
		{"the audit page by page", testAuditPages},
		{"the audit of a large file", testAuditOfMany},
		{"many at once", testConcurrency},
		{"a cancelled context", testCancelled},
	} {
		t.Run(test.name, func(t *testing.T) {
			clock := NewClock()
			r := open(t, clock)
			t.Cleanup(func() {
				if err := r.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test.run(t, &fixture{Registry: r, clock: clock})
		})
	}
}

// fixture is a registry under test with what the tests say often.
type fixture struct {
	registry.Registry
	clock *Clock
	made  atomic.Uint64
}

// Catalog returns a small catalog that uses every kind of item: endpoints posts.create and posts.find, tier development, and applications
// acme (in the tier) and beta (with an override of posts.create).
func Catalog() *catalog.Catalog {
	c := &catalog.Catalog{
		Endpoints: []catalog.Endpoint{
			{ID: "posts.create", Method: "POST", Path: "/rest/posts", Limits: quota.Limits{Application: 100_000, Member: 150}, Cost: 1},
			{
				ID: "posts.find", Method: "GET", Path: "/rest/posts",
				When:   catalog.Conditions{Header: map[string]string{"X-Restli-Method": "FINDER"}, Query: map[string]string{"q": "author", "ids": catalog.Present}},
				Limits: quota.Limits{Application: 500_000, Member: quota.Unlimited}, Cost: 2,
			},
		},
		CatchAll: catalog.Endpoint{ID: catalog.CatchAllID, Limits: quota.Limits{Application: 1000, Member: 100}, Cost: 1},
		Tiers: []catalog.Tier{
			{Name: "development", Limits: map[string]catalog.PartialLimits{"posts.create": Limits(500, 50)}},
		},
		Applications: []catalog.Application{
			{ID: "acme", Name: "Acme Scheduler", Tier: "development"},
			{ID: "beta", Name: "Beta", Overrides: map[string]catalog.PartialLimits{"posts.create": {Application: new(quota.Limit(2000))}}},
		},
	}
	c.Canonicalize()
	return c
}

// Limits returns limits that tell both kinds.
func Limits(application, member quota.Limit) catalog.PartialLimits {
	return catalog.PartialLimits{Application: &application, Member: &member}
}

func (f *fixture) apply(t *testing.T, c *catalog.Catalog) []string {
	t.Helper()
	changes, err := f.Apply(t.Context(), c, registry.ApplyOptions{Source: "catalog.yaml", Actor: "operator"})
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	lines := make([]string, len(changes))
	for i, change := range changes {
		lines[i] = change.String()
	}
	return lines
}

func (f *fixture) catalog(t *testing.T) (*catalog.Catalog, int64) {
	t.Helper()
	c, version, err := f.Catalog(t.Context())
	if err != nil {
		t.Fatalf("Catalog: %v", err)
	}
	if err := c.Validate(catalog.PathPolicy{}); err != nil {
		t.Errorf("what holds is not valid: %v", err)
	}
	if alone, err := f.Version(t.Context()); err != nil || alone != version {
		t.Errorf("Version: %d, %v; Catalog says %d", alone, err, version)
	}
	return c, version
}

// application returns what holds for an application, or fails.
func (f *fixture) application(t *testing.T, id string) catalog.Application {
	t.Helper()
	c, _ := f.catalog(t)
	for _, a := range c.Applications {
		if a.ID == id {
			return a
		}
	}
	t.Fatalf("no application %s in what holds", id)
	return catalog.Application{}
}

// hash returns a hash that was not used before.
func (f *fixture) hash() registry.Hash {
	var h registry.Hash
	copy(h[:], fmt.Appendf(nil, "hash %d", f.made.Add(1)))
	return h
}

// lastHash returns the hash that was made last.
func (f *fixture) lastHash() registry.Hash {
	var h registry.Hash
	copy(h[:], fmt.Appendf(nil, "hash %d", f.made.Load()))
	return h
}

// Tokens returns all tokens of an application, which it asks for in small pages.
func (f *fixture) Tokens(ctx context.Context, application string) (all []registry.Token, err error) {
	for next := int64(0); ; {
		var page []registry.Token
		if page, next, err = f.Registry.Tokens(ctx, application, next, 2); err != nil {
			return nil, err
		}
		if len(page) > 2 || len(page) < 2 && next != 0 {
			return nil, fmt.Errorf("a page of 2 has %d tokens, and %d is next", len(page), next)
		}
		if all = append(all, page...); next == 0 {
			return all, nil
		}
	}
}

func (f *fixture) issue(t *testing.T, n registry.NewToken) registry.Token {
	t.Helper()
	if n.Hash == (registry.Hash{}) {
		n.Hash = f.hash()
	}
	token, err := f.IssueToken(t.Context(), n)
	if err != nil {
		t.Fatalf("IssueToken: %v", err)
	}
	return token
}

// wantKind fails unless err is of the kind.
func wantKind(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("%s: error %v, want one of kind %q", what, err, kind)
	}
}
