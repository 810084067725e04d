package registrytest

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

func (f *fixture) add(t *testing.T, id string) int64 {
	t.Helper()
	version, err := f.AddApplication(t.Context(), registry.NewApplication{ID: id, Tier: "development", Most: 100, Actor: "token"})
	if err != nil {
		t.Fatalf("AddApplication: %v", err)
	}
	return version
}

func testAddApplication(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	_, before := f.catalog(t)
	version := f.add(t, "aaa")
	want := Catalog()
	want.Applications = append(want.Applications, catalog.Application{ID: "aaa", Tier: "development"})
	want.Canonicalize()
	got, now := f.catalog(t)
	if diff := cmp.Diff(want, got); diff != "" || version != now || version <= before {
		t.Errorf("version %d, then %d, told %d; what holds (-want +got):\n%s", before, now, version, diff)
	}
	entries, err := f.Audit(ctx, 0, 1)
	if err != nil || len(entries) != 1 || entries[0].Actor != "token" || entries[0].Action != registry.ActionAdd ||
		entries[0].Subject != "application aaa" || entries[0].After != "tier development" {
		t.Errorf("the audit: %+v, %v", entries, err)
	}
	for _, known := range []string{"aaa", "acme"} { // again, and one of the file's: nothing
		if again := f.add(t, known); again != version {
			t.Errorf("%s took the version from %d to %d", known, version, again)
		}
	}
	if more, err := f.Audit(ctx, 0, 1); err != nil || more[0].Seq != entries[0].Seq {
		t.Errorf("the audit grew: %+v, %v", more, err)
	}

	// It is an application as any other.
	f.issue(t, registry.NewToken{Application: "aaa", Member: "m-1"})
	if err := f.SetOverride(ctx, "aaa", "posts.create", Limits(3, 2), ""); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]catalog.PartialLimits{"posts.create": Limits(3, 2)}, f.application(t, "aaa").Overrides); diff != "" {
		t.Errorf("its overrides (-want +got):\n%s", diff)
	}
	// No file removes it, or says anything of it.
	if lines := f.apply(t, Catalog()); len(lines) != 0 {
		t.Errorf("the same file: %q", lines)
	}
	without := Catalog()
	without.Applications = nil
	for _, line := range f.apply(t, without) {
		if strings.Contains(line, "aaa") {
			t.Errorf("a file without applications: %q", line)
		}
	}
	f.application(t, "aaa")
	if tokens, err := f.Tokens(ctx, "aaa"); err != nil || len(tokens) != 1 || !tokens[0].Revoked.IsZero() {
		t.Errorf("its tokens: %+v, %v", tokens, err)
	}
}

func testAddErrors(t *testing.T, f *fixture) {
	ctx := t.Context()
	add := func(id, tier string, most int) error {
		_, err := f.AddApplication(ctx, registry.NewApplication{ID: id, Tier: tier, Most: most})
		return err
	}
	wantKind(t, "before there is a catalog", add("aaa", "development", 1), fault.NotFound)
	f.apply(t, Catalog())
	wantKind(t, "no id", add("", "development", 1), fault.Invalid)
	wantKind(t, "a control character", add("a\n", "development", 1), fault.Invalid)
	wantKind(t, "257 bytes", add(strings.Repeat("a", 257), "development", 1), fault.Invalid)
	wantKind(t, "no such tier", add("aaa", "nowhere", 1), fault.NotFound)
	wantKind(t, "none may be", add("aaa", "development", 0), fault.Exhausted)
	if _, version := f.catalog(t); version != 1 {
		t.Errorf("version %d", version)
	}
	for _, id := range []string{"a1", "a2", "a3"} {
		if err := add(id, "development", 3); err != nil {
			t.Error(err)
		}
	}
	wantKind(t, "one too many", add("a4", "development", 3), fault.Exhausted)
	if err := add("a3", "development", 3); err != nil {
		t.Errorf("one that is there: %v", err)
	}

	// A file must not take their tier away.
	c := Catalog()
	c.Tiers, c.Applications = nil, nil
	_, err := f.Apply(ctx, c, registry.ApplyOptions{})
	wantKind(t, "a file without the tier", err, fault.Invalid)
	if !strings.Contains(fault.Message(err), "development") {
		t.Errorf("the message does not name the tier: %v", err)
	}
	c.Applications = []catalog.Application{{ID: "a1"}, {ID: "a2"}, {ID: "a3"}}
	f.apply(t, c) // it has them all itself
}

func testAddUnderFile(t *testing.T, f *fixture) {
	f.apply(t, Catalog())
	f.add(t, "new")
	with := Catalog()
	with.Applications = append(with.Applications, catalog.Application{ID: "new", Name: "New", Suspended: true})
	with.Canonicalize()
	lines := f.apply(t, with)
	if !slices.Contains(lines, "~ application new suspended false -> true") {
		t.Errorf("changes: %q", lines)
	}
	got, _ := f.catalog(t)
	if diff := cmp.Diff(with, got); diff != "" {
		t.Errorf("the file's goes before (-want +got):\n%s", diff)
	}
	token := f.issue(t, registry.NewToken{Application: "new"})
	lines = f.apply(t, Catalog())
	if !slices.Contains(lines, "! kept application new") {
		t.Errorf("changes: %q", lines)
	}
	if a := f.application(t, "new"); a.Suspended || a.Tier != "development" {
		t.Errorf("what is left of it: %+v", a)
	}
	if tokens, err := f.Tokens(t.Context(), "new"); err != nil || len(tokens) != 1 || tokens[0] != token {
		t.Errorf("its tokens: %+v, %v", tokens, err)
	}
}

func testKeepSetting(t *testing.T, f *fixture) {
	ctx := t.Context()
	var wg sync.WaitGroup
	kept := make([]string, 8)
	for i := range kept {
		wg.Go(func() {
			var err error
			if kept[i], err = f.KeepSetting(ctx, "key", strings.Repeat("x", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, one := range kept {
		if one != kept[0] {
			t.Errorf("of many at once: %q", kept)
		}
	}
	if value, ok, err := f.Setting(ctx, "key"); value != kept[0] || !ok || err != nil {
		t.Errorf("Setting: %q, %t, %v", value, ok, err)
	}
	entries, err := f.Audit(ctx, 0, 1000)
	if err != nil || len(entries) != 1 || entries[0].Action != registry.ActionSetSetting || entries[0].Subject != "setting key" {
		t.Errorf("the audit: %+v, %v", entries, err)
	}
}
