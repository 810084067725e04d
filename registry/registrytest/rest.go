package registrytest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

func testSettings(t *testing.T, f *fixture) {
	ctx := t.Context()
	want := func(value string, ok bool) {
		t.Helper()
		if got, found, err := f.Setting(ctx, "ledger"); got != value || found != ok || err != nil {
			t.Errorf("Setting: %q, %t, %v; want %q, %t", got, found, err, value, ok)
		}
	}
	want("", false)
	for _, value := range []string{"4f2a", "", "it's; --", "9b"} {
		if err := f.SetSetting(ctx, "ledger", value); err != nil {
			t.Fatal(err)
		}
		want(value, true)
	}
	if _, found, err := f.Setting(ctx, "other"); found || err != nil {
		t.Errorf("another setting: %t, %v", found, err)
	}
}

func testOperatorKey(t *testing.T, f *fixture) {
	ctx := t.Context()
	first, second := strings.Repeat("3f9a1c2b", 8), strings.Repeat("0123abcd", 8)
	for _, hash := range []string{first, first, second, ""} { // the second changes nothing
		if err := f.SetOperatorKey(ctx, hash, "ann"); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := f.Setting(ctx, registry.OperatorKey); got != hash || !ok || err != nil {
			t.Errorf("Setting: %q, %t, %v; want %q", got, ok, err, hash)
		}
	}
	entries, err := f.Audit(ctx, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		entries[i].Seq, entries[i].At = 0, time.Time{}
	}
	entry := registry.AuditEntry{Actor: "ann", Action: registry.ActionRotateKey, Subject: "operator key"}
	made, replaced, forgotten := entry, entry, entry
	made.After = "operator key 3f9a1c2b"
	replaced.Before, replaced.After = made.After, "operator key 0123abcd"
	forgotten.Before = replaced.After
	if diff := cmp.Diff([]registry.AuditEntry{forgotten, replaced, made}, entries); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}
	for _, hash := range []string{"3f9a1c2b", first[1:] + "x", first + "00"} {
		wantKind(t, hash, f.SetOperatorKey(ctx, hash, ""), fault.Invalid)
	}
}

