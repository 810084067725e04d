package registrytest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

// edit makes an edit, first as a dry run, which must tell the same and change nothing.
func (f *fixture) edit(t *testing.T, e registry.Edit) registry.Edited {
	t.Helper()
	before, version := f.catalog(t)
	told, err := f.Edit(t.Context(), e, registry.EditOptions{Actor: "ann", DryRun: true})
	if err != nil {
		t.Fatalf("dry run of %+v: %v", e, err)
	}
	if after, again := f.catalog(t); again != version || !cmp.Equal(before, after) {
		t.Fatalf("a dry run of %+v took the version from %d to %d; what holds (-before +after):\n%s", e, version, again, cmp.Diff(before, after))
	}
	made, err := f.Edit(t.Context(), e, registry.EditOptions{Actor: "ann"})
	if err != nil {
		t.Fatalf("%+v: %v", e, err)
	}
	if diff := cmp.Diff(told, made); diff != "" {
		t.Errorf("%+v: (-dry run +made)\n%s", e, diff)
	}
	after, _ := f.catalog(t)
	lost := func(c catalog.Change) bool { // it is no part of the catalog
		return c.Op == catalog.Removed && c.Noun == string(registry.Application) && c.Field != ""
	}
	if diff := cmp.Diff(catalog.Diff(before, after), slices.DeleteFunc(slices.Clone(made.Changes), lost)); diff != "" {
		t.Errorf("%+v: (-what changed +what was told)\n%s", e, diff)
	}
	return made
}

