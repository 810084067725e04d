package registrytest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

func testEmpty(t *testing.T, f *fixture) {
	ctx := t.Context()
	_, _, err := f.Catalog(ctx)
	wantKind(t, "Catalog", err, fault.NotFound)
	if version, err := f.Version(ctx); version != 0 || err != nil {
		t.Errorf("Version: %d, %v", version, err)
	}
	_, err = f.Tokens(ctx, "acme")
	wantKind(t, "Tokens", err, fault.NotFound)
	_, err = f.TokenByHash(ctx, f.hash())
	wantKind(t, "TokenByHash", err, fault.NotFound)
	if entries, err := f.Audit(ctx, 0, 1000); len(entries) != 0 || err != nil {
		t.Errorf("Audit: %v, %v", entries, err)
	}
	for _, since := range []int64{-1, 0} {
		if revoked, next, err := f.Revocations(ctx, since); len(revoked) != 0 || next != 0 || err != nil {
			t.Errorf("Revocations(%d): %v, %d, %v", since, revoked, next, err)
		}
	}
}

func testApply(t *testing.T, f *fixture) {
	lines := f.apply(t, Catalog())
	for _, want := range []string{"+ endpoint posts.create", "+ endpoint posts.find", "+ tier development", "+ application acme", "+ application beta"} {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("no line %q in %q", want, lines)
		}
	}
	got, version := f.catalog(t)
	if diff := cmp.Diff(Catalog(), got); diff != "" {
		t.Errorf("what holds (-want +got):\n%s", diff)
	}
	if version < 1 {
		t.Errorf("version %d", version)
	}

	c := Catalog()
	c.Endpoints[0].Limits.Member = 200
	lines = f.apply(t, c)
	if want := []string{"~ endpoint posts.create member 150 -> 200"}; !slices.Equal(lines, want) {
		t.Errorf("changes: %q, want %q", lines, want)
	}
	got, later := f.catalog(t)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("what holds (-want +got):\n%s", diff)
	}
	if later <= version {
		t.Errorf("version went from %d to %d", version, later)
	}
}

func testApplyTwice(t *testing.T, f *fixture) {
	f.apply(t, Catalog())
	_, version := f.catalog(t)
	entries, err := f.Audit(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	shuffled := Catalog() // the order in a file is of no account
	slices.Reverse(shuffled.Endpoints)
	slices.Reverse(shuffled.Applications)
	if lines := f.apply(t, shuffled); len(lines) != 0 {
		t.Errorf("changes: %q, want none", lines)
	}
	if _, again := f.catalog(t); again != version {
		t.Errorf("version went from %d to %d", version, again)
	}
	if again, _ := f.Audit(t.Context(), 0, 1000); len(again) != len(entries) {
		t.Errorf("the audit grew from %d to %d entries", len(entries), len(again))
	}
}

func testApplyRemoves(t *testing.T, f *fixture) {
	f.apply(t, Catalog())
	c := Catalog()
	c.Endpoints = c.Endpoints[1:]       // posts.create
	c.Tiers = nil                       // development
	c.Applications = c.Applications[1:] // acme
	c.Applications[0].Overrides = nil
	lines := f.apply(t, c)
	for _, want := range []string{"- endpoint posts.create", "- tier development", "- application acme"} {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("no line %q in %q", want, lines)
		}
	}
	c.Canonicalize()
	got, _ := f.catalog(t)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("what holds (-want +got):\n%s", diff)
	}
}

func testApplyInvalid(t *testing.T, f *fixture) {
	f.apply(t, Catalog())
	c := Catalog()
	c.Applications[0].Tier = "nowhere"
	_, err := f.Apply(t.Context(), c, registry.ApplyOptions{Actor: "operator"})
	wantKind(t, "Apply", err, fault.Invalid)
	got, version := f.catalog(t)
	if diff := cmp.Diff(Catalog(), got); diff != "" || version != 1 {
		t.Errorf("version %d, what holds (-want +got):\n%s", version, diff)
	}
}

func testDryRun(t *testing.T, f *fixture) {
	c := Catalog()
	changes, err := f.Apply(t.Context(), c, registry.ApplyOptions{DryRun: true})
	if err != nil || len(changes) == 0 {
		t.Errorf("Apply: %v, %v", changes, err)
	}
	_, _, err = f.Catalog(t.Context())
	wantKind(t, "Catalog", err, fault.NotFound)

	f.apply(t, c)
	token := f.issue(t, registry.NewToken{Application: "acme"})
	c.Applications = c.Applications[1:]
	changes, err = f.Apply(t.Context(), c, registry.ApplyOptions{DryRun: true})
	if lost := (catalog.Change{Op: catalog.Removed, Noun: "application", Name: "acme", Field: "tokens", From: "1"}); err != nil || !slices.Contains(changes, lost) {
		t.Errorf("Apply: %v, %v; want %v among them", changes, err, lost)
	}
	got, version := f.catalog(t)
	if diff := cmp.Diff(Catalog(), got); diff != "" || version != 1 {
		t.Errorf("version %d, what holds (-want +got):\n%s", version, diff)
	}
	if tokens, err := f.Tokens(t.Context(), "acme"); err != nil || len(tokens) != 1 || tokens[0] != token {
		t.Errorf("tokens: %v, %v", tokens, err)
	}
}