func testAudit(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	f.clock.Advance(time.Second)
	if err := f.SetOverride(ctx, "acme", "posts.create", Limits(7, quota.Unlimited), "ann"); err != nil {
		t.Fatal(err)
	}
	if err := f.SetOverride(ctx, "acme", "posts.create", catalog.PartialLimits{Member: new(quota.Limit(1))}, "ann"); err != nil {
		t.Fatal(err)
	}
	if err := f.ClearOverride(ctx, "acme", "posts.create", "bob"); err != nil {
		t.Fatal(err)
	}
	token := f.issue(t, registry.NewToken{Application: "acme", Member: "m-1", Expires: f.clock.Now().Add(time.Hour), Actor: "cy"})
	if err := f.RevokeToken(ctx, token.ID, "dee"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.SetSetting(ctx, "key", "secret"); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := f.Audit(ctx, 0, 6)
	if err != nil {
		t.Fatal(err)
	}
	override := "override acme posts.create"
	want := []registry.AuditEntry{
		{Action: registry.ActionSetSetting, Subject: "setting key"},
		{Actor: "dee", Action: registry.ActionRevokeToken, Subject: "token " + token.ID, Before: "application acme for a member expires 2026-11-23T13:00:01Z", After: "revoked"},
		{Actor: "cy", Action: registry.ActionIssueToken, Subject: "token " + token.ID, After: "application acme for a member expires 2026-11-23T13:00:01Z"},
		{Actor: "bob", Action: registry.ActionClearOverride, Subject: override, Before: "application 7 member 1"},
		{Actor: "ann", Action: registry.ActionSetOverride, Subject: override, Before: "application 7 member unlimited", After: "application 7 member 1"},
		{Actor: "ann", Action: registry.ActionSetOverride, Subject: override, After: "application 7 member unlimited"},
	}
	for i := range entries {
		if i+1 < len(entries) && entries[i].Seq <= entries[i+1].Seq {
			t.Errorf("entry %d comes before %d", entries[i].Seq, entries[i+1].Seq)
		}
		if !entries[i].At.Equal(f.clock.Now()) {
			t.Errorf("entry %d is of %v", i, entries[i].At)
		}
		entries[i].Seq, entries[i].At = 0, time.Time{}
	}
	if diff := cmp.Diff(want, entries); diff != "" {
		t.Errorf("the audit (-want +got):\n%s", diff)
	}
	all, err := f.Audit(ctx, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) <= len(want) {
		t.Fatal("the audit says nothing of the catalog")
	}
	for _, e := range all[len(want):] {
		if e.Actor != "operator" || e.Action != registry.ActionApply || e.Subject == "" {
			t.Errorf("of the catalog it says %+v", e)
		}
	}
	for _, e := range all {
		if strings.Contains(fmt.Sprint(e), "secret") || strings.Contains(fmt.Sprint(e), "m-1") {
			t.Errorf("the audit holds a setting's value or a member's id: %+v", e)
		}
	}
}

func testAuditPages(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	all, err := f.Audit(ctx, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var paged []registry.AuditEntry
	for before := int64(0); ; {
		page, err := f.Audit(ctx, before, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
		before = page[len(page)-1].Seq
	}
	if diff := cmp.Diff(all, paged); diff != "" {
		t.Errorf("page by page (-whole +paged):\n%s", diff)
	}
	for _, limit := range []int{-1, 0, 1001} {
		_, err := f.Audit(ctx, 0, limit)
		wantKind(t, fmt.Sprintf("limit %d", limit), err, fault.Invalid)
	}
}

// testAuditOfMany applies a file with more changes than the audit tells one by one, and takes them back.
func testAuditOfMany(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	before, err := f.Audit(ctx, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	many := Catalog()
	const more = 50
	for i := range registry.MaxAuditOfChange + more {
		many.Applications = append(many.Applications, catalog.Application{ID: fmt.Sprintf("application-%04d", i)})
	}
	f.apply(t, many)
	newest, err := f.Audit(ctx, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	if added := newest[0].Seq - before[0].Seq; added != registry.MaxAuditOfChange+1 {
		t.Errorf("the file added %d entries", added)
	}
	if last := newest[0]; last.Actor != "operator" || last.Action != registry.ActionApply || last.After != fmt.Sprintf("and %d more", more+1) { // the first says that it was applied
		t.Errorf("the last entry is %+v", last)
	}
	if one := newest[1]; one.Subject != fmt.Sprintf("application application-%04d", registry.MaxAuditOfChange-2) || one.After != "added" {
		t.Errorf("the one before it is %+v", one)
	}
	for i := range 3 {
		f.issue(t, registry.NewToken{Application: fmt.Sprintf("application-%04d", i)})
	}
	f.apply(t, Catalog())
	if newest, err = f.Audit(ctx, 0, 1); err != nil || newest[0].After != fmt.Sprintf("and %d more", more+1+3) {
		t.Errorf("after they left, with the tokens of three, the last entry is %+v, %v", newest, err)
	}
}

// testConcurrency has everything happen at once and looks at what is left.
func testConcurrency(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	const workers, rounds = 8, 12
	var wg sync.WaitGroup
	failed := make(chan error, workers*rounds*8)
	check := func(err error) {
		if err != nil {
			failed <- err
		}
	}
	for w := range workers {
		wg.Go(func() {
			application := []string{"acme", "beta"}[w%2]
			for i := range rounds {
				hash := f.hash()
				token, err := f.IssueToken(ctx, registry.NewToken{Hash: hash, Application: application})
				check(err)
				_, err = f.TokenByHash(ctx, hash)
				check(err)
				check(f.RevokeToken(ctx, token.ID, ""))
				if _, err := f.TokenByHash(ctx, hash); fault.KindOf(err) != fault.NotFound {
					failed <- fmt.Errorf("a token found after its revocation: %w", err)
				}
				check(f.SetOverride(ctx, application, "posts.create", Limits(quota.Limit(w), quota.Limit(i)), ""))
				c := Catalog()
				c.Endpoints[0].Limits.Application = quota.Limit(w*rounds + i)
				_, err = f.Apply(ctx, c, registry.ApplyOptions{})
				check(err)
				held, _, err := f.Catalog(ctx)
				check(err)
				check(held.Validate(catalog.PathPolicy{}))
			}
		})
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	revoked, _, err := f.Revocations(ctx, 0)
	if len(revoked) != workers*rounds || err != nil {
		t.Errorf("%d revocations, %v; want %d", len(revoked), err, workers*rounds)
	}
	_, version := f.catalog(t)
	entries, err := f.Audit(ctx, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	changes := make(map[string]int)
	for _, e := range entries {
		changes[e.Action]++
	}
	if got := changes[registry.ActionRevokeToken]; got != workers*rounds {
		t.Errorf("the audit tells of %d revocations, want %d", got, workers*rounds)
	}
	// Each change of the catalog raised its version once: no two saw the same one. The first apply left several entries.
	if version < int64(changes[registry.ActionSetOverride]) {
		t.Errorf("version %d after %d overrides", version, changes[registry.ActionSetOverride])
	}
}

func testCancelled(t *testing.T, f *fixture) {
	f.apply(t, Catalog())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := f.Catalog(ctx)
	wantKind(t, "Catalog", err, fault.Unavailable)
	wantKind(t, "SetSetting", f.SetSetting(ctx, "key", "value"), fault.Unavailable)
	if _, ok, err := f.Setting(t.Context(), "key"); ok || err != nil {
		t.Errorf("Setting: %t, %v", ok, err)
	}
}