// wantLines fails unless an edit changed in what holds what the lines say.
func wantLines(t *testing.T, e registry.Edited, want ...string) {
	t.Helper()
	var lines []string
	for _, c := range e.Changes {
		lines = append(lines, c.String())
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// wantHolds fails unless c is what holds.
func (f *fixture) wantHolds(t *testing.T, c *catalog.Catalog) {
	t.Helper()
	c.Canonicalize()
	got, _ := f.catalog(t)
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("what holds (-want +got):\n%s", diff)
	}
}

func (f *fixture) origin(t *testing.T, noun registry.Noun, id string) registry.Origin {
	t.Helper()
	origins, err := f.Origins(t.Context(), noun, []string{id})
	if err != nil || len(origins) != 1 {
		t.Fatalf("Origins: %+v, %v", origins, err)
	}
	return origins[0]
}

func testAmend(t *testing.T, f *fixture) {
	f.apply(t, Catalog())
	e := f.edit(t, registry.PutEndpoint{ID: "posts.create", Limits: catalog.PartialLimits{Member: new(quota.Limit(200))}, Cost: new(int64(3)), Shadow: new(true)})
	wantLines(t, e, "~ endpoint posts.create member 150 -> 200", "~ endpoint posts.create cost 1 -> 3", "~ endpoint posts.create shadow false -> true")
	wantLines(t, f.edit(t, registry.PutEndpoint{ID: "posts.create", Limits: catalog.PartialLimits{Application: new(quota.Unlimited)}}),
		"~ endpoint posts.create application 100000 -> unlimited")
	wantLines(t, f.edit(t, registry.PutEndpoint{ID: catalog.CatchAllID, Shadow: new(true)}), "~ endpoint * shadow false -> true")
	wantLines(t, f.edit(t, registry.PutTier{Name: "development", Limits: map[string]catalog.PartialLimits{
		"posts.create": {Member: new(quota.NoAccess)}, catalog.CatchAllID: Limits(7, 8),
	}}), "+ tier development * application 7", "+ tier development * member 8", "~ tier development posts.create member 50 -> 0")
	wantLines(t, f.edit(t, registry.PutApplication{ID: "acme", Name: new("Acme, Inc."), Tier: new(""), Suspended: new(true), Shadow: new(true)}),
		`~ application acme name "Acme Scheduler" -> "Acme, Inc."`, "~ application acme tier development -> none",
		"~ application acme shadow false -> true", "~ application acme suspended false -> true")

	want := Catalog()
	want.Endpoints[0].Limits, want.Endpoints[0].Cost, want.Endpoints[0].Shadow = quota.Limits{Application: quota.Unlimited, Member: 200}, 3, true
	want.CatchAll.Shadow = true
	want.Tiers[0].Limits = map[string]catalog.PartialLimits{"posts.create": Limits(500, 0), catalog.CatchAllID: Limits(7, 8)}
	want.Applications[0] = catalog.Application{ID: "acme", Name: "Acme, Inc.", Suspended: true, Shadow: true}
	f.wantHolds(t, want)
	if diff := cmp.Diff(registry.Origin{File: true, Amended: []registry.Amendment{
		{Field: "* application", Value: "7"}, {Field: "* member", Value: "8"}, {Field: "posts.create member", Value: "0", Under: "50"},
	}}, f.origin(t, registry.Tier, "development")); diff != "" {
		t.Errorf("the tier's origin (-want +got):\n%s", diff)
	}

	// A file that says something else does not get through, and is told so; what was not amended is the file's.
	next := Catalog()
	next.Endpoints[0].Limits = quota.Limits{Application: 5, Member: 6}
	next.Endpoints[0].Path = "/rest/v2/posts"
	next.Applications[0].Name = "Acme again"
	want.Endpoints[0].Path = "/rest/v2/posts"
	lines := f.apply(t, next)
	for _, line := range []string{
		"~ endpoint posts.create match POST /rest/posts -> POST /rest/v2/posts",
		"! kept endpoint posts.create application unlimited; the file says 5",
		"! kept endpoint posts.create member 200; the file says 6",
		`! kept application acme name "Acme, Inc."; the file says "Acme again"`,
		"! kept application acme suspended true; the file says false",
		"! kept tier development posts.create member 0; the file says 50",
	} {
		if !slices.Contains(lines, line) {
			t.Errorf("no line %q in %q", line, lines)
		}
	}
	f.wantHolds(t, want)

	// Taken back, the file's holds again: one by one, or all at once.
	wantLines(t, f.edit(t, registry.Revert{Noun: registry.Endpoint, ID: "posts.create", Field: "member"}), "~ endpoint posts.create member 200 -> 6")
	wantLines(t, f.edit(t, registry.Revert{Noun: registry.Tier, ID: "development", Field: catalog.CatchAllID}),
		"- tier development * application 7", "- tier development * member 8")
	wantLines(t, f.edit(t, registry.Revert{Noun: registry.Tier, ID: "development", Field: "posts.create member"}), "~ tier development posts.create member 0 -> 50")
	for noun, id := range map[registry.Noun]string{registry.Endpoint: "posts.create", registry.Application: "acme"} {
		f.edit(t, registry.Revert{Noun: noun, ID: id})
	}
	f.edit(t, registry.Revert{Noun: registry.Endpoint, ID: catalog.CatchAllID})
	f.wantHolds(t, next)
	if lines := f.apply(t, next); len(lines) != 0 {
		t.Errorf("the same file: %q", lines)
	}
}

func testAmendAgain(t *testing.T, f *fixture) {
	f.apply(t, Catalog())
	e := registry.PutApplication{ID: "acme", Tier: new("")}
	f.edit(t, e)
	_, version := f.catalog(t)
	entries, err := f.Audit(t.Context(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, f.edit(t, e))
	wantLines(t, f.edit(t, registry.PutApplication{ID: "acme"})) // tells nothing
	if _, again := f.catalog(t); again != version {
		t.Errorf("setting what is set took the version from %d to %d", version, again)
	}
	if again, err := f.Audit(t.Context(), 0, 1); err != nil || !cmp.Equal(entries, again) {
		t.Errorf("the audit grew: %+v, %v", again, err)
	}
	// What says the same as the file changes nothing in what holds, but stays when the file changes.
	wantLines(t, f.edit(t, registry.PutEndpoint{ID: "posts.create", Limits: catalog.PartialLimits{Member: new(quota.Limit(150))}}))
	if again, err := f.Audit(t.Context(), 0, 1); err != nil || again[0].Subject != "endpoint posts.create" || again[0].After != "member 150" {
		t.Errorf("the audit: %+v, %v", again, err)
	}
	next := Catalog()
	next.Endpoints[0].Limits.Member = 1
	if lines := f.apply(t, next); !slices.Equal(lines, []string{"! kept endpoint posts.create member 150; the file says 1", "! kept application acme tier none; the file says development"}) {
		t.Errorf("changes: %q", lines)
	}
}

func testAmendmentOutlives(t *testing.T, f *fixture) {
	f.apply(t, Catalog())
	f.edit(t, registry.PutApplication{ID: "acme", Suspended: new(true)})
	f.edit(t, registry.PutEndpoint{ID: "posts.find", Limits: Limits(1, 2)})
	f.edit(t, registry.PutTier{Name: "development", Limits: map[string]catalog.PartialLimits{"posts.find": Limits(3, 4)}})
	without := Catalog()
	without.Applications, without.Endpoints = without.Applications[1:], without.Endpoints[:1]
	lines := f.apply(t, without)
	for _, line := range []string{
		"! kept application acme suspended true; the file says nothing",
		"! kept endpoint posts.find application 1; the file says nothing",
	} {
		if !slices.Contains(lines, line) {
			t.Errorf("no line %q in %q", line, lines)
		}
	}
	f.wantHolds(t, without)
	f.apply(t, Catalog())
	if a := f.application(t, "acme"); !a.Suspended {
		t.Error("the suspension did not wait for the application")
	}
	want := Catalog()
	want.Applications[0].Suspended = true
	want.Endpoints[1].Limits = quota.Limits{Application: 1, Member: 2}
	want.Tiers[0].Limits["posts.find"] = Limits(3, 4)
	f.wantHolds(t, want)
}

func testAddItems(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	wantLines(t, f.edit(t, registry.PutEndpoint{
		ID: "posts.drop", Match: "DELETE /rest/posts/{id}", When: &catalog.Conditions{Header: map[string]string{"x-mode": "hard"}},
		Limits: catalog.PartialLimits{Member: new(quota.Limit(5))}, Cost: new(int64(2)),
	}), "+ endpoint posts.drop")
	wantLines(t, f.edit(t, registry.PutTier{Name: "gold", Limits: map[string]catalog.PartialLimits{"posts.drop": Limits(9, 8)}}), "+ tier gold")
	wantLines(t, f.edit(t, registry.PutApplication{ID: "new", Name: new("New"), Tier: new("gold"), Shadow: new(true)}), "+ application new")
	want := Catalog()
	want.Endpoints = append(want.Endpoints, catalog.Endpoint{
		ID: "posts.drop", Method: "DELETE", Path: "/rest/posts/{id}", When: catalog.Conditions{Header: map[string]string{"X-Mode": "hard"}},
		Limits: quota.Limits{Application: quota.Unlimited, Member: 5}, Cost: 2,
	})
	want.Tiers = append(want.Tiers, catalog.Tier{Name: "gold", Limits: map[string]catalog.PartialLimits{"posts.drop": Limits(9, 8)}})
	want.Applications = append(want.Applications, catalog.Application{ID: "new", Name: "New", Tier: "gold", Shadow: true})
	f.wantHolds(t, want)
	if lines := f.apply(t, Catalog()); len(lines) != 0 {
		t.Errorf("the same file: %q", lines)
	}
	if o := f.origin(t, registry.Endpoint, "posts.drop"); o.File || !o.Added || o.Amended != nil {
		t.Errorf("its origin: %+v", o)
	}

	// They are items as any other.
	token := f.issue(t, registry.NewToken{Application: "new"})
	if err := f.SetOverride(ctx, "new", "posts.drop", Limits(1, 1), ""); err != nil {
		t.Error(err)
	}
	if err := f.SetOverride(ctx, "acme", "posts.drop", Limits(1, 1), ""); err != nil {
		t.Error(err)
	}
	wantLines(t, f.edit(t, registry.PutEndpoint{ID: "posts.drop", Match: "DELETE /rest/posts/{key}", When: &catalog.Conditions{}}),
		"~ endpoint posts.drop match DELETE /rest/posts/{id} -> DELETE /rest/posts/{key}", "~ endpoint posts.drop when {header: {X-Mode: \"hard\"}} -> {}")
	f.edit(t, registry.PutApplication{ID: "new", Suspended: new(true)})

	// Under a file's of the same id they wait; what was set of them does not.
	next := Catalog()
	next.Applications = append(next.Applications, catalog.Application{ID: "new", Name: "The file's"})
	lines := f.apply(t, next)
	if !slices.Contains(lines, `~ application new name "New" -> "The file's"`) || !slices.Contains(lines, "! kept application new suspended true; the file says false") {
		t.Errorf("changes: %q", lines)
	}
	if a := f.application(t, "new"); !a.Suspended || a.Shadow || a.Tier != "" {
		t.Errorf("what holds of it: %+v", a)
	}
	wantKind(t, "to change what the file's endpoint matches", f.try(t, registry.PutEndpoint{ID: "posts.create", Match: "/elsewhere"}), fault.Conflict)
	wantLines(t, f.edit(t, registry.PutEndpoint{ID: "posts.create", Match: "POST /rest/posts"})) // as it is

	// Under the file's, removing it is nothing to those who call.
	wantLines(t, f.edit(t, registry.Remove{Noun: registry.Application, ID: "new"}))
	wantKind(t, "to remove the file's", f.try(t, registry.Remove{Noun: registry.Application, ID: "new"}), fault.Conflict)
	if got, err := f.TokenByHash(ctx, f.lastHash()); err != nil || got != token {
		t.Errorf("its token: %+v, %v", got, err)
	}
}

func testRemove(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	f.edit(t, registry.PutEndpoint{ID: "posts.drop", Match: "DELETE /rest/posts"})
	f.edit(t, registry.PutTier{Name: "gold", Limits: map[string]catalog.PartialLimits{"posts.drop": Limits(9, 8)}})
	f.edit(t, registry.PutApplication{ID: "new", Tier: new("gold")})
	f.edit(t, registry.PutApplication{ID: "new", Suspended: new(true)})
	if err := f.SetOverride(ctx, "new", "posts.drop", Limits(1, 1), ""); err != nil {
		t.Fatal(err)
	}
	f.issue(t, registry.NewToken{Application: "new"})
	account, err := f.AddAccount(ctx, registry.NewAccount{Email: "dev@example.com"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Grant(ctx, registry.Grant{Email: account.Email, Application: "new", Role: registry.Viewer}, ""); err != nil {
		t.Fatal(err)
	}

	wantKind(t, "a tier that an application is in", f.try(t, registry.Remove{Noun: registry.Tier, ID: "gold"}), fault.Invalid)
	wantLines(t, f.edit(t, registry.Remove{Noun: registry.Endpoint, ID: "posts.drop"}),
		"- endpoint posts.drop", "- tier gold posts.drop application 9", "- tier gold posts.drop member 8",
		"- override new posts.drop application 1", "- override new posts.drop member 1")
	wantLines(t, f.edit(t, registry.Remove{Noun: registry.Application, ID: "new"}), "- application new", "- application new tokens 1", "- application new grants 1")
	if _, err := f.TokenByHash(ctx, f.lastHash()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("its token after it was removed: %v", err)
	}
	wantLines(t, f.edit(t, registry.Remove{Noun: registry.Tier, ID: "gold"}), "- tier gold")
	f.wantHolds(t, Catalog())
	entries, err := f.Audit(ctx, 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range entries {
		said = append(said, fmt.Sprintf("%s %s %s: %s -> %s", e.Actor, e.Action, e.Subject, e.Before, e.After))
	}
	if diff := cmp.Diff([]string{
		"ann remove tier gold:  -> removed", "ann remove application new:  -> removed",
		"ann token.revoke tokens of application new:  -> 1 revoked", "ann grant.withdraw grants of application new:  -> 1 withdrawn", "ann remove override new posts.drop member: 1 -> ",
	}, said); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}

	// Added anew, it has nothing of what was set of the one before.
	f.edit(t, registry.PutApplication{ID: "new"})
	f.edit(t, registry.PutEndpoint{ID: "posts.drop", Match: "DELETE /rest/posts"})
	want := Catalog()
	want.Applications = append(want.Applications, catalog.Application{ID: "new"})
	want.Endpoints = append(want.Endpoints, catalog.NewEndpoint("posts.drop"))
	want.Endpoints[2].Method, want.Endpoints[2].Path = "DELETE", "/rest/posts"
	f.wantHolds(t, want)
}

// testOvertaken makes edits that were looked at, and another in between.
func testOvertaken(t *testing.T, f *fixture) {
	ctx := t.Context()
	c := Catalog()
	const many = registry.MaxTouched + 50
	for i := range many {
		c.Applications = append(c.Applications, catalog.Application{ID: fmt.Sprintf("application-%03d", i)})
	}
	f.apply(t, c)
	asked := registry.PutEndpoint{ID: "posts.create", Limits: Limits(9, 8)}
	look := func() registry.Edited {
		t.Helper()
		edited, err := f.Edit(ctx, asked, registry.EditOptions{DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		return edited
	}
	seen := look()
	if seen.Digest == "" || look().Digest != seen.Digest {
		t.Errorf("the digests %q and %q of the same", seen.Digest, look().Digest)
	}
	// It touches as many as before, and those that are named are the same.
	if err := f.SetOverride(ctx, fmt.Sprintf("application-%03d", many-1), "posts.create", catalog.PartialLimits{Application: new(quota.Limit(5))}, "bob"); err != nil {
		t.Fatal(err)
	}
	before, version := f.catalog(t)
	for _, dry := range []bool{true, false} {
		now, err := f.Edit(ctx, asked, registry.EditOptions{Actor: "ann", DryRun: dry, Expect: seen.Digest})
		if !errors.Is(err, registry.ErrOvertaken) || fault.KindOf(err) != fault.Conflict {
			t.Errorf("dry run %v: %v", dry, err)
		}
		if diff := cmp.Diff(look(), now); diff != "" || now.Digest == seen.Digest || !cmp.Equal(now.Touched, seen.Touched) {
			t.Errorf("dry run %v: it tells of %+v; what it would change now (-want +got):\n%s", dry, now, diff)
		}
	}
	if after, same := f.catalog(t); same != version || !cmp.Equal(before, after) {
		t.Errorf("what was overtaken changed the catalog from version %d to %d:\n%s", version, same, cmp.Diff(before, after))
	}
	if _, err := f.Edit(ctx, asked, registry.EditOptions{Expect: look().Digest}); err != nil {
		t.Errorf("as was expected: %v", err)
	}
	if _, err := f.Edit(ctx, asked, registry.EditOptions{Expect: look().Digest}); err != nil {
		t.Errorf("nothing, as was expected: %v", err)
	}
}

// testSentAgain makes edits again that were looked at and made, as somebody does whom the answer did not reach.
func testSentAgain(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	for _, asked := range []registry.Edit{
		registry.PutEndpoint{ID: "posts.create", Limits: Limits(9, 8), Cost: new(int64(2)), Shadow: new(true)},
		registry.PutEndpoint{ID: "posts.drop", Match: "DELETE /rest/posts", When: &catalog.Conditions{Query: map[string]string{"q": "a"}}, Limits: Limits(9, 8), Cost: new(int64(2)), Shadow: new(true)},
		registry.PutTier{Name: "development", Limits: map[string]catalog.PartialLimits{"posts.create": Limits(3, 2), "posts.find": Limits(4, 4)}},
		registry.PutTier{Name: "gold", Limits: map[string]catalog.PartialLimits{"posts.create": Limits(3, 2), "posts.find": {Member: new(quota.Limit(4))}}},
		registry.PutApplication{ID: "acme", Name: new("Acme"), Tier: new("gold"), Shadow: new(true), Suspended: new(true)},
		registry.PutApplication{ID: "new", Name: new("New"), Tier: new("gold"), Shadow: new(true), Suspended: new(true)},
		registry.PutOverride{Application: "acme", Endpoint: "posts.find", Limits: Limits(1, 2)},
	} {
		seen, err := f.Edit(ctx, asked, registry.EditOptions{DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Edit(ctx, asked, registry.EditOptions{Expect: seen.Digest}); err != nil {
			t.Errorf("%+v: %v", asked, err)
		}
		before, version := f.catalog(t)
		for _, dry := range []bool{true, false} {
			if now, err := f.Edit(ctx, asked, registry.EditOptions{DryRun: dry, Expect: seen.Digest}); err != nil || len(now.Changes) > 0 {
				t.Errorf("%+v again, dry run %v: %+v, %v", asked, dry, now, err)
			}
		}
		if after, same := f.catalog(t); same != version || !cmp.Equal(before, after) {
			t.Errorf("%+v again took the catalog from version %d to %d:\n%s", asked, version, same, cmp.Diff(before, after))
		}
	}
	// What was added is not set besides.
	for noun, id := range map[registry.Noun]string{registry.Endpoint: "posts.drop", registry.Tier: "gold", registry.Application: "new"} {
		if o := f.origin(t, noun, id); !o.Added || o.Amended != nil {
			t.Errorf("the origin of %s %s: %+v", noun, id, o)
		}
	}
}

func testTouched(t *testing.T, f *fixture) {
	f.apply(t, Catalog())
	limits := func(application, member quota.Limit) quota.Limits {
		return quota.Limits{Application: application, Member: member}
	}
	for _, test := range []struct {
		edit registry.Edit
		want catalog.Touched
	}{
		// acme's tier says both limits; beta's override says the application's.
		{registry.PutEndpoint{ID: "posts.create", Limits: Limits(9, 8)}, catalog.Touched{Applications: 1, Limits: 1, First: []catalog.Touch{
			{Application: "beta", Endpoint: "posts.create", Before: limits(2000, 150), After: limits(2000, 8)},
		}}},
		{registry.PutEndpoint{ID: catalog.CatchAllID, Limits: catalog.PartialLimits{Member: new(quota.Limit(1))}}, catalog.Touched{Applications: 2, Limits: 2, First: []catalog.Touch{
			{Application: "acme", Endpoint: "*", Before: limits(1000, 100), After: limits(1000, 1)},
			{Application: "beta", Endpoint: "*", Before: limits(1000, 100), After: limits(1000, 1)},
		}}},
		{registry.PutTier{Name: "development", Limits: map[string]catalog.PartialLimits{"posts.create": Limits(500, 51)}}, catalog.Touched{Applications: 1, Limits: 1, First: []catalog.Touch{
			{Application: "acme", Endpoint: "posts.create", Before: limits(500, 50), After: limits(500, 51)},
		}}},
		{registry.PutApplication{ID: "beta", Tier: new("development")}, catalog.Touched{Applications: 1, Limits: 1, First: []catalog.Touch{
			{Application: "beta", Endpoint: "posts.create", Before: limits(2000, 8), After: limits(2000, 51)},
		}}},
		{registry.PutOverride{Application: "acme", Endpoint: "posts.find", Limits: Limits(1, 2)}, catalog.Touched{Applications: 1, Limits: 1, First: []catalog.Touch{
			{Application: "acme", Endpoint: "posts.find", Before: limits(500_000, quota.Unlimited), After: limits(1, 2)},
		}}},
		{registry.ClearOverride{Application: "acme", Endpoint: "posts.find"}, catalog.Touched{Applications: 1, Limits: 1, First: []catalog.Touch{
			{Application: "acme", Endpoint: "posts.find", Before: limits(1, 2), After: limits(500_000, quota.Unlimited)},
		}}},
		{registry.PutApplication{ID: "acme", Suspended: new(true)}, catalog.Touched{}},
		{registry.PutApplication{ID: "new"}, catalog.Touched{}},
	} {
		if diff := cmp.Diff(test.want, f.edit(t, test.edit).Touched); diff != "" {
			t.Errorf("%+v: (-want +got)\n%s", test.edit, diff)
		}
	}
}

// try makes an edit that cannot be, and sees that it changes nothing.
func (f *fixture) try(t *testing.T, e registry.Edit) error {
	t.Helper()
	before, version := f.catalog(t)
	_, err := f.Edit(t.Context(), e, registry.EditOptions{})
	if after, again := f.catalog(t); err == nil || again != version || !cmp.Equal(before, after) {
		t.Errorf("%+v: %v, and the version went from %d to %d", e, err, version, again)
	}
	return err
}

func testEditErrors(t *testing.T, f *fixture) {
	_, err := f.Edit(t.Context(), registry.PutApplication{ID: "new"}, registry.EditOptions{})
	wantKind(t, "before there is a catalog", err, fault.NotFound)
	f.apply(t, Catalog())
	for _, test := range []struct {
		name  string
		edit  registry.Edit
		kind  fault.Kind
		names string // what the message must name
	}{
		{"an unknown endpoint without a match", registry.PutEndpoint{ID: "posts.drop", Cost: new(int64(2))}, fault.NotFound, "posts.drop"},
		{"an endpoint that cannot be", registry.PutEndpoint{ID: "posts.drop", Match: "DELETE posts"}, fault.Invalid, "posts.drop"},
		{"an endpoint that ties", registry.PutEndpoint{ID: "posts.make", Match: "POST /rest/posts"}, fault.Invalid, "posts.create"},
		{"an endpoint without an id", registry.PutEndpoint{Match: "/a"}, fault.Invalid, ""},
		{"an endpoint with a control character", registry.PutEndpoint{ID: "a\n", Match: "/a"}, fault.Invalid, ""},
		{"a cost of nothing", registry.PutEndpoint{ID: "posts.create", Cost: new(int64(0))}, fault.Invalid, "cost"},
		{"a cost that is too high", registry.PutEndpoint{ID: "posts.create", Cost: new(int64(quota.MaxCost + 1))}, fault.Invalid, "cost"},
		{"a negative limit", registry.PutEndpoint{ID: "posts.create", Limits: Limits(-1, 0)}, fault.Invalid, "-1"},
		{"the catch-all with a match", registry.PutEndpoint{ID: "*", Match: "/a"}, fault.Invalid, ""},
		{"the catch-all with conditions", registry.PutEndpoint{ID: "*", When: &catalog.Conditions{Query: map[string]string{"a": "b"}}}, fault.Conflict, ""},
		{"a tier's limit for no endpoint", registry.PutTier{Name: "development", Limits: map[string]catalog.PartialLimits{"posts.drop": Limits(1, 1)}}, fault.NotFound, "posts.drop"},
		{"a tier's negative limit", registry.PutTier{Name: "gold", Limits: map[string]catalog.PartialLimits{"posts.find": Limits(1, -1)}}, fault.Invalid, "-1"},
		{"a tier without a name", registry.PutTier{}, fault.Invalid, ""},
		{"an application in no tier", registry.PutApplication{ID: "acme", Tier: new("gold")}, fault.Invalid, "gold"},
		{"a new application in no tier", registry.PutApplication{ID: "new", Tier: new("gold")}, fault.Invalid, "gold"},
		{"an application with a name of two lines", registry.PutApplication{ID: "acme", Name: new("a\nb")}, fault.Invalid, "name"},
		{"an application of 257 bytes", registry.PutApplication{ID: strings.Repeat("a", 257)}, fault.Invalid, ""},
		{"an override of nobody", registry.PutOverride{Application: "nobody", Endpoint: "*", Limits: Limits(1, 1)}, fault.NotFound, "nobody"},
		{"an override that is none", registry.ClearOverride{Application: "acme", Endpoint: "*"}, fault.NotFound, "acme"},
		{"the file's override", registry.ClearOverride{Application: "beta", Endpoint: "posts.create"}, fault.Conflict, "beta"},
		{"to remove the file's endpoint", registry.Remove{Noun: registry.Endpoint, ID: "posts.create"}, fault.Conflict, "posts.create"},
		{"to remove the catch-all", registry.Remove{Noun: registry.Endpoint, ID: "*"}, fault.Conflict, "*"},
		{"to remove the file's tier", registry.Remove{Noun: registry.Tier, ID: "development"}, fault.Conflict, "development"},
		{"to remove nobody", registry.Remove{Noun: registry.Application, ID: "nobody"}, fault.NotFound, "nobody"},
		{"to remove a thing that is none", registry.Remove{Noun: "override", ID: "acme"}, fault.Invalid, "override"},
		{"to take back of nobody", registry.Revert{Noun: registry.Application, ID: "nobody"}, fault.NotFound, "nobody"},
		{"to take back nothing", registry.Revert{Noun: registry.Application, ID: "acme"}, fault.NotFound, "acme"},
	} {
		err := f.try(t, test.edit)
		wantKind(t, test.name, err, test.kind)
		if !strings.Contains(fault.Message(err), test.names) {
			t.Errorf("%s: message %q does not name %q", test.name, fault.Message(err), test.names)
		}
	}
	f.edit(t, registry.PutApplication{ID: "acme", Suspended: new(true)})
	wantKind(t, "to take back another field", f.try(t, registry.Revert{Noun: registry.Application, ID: "acme", Field: "tier"}), fault.NotFound)

	// What was made at run time holds against a file with which it makes no sense.
	f.edit(t, registry.PutEndpoint{ID: "posts.drop", Match: "DELETE /rest/posts"})
	next := Catalog()
	next.Endpoints = append(next.Endpoints, catalog.NewEndpoint("posts.remove"))
	next.Endpoints[2].Method, next.Endpoints[2].Path = "DELETE", "/rest/posts"
	_, err = f.Apply(t.Context(), next, registry.ApplyOptions{})
	wantKind(t, "a file with another endpoint of the same match", err, fault.Invalid)
	for _, name := range []string{"posts.drop", "posts.remove", "run time"} {
		if !strings.Contains(fault.Message(err), name) {
			t.Errorf("the message does not tell of %s: %v", name, err)
		}
	}
}

func testOverridePages(t *testing.T, f *fixture) {
	f.apply(t, Catalog())
	var want []registry.Override
	for _, application := range []string{"acme", "beta"} {
		for _, endpoint := range []string{"*", "posts.create", "posts.find"} {
			if err := f.SetOverride(t.Context(), application, endpoint, Limits(3, 2), ""); err != nil {
				t.Fatal(err)
			}
			want = append(want, registry.Override{OverrideName: registry.OverrideName{Application: application, Endpoint: endpoint}, Limits: Limits(3, 2)})
		}
	}
	without := Catalog()
	without.Applications = without.Applications[1:]
	f.apply(t, without) // acme's wait
	var got []registry.Override
	for after := (registry.OverrideName{}); ; {
		page, err := f.Overrides(t.Context(), after, 4)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1].OverrideName
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("page by page (-want +got):\n%s", diff)
	}
	for _, limit := range []int{0, registry.MaxOverrides + 1} {
		_, err := f.Overrides(t.Context(), registry.OverrideName{}, limit)
		wantKind(t, fmt.Sprintf("limit %d", limit), err, fault.Invalid)
	}
	_, err := f.Origins(t.Context(), registry.Tier, make([]string, registry.MaxOrigins+1))
	wantKind(t, "too many ids", err, fault.Invalid)
	if o := f.origin(t, registry.Tier, "nobody"); o.File || o.Added || o.Amended != nil {
		t.Errorf("the origin of nothing: %+v", o)
	}
}