func testFields(t *testing.T, f *fixture) {
	c := Catalog()
	c.Endpoints[0].Shadow = true
	c.Endpoints[0].Method = ""
	c.Endpoints[0].Path = "/rest/posts/{id}/{rest...}"
	c.Endpoints[0].Cost = quota.MaxCost
	c.Endpoints[0].Limits = quota.Limits{Application: quota.MaxLimit, Member: quota.NoAccess}
	c.CatchAll.Shadow = true
	c.CatchAll.Cost = 7
	c.CatchAll.Limits = quota.Limits{Application: quota.Unlimited, Member: quota.Unlimited}
	c.Tiers = append(c.Tiers, catalog.Tier{Name: "empty"}, catalog.Tier{Name: "unlimited", Limits: map[string]catalog.PartialLimits{
		"posts.create": Limits(quota.Unlimited, quota.NoAccess), catalog.CatchAllID: {Member: new(quota.MaxLimit)},
	}})
	c.Applications = append(c.Applications,
		catalog.Application{ID: `it's "odd": <a/b>\ % _ ; -- é 日本`, Name: "Ünïcode & <html>", Shadow: true, Suspended: true, Overrides: map[string]catalog.PartialLimits{
			catalog.CatchAllID: Limits(quota.NoAccess, quota.Unlimited), "posts.find": {Member: new(quota.Limit(1))},
		}},
		catalog.Application{ID: strings.Repeat("x", 256)})
	c.Canonicalize()
	f.apply(t, c)
	got, _ := f.catalog(t)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("what holds (-want +got):\n%s", diff)
	}
	if lines := f.apply(t, c); len(lines) != 0 {
		t.Errorf("a second time: %q", lines)
	}
}

func testCatalogIsOwn(t *testing.T, f *fixture) {
	given := Catalog()
	f.apply(t, given)
	if err := f.SetOverride(t.Context(), "beta", "posts.create", Limits(1, 2), ""); err != nil {
		t.Fatal(err)
	}
	f.apply(t, given)
	if diff := cmp.Diff(Catalog(), given); diff != "" {
		t.Errorf("Apply changed what it was given (-want +got):\n%s", diff)
	}
	first, _ := f.catalog(t)
	want := first.Clone()
	first.Applications[1].Overrides["posts.create"] = Limits(99, 99)
	first.Endpoints[0].ID = "mine"
	if second, _ := f.catalog(t); !cmp.Equal(want, second) {
		t.Errorf("what a caller did to its catalog shows in another's:\n%s", cmp.Diff(want, second))
	}
}

func testOverrideWins(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	_, before := f.catalog(t)
	set := func(application, endpoint string, l catalog.PartialLimits) {
		t.Helper()
		if err := f.SetOverride(ctx, application, endpoint, l, "operator"); err != nil {
			t.Fatal(err)
		}
	}
	set("acme", "posts.create", catalog.PartialLimits{Application: new(quota.Limit(700))})
	set("beta", "posts.create", Limits(10, 5))
	set("beta", catalog.CatchAllID, Limits(quota.Unlimited, quota.NoAccess))
	want := Catalog()
	want.Applications[0].Overrides = map[string]catalog.PartialLimits{"posts.create": {Application: new(quota.Limit(700))}}
	want.Applications[1].Overrides = map[string]catalog.PartialLimits{
		"posts.create": Limits(10, 5), catalog.CatchAllID: Limits(quota.Unlimited, quota.NoAccess),
	}
	got, after := f.catalog(t)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what holds (-want +got):\n%s", diff)
	}
	if after <= before {
		t.Errorf("version went from %d to %d", before, after)
	}

	// The file says another number for what was overridden: the override stays, and the answer says so.
	c := Catalog()
	c.Applications[1].Overrides["posts.create"] = Limits(3000, 5)
	lines := f.apply(t, c)
	if want := []string{"! kept override beta posts.create application 10; the file says 3000"}; !slices.Equal(lines, want) {
		t.Errorf("changes: %q, want %q", lines, want)
	}
	if got, _ := f.catalog(t); !cmp.Equal(want, got) {
		t.Errorf("what holds (-want +got):\n%s", cmp.Diff(want, got))
	}

	// Cleared, the file's holds again.
	if err := f.ClearOverride(ctx, "beta", "posts.create", "operator"); err != nil {
		t.Fatal(err)
	}
	want.Applications[1].Overrides["posts.create"] = Limits(3000, 5)
	if got, _ := f.catalog(t); !cmp.Equal(want, got) {
		t.Errorf("what holds (-want +got):\n%s", cmp.Diff(want, got))
	}
}

func testOverrideMerges(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	for _, step := range []struct {
		set  catalog.PartialLimits
		want catalog.PartialLimits
	}{
		{catalog.PartialLimits{Member: new(quota.Limit(7))}, Limits(2000, 7)}, // the application's is the file's
		{catalog.PartialLimits{Application: new(quota.Limit(9))}, Limits(9, 7)},
		{Limits(1, 2), Limits(1, 2)},
		{catalog.PartialLimits{Member: new(quota.NoAccess)}, Limits(1, 0)},
	} {
		if err := f.SetOverride(ctx, "beta", "posts.create", step.set, ""); err != nil {
			t.Fatal(err)
		}
		if got := f.application(t, "beta").Overrides["posts.create"]; !cmp.Equal(step.want, got) {
			t.Errorf("after setting %s:\n%s", cmp.Diff(catalog.PartialLimits{}, step.set), cmp.Diff(step.want, got))
		}
	}
	_, version := f.catalog(t)
	if err := f.SetOverride(ctx, "beta", "posts.create", Limits(1, 0), ""); err != nil {
		t.Fatal(err)
	}
	if _, again := f.catalog(t); again != version {
		t.Errorf("setting what is set took the version from %d to %d", version, again)
	}
}

func testOverrideOutlives(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	for _, one := range [][2]string{{"acme", "posts.create"}, {"acme", "posts.find"}, {"beta", "posts.find"}} {
		if err := f.SetOverride(ctx, one[0], one[1], Limits(3, 2), ""); err != nil {
			t.Fatal(err)
		}
	}
	without := Catalog()
	without.Applications = without.Applications[1:] // acme
	without.Endpoints = without.Endpoints[:1]       // posts.find
	lines := f.apply(t, without)
	for _, want := range []string{
		"! kept override acme posts.create",
		"! kept override acme posts.find",
		"! kept override beta posts.find",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in %q", want, lines)
		}
	}
	got, _ := f.catalog(t)
	if diff := cmp.Diff(without, got); diff != "" {
		t.Errorf("what holds (-want +got):\n%s", diff)
	}
	for _, line := range f.apply(t, without) {
		t.Errorf("applied again, it says %q", line)
	}

	// An override can be cleared while its name is gone; the others hold again when theirs is back.
	if err := f.ClearOverride(ctx, "acme", "posts.find", ""); err != nil {
		t.Fatal(err)
	}
	f.apply(t, Catalog())
	if diff := cmp.Diff(map[string]catalog.PartialLimits{"posts.create": Limits(3, 2)}, f.application(t, "acme").Overrides); diff != "" {
		t.Errorf("acme's overrides (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Limits(3, 2), f.application(t, "beta").Overrides["posts.find"]); diff != "" {
		t.Errorf("beta's override (-want +got):\n%s", diff)
	}
}

func testOverrideErrors(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	_, version := f.catalog(t)
	for _, test := range []struct {
		name                  string
		application, endpoint string
		limits                catalog.PartialLimits
		kind                  fault.Kind
		names                 string // what the message must name
	}{
		{"an unknown application", "nobody", "posts.create", Limits(1, 1), fault.NotFound, `application "nobody"`},
		{"an unknown endpoint", "acme", "posts.drop", Limits(1, 1), fault.NotFound, `endpoint "posts.drop"`},
		{"no limit at all", "acme", "posts.create", catalog.PartialLimits{}, fault.Invalid, ""},
		{"a negative limit", "acme", "posts.create", Limits(-1, 1), fault.Invalid, "-1"},
		{"a limit that is too high", "acme", "posts.create", Limits(1, quota.MaxLimit+1), fault.Invalid, "1000000000000000"},
	} {
		err := f.SetOverride(ctx, test.application, test.endpoint, test.limits, "")
		wantKind(t, test.name, err, test.kind)
		if !strings.Contains(fault.Message(err), test.names) {
			t.Errorf("%s: message %q does not name %q", test.name, fault.Message(err), test.names)
		}
	}
	for _, test := range []struct {
		name                  string
		application, endpoint string
		kind                  fault.Kind
	}{
		{"an unknown application", "nobody", "posts.create", fault.NotFound},
		{"an unknown endpoint", "acme", "posts.drop", fault.NotFound},
		{"no override", "acme", "posts.create", fault.NotFound},
		{"the file's override", "beta", "posts.create", fault.Conflict},
	} {
		wantKind(t, "clear "+test.name, f.ClearOverride(ctx, test.application, test.endpoint, ""), test.kind)
	}
	if _, again := f.catalog(t); again != version {
		t.Errorf("version went from %d to %d", version, again)
	}
}
