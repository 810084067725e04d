package registrytest

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

func testTokens(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	now := f.clock.Now()
	first := registry.NewToken{Hash: f.hash(), Application: "acme", Member: "urn:li:person/é", Expires: now.Add(time.Hour), Actor: "operator"}
	var want []registry.Token
	got := f.issue(t, first)
	want = append(want, registry.Token{ID: got.ID, Application: "acme", Member: "urn:li:person/é", Created: now, Expires: now.Add(time.Hour)})
	own := f.issue(t, registry.NewToken{Application: "acme", Member: "acme"})
	want = append(want, registry.Token{ID: own.ID, Application: "acme", Created: now})
	f.issue(t, registry.NewToken{Application: "beta"})
	if diff := cmp.Diff(want, []registry.Token{got, own}); diff != "" {
		t.Errorf("issued (-want +got):\n%s", diff)
	}
	for _, token := range want {
		if !strings.HasPrefix(token.ID, "tok_") || len(token.ID) != len("tok_")+16 {
			t.Errorf("id %q", token.ID)
		}
	}
	tokens, err := f.Tokens(ctx, "acme")
	if diff := cmp.Diff(want, tokens); diff != "" || err != nil {
		t.Errorf("Tokens: %v (-want +got):\n%s", err, diff)
	}
	found, err := f.TokenByHash(ctx, first.Hash)
	if diff := cmp.Diff(want[0], found); diff != "" || err != nil {
		t.Errorf("TokenByHash: %v (-want +got):\n%s", err, diff)
	}
	f.clock.Advance(2 * time.Hour)
	if found, err := f.TokenByHash(ctx, first.Hash); err != nil || found != want[0] {
		t.Errorf("TokenByHash of an expired token: %v, %v", found, err)
	}
	_, err = f.TokenByHash(ctx, f.hash())
	wantKind(t, "TokenByHash of another", err, fault.NotFound)
	_, err = f.Tokens(ctx, "nobody")
	wantKind(t, "Tokens of nobody", err, fault.NotFound)

	// What is kept to the millisecond says so.
	odd := f.clock.Now().Add(time.Hour + 123456789*time.Nanosecond)
	token := f.issue(t, registry.NewToken{Application: "acme", Expires: odd})
	if want := odd.Truncate(time.Millisecond); !token.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", token.Expires, want)
	}
}

func testTokenErrors(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	used := f.hash()
	f.issue(t, registry.NewToken{Hash: used, Application: "acme"})
	for _, test := range []struct {
		name string
		new  registry.NewToken
		kind fault.Kind
	}{
		{"an unknown application", registry.NewToken{Hash: f.hash(), Application: "nobody"}, fault.NotFound},
		{"no application", registry.NewToken{Hash: f.hash()}, fault.Invalid},
		{"a member of 257 bytes", registry.NewToken{Hash: f.hash(), Application: "acme", Member: strings.Repeat("m", 257)}, fault.Invalid},
		{"a member with NUL", registry.NewToken{Hash: f.hash(), Application: "acme", Member: "m\x00"}, fault.Invalid},
		{"a member with a newline", registry.NewToken{Hash: f.hash(), Application: "acme", Member: "m\n"}, fault.Invalid},
		{"a member that is not UTF-8", registry.NewToken{Hash: f.hash(), Application: "acme", Member: "m\xff"}, fault.Invalid},
		{"an expiry now", registry.NewToken{Hash: f.hash(), Application: "acme", Expires: f.clock.Now()}, fault.Invalid},
		{"an expiry that has passed", registry.NewToken{Hash: f.hash(), Application: "acme", Expires: f.clock.Now().Add(-time.Hour)}, fault.Invalid},
		{"a hash that was used", registry.NewToken{Hash: used, Application: "beta"}, fault.Conflict},
	} {
		_, err := f.IssueToken(ctx, test.new)
		wantKind(t, test.name, err, test.kind)
	}
	if tokens, err := f.Tokens(ctx, "acme"); len(tokens) != 1 || err != nil {
		t.Errorf("tokens: %v, %v", tokens, err)
	}
	wantKind(t, "RevokeToken", f.RevokeToken(ctx, "tok_0000000000000000", ""), fault.NotFound)
}

func testRevoke(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	hashes := []registry.Hash{f.hash(), f.hash(), f.hash()}
	var tokens []registry.Token
	for _, hash := range hashes {
		tokens = append(tokens, f.issue(t, registry.NewToken{Hash: hash, Application: "acme"}))
	}
	f.clock.Advance(time.Minute)
	revoke := func(i int) {
		t.Helper()
		if err := f.RevokeToken(ctx, tokens[i].ID, "operator"); err != nil {
			t.Fatal(err)
		}
	}
	revoke(1)
	_, err := f.TokenByHash(ctx, hashes[1])
	wantKind(t, "TokenByHash of a revoked token", err, fault.NotFound)
	if _, err := f.TokenByHash(ctx, hashes[0]); err != nil {
		t.Errorf("TokenByHash of another: %v", err)
	}
	listed, err := f.Tokens(ctx, "acme")
	want := slices.Clone(tokens)
	want[1].Revoked = f.clock.Now()
	if diff := cmp.Diff(want, listed); diff != "" || err != nil {
		t.Errorf("Tokens: %v (-want +got):\n%s", err, diff)
	}

	_, end, err := f.Revocations(ctx, -1)
	if err != nil {
		t.Fatal(err)
	}
	all, next, err := f.Revocations(ctx, 0)
	if diff := cmp.Diff([]registry.Revocation{{TokenID: tokens[1].ID, Hash: hashes[1]}}, all); diff != "" || err != nil || next != end {
		t.Errorf("the log: next %d, end %d, %v (-want +got):\n%s", next, end, err, diff)
	}
	revoke(1) // again: nothing
	revoke(0)
	revoke(2)
	more, next, err := f.Revocations(ctx, next)
	wantMore := []registry.Revocation{{TokenID: tokens[0].ID, Hash: hashes[0]}, {TokenID: tokens[2].ID, Hash: hashes[2]}}
	if diff := cmp.Diff(wantMore, more); diff != "" || err != nil {
		t.Errorf("the log's rest: %v (-want +got):\n%s", err, diff)
	}
	if none, still, err := f.Revocations(ctx, next); len(none) != 0 || still != next || err != nil {
		t.Errorf("after the end: %v, next %d after %d, %v", none, still, next, err)
	}
}

func testRemovalRevokes(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	hash, other := f.hash(), f.hash()
	token := f.issue(t, registry.NewToken{Hash: hash, Application: "acme"})
	f.issue(t, registry.NewToken{Hash: other, Application: "beta"})
	without := Catalog()
	without.Applications = without.Applications[1:]
	f.apply(t, without)
	_, err := f.TokenByHash(ctx, hash)
	wantKind(t, "TokenByHash", err, fault.NotFound)
	if _, err := f.TokenByHash(ctx, other); err != nil {
		t.Errorf("TokenByHash of another application's: %v", err)
	}
	revoked, _, err := f.Revocations(ctx, 0)
	if diff := cmp.Diff([]registry.Revocation{{TokenID: token.ID, Hash: hash}}, revoked); diff != "" || err != nil {
		t.Errorf("the log: %v (-want +got):\n%s", err, diff)
	}
	// The application's return does not bring its tokens back.
	f.apply(t, Catalog())
	_, err = f.TokenByHash(ctx, hash)
	wantKind(t, "TokenByHash after the application's return", err, fault.NotFound)
	f.issue(t, registry.NewToken{Application: "acme"})
}

func testRevocationPages(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	const tokens = 300
	for range tokens {
		f.issue(t, registry.NewToken{Application: "acme"})
	}
	f.apply(t, &catalog.Catalog{CatchAll: Catalog().CatchAll})
	seen := make(map[string]bool)
	for since := int64(0); ; {
		page, next, err := f.Revocations(ctx, since)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page {
			if seen[one.TokenID] {
				t.Fatalf("%s twice", one.TokenID)
			}
			seen[one.TokenID] = true
		}
		if next == since {
			break
		}
		since = next
	}
	if len(seen) != tokens {
		t.Errorf("%d revocations, want %d", len(seen), tokens)
	}
}

func testForget(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	hash := f.hash()
	brief := f.issue(t, registry.NewToken{Hash: hash, Application: "acme", Expires: f.clock.Now().Add(time.Hour)})
	ended := f.issue(t, registry.NewToken{Application: "acme", Expires: f.clock.Now().Add(time.Hour)})
	lasting := f.issue(t, registry.NewToken{Application: "acme"})
	for _, token := range []registry.Token{ended, lasting} {
		if err := f.RevokeToken(ctx, token.ID, ""); err != nil {
			t.Fatal(err)
		}
	}
	f.clock.Advance(25 * time.Hour) // expired a day ago: still told apart from one that never was
	f.forgetTokens(t)
	if found, err := f.TokenByHash(ctx, hash); err != nil || found != brief {
		t.Errorf("TokenByHash: %v, %v", found, err)
	}
	revoked, next, err := f.Revocations(ctx, 0)
	if err != nil || len(revoked) != 2 {
		t.Errorf("the log: %v, %v", revoked, err)
	}
	f.clock.Advance(5 * 24 * time.Hour)
	kept := f.issue(t, registry.NewToken{Application: "acme"})
	f.forgetTokens(t)
	if tokens, err := f.Tokens(ctx, "acme"); err != nil || len(tokens) != 4 {
		t.Errorf("within a week: %v, %v; want all", tokens, err)
	}
	f.clock.Advance(3 * 24 * time.Hour)
	f.forgetTokens(t)
	tokens, err := f.Tokens(ctx, "acme")
	if err != nil || len(tokens) != 1 || tokens[0].ID != kept.ID {
		t.Errorf("a week later: %v, %v; want just the one that holds, neither %s nor %s", tokens, err, ended.ID, lasting.ID)
	}
	if revoked, _, err := f.Revocations(ctx, 0); err != nil || len(revoked) != 0 {
		t.Errorf("the log a week later: %v, %v", revoked, err)
	}
	// Positions in the log are not used again.
	again := f.issue(t, registry.NewToken{Application: "acme"})
	if err := f.RevokeToken(ctx, again.ID, ""); err != nil {
		t.Fatal(err)
	}
	if revoked, _, err := f.Revocations(ctx, next); err != nil || len(revoked) != 1 || revoked[0].TokenID != again.ID {
		t.Errorf("the log's rest: %v, %v", revoked, err)
	}
}

// forgetTokens forgets tokens until none is left that is to be.
func (f *fixture) forgetTokens(t *testing.T) (steps int) {
	t.Helper()
	for more := true; more; steps++ {
		var err error
		if more, err = f.ForgetTokens(t.Context()); err != nil {
			t.Fatalf("ForgetTokens: %v", err)
		}
	}
	return steps
}

// testForgetMany revokes more tokens than are forgotten at a time.
func testForgetMany(t *testing.T, f *fixture) {
	f.apply(t, Catalog())
	for range 1500 {
		f.issue(t, registry.NewToken{Application: "acme", Member: "m-1", Expires: f.clock.Now().Add(time.Hour)})
	}
	f.clock.Advance(9 * 24 * time.Hour)
	if steps := f.forgetTokens(t); steps < 2 {
		t.Error("they are forgotten in one step")
	}
	if tokens, err := f.Tokens(t.Context(), "acme"); len(tokens) > 0 || err != nil {
		t.Errorf("%d tokens are left, %v", len(tokens), err)
	}
}

// testMaxOwn issues one token more than may hold, many at once.
func testMaxOwn(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	const most = 5
	own := func() registry.NewToken {
		return registry.NewToken{Hash: f.hash(), Application: "acme", Expires: f.clock.Now().Add(time.Hour), MaxOwn: most}
	}
	for range most { // none of these is an own one that holds
		f.issue(t, registry.NewToken{Application: "acme", Member: "m-1"})
		f.issue(t, registry.NewToken{Application: "beta"})
		ended := f.issue(t, registry.NewToken{Application: "acme"})
		if err := f.RevokeToken(ctx, ended.ID, ""); err != nil {
			t.Fatal(err)
		}
	}
	var issued atomic.Int64
	var wg sync.WaitGroup
	for range 3 * most {
		wg.Go(func() {
			switch _, err := f.IssueToken(ctx, own()); {
			case err == nil:
				issued.Add(1)
			case fault.KindOf(err) != fault.Conflict:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if issued.Load() != most {
		t.Errorf("%d tokens were issued, want %d", issued.Load(), most)
	}
	member := own()
	member.Member = "m-1"
	f.issue(t, member)
	another := own()
	another.Application = "beta"
	_, err := f.IssueToken(ctx, another)
	wantKind(t, "an application with as many that were issued without a bound", err, fault.Conflict)
	f.clock.Advance(time.Hour) // which ends them
	f.issue(t, own())
}

func testTokenPages(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	var want []string
	for i := range 5 {
		want = append(want, f.issue(t, registry.NewToken{Application: "acme", Expires: f.clock.Now().Add(time.Duration(i+1) * time.Hour)}).ID)
		f.issue(t, registry.NewToken{Application: "beta"})
	}
	for limit := 1; limit <= 6; limit++ {
		var got []string
		for next := int64(0); ; {
			page, following, err := f.Registry.Tokens(ctx, "acme", next, limit)
			if err != nil || len(page) > limit || following != 0 && following <= next {
				t.Fatalf("limit %d: %d tokens after %d, next %d, %v", limit, len(page), next, following, err)
			}
			for _, token := range page {
				got = append(got, token.ID)
			}
			if next = following; next == 0 {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limit %d (-want +got):\n%s", limit, diff)
		}
	}
	// What is forgotten between two pages takes nothing else with it.
	page, next, err := f.Registry.Tokens(ctx, "acme", 0, 2)
	if err != nil || len(page) != 2 {
		t.Fatal(page, err)
	}
	f.clock.Advance(7*24*time.Hour + 2*time.Hour + time.Minute) // the first two expired a week ago
	f.forgetTokens(t)
	rest, _, err := f.Registry.Tokens(ctx, "acme", next, 10)
	if err != nil || len(rest) != 3 || rest[0].ID != want[2] {
		t.Errorf("after %v were forgotten: %v, %v", page, rest, err)
	}
	if none, next, err := f.Registry.Tokens(ctx, "acme", 1<<62, 10); len(none) != 0 || next != 0 || err != nil {
		t.Errorf("after the end: %v, next %d, %v", none, next, err)
	}
	for _, limit := range []int{-1, 0, registry.MaxTokens + 1} {
		_, _, err := f.Registry.Tokens(ctx, "acme", 0, limit)
		wantKind(t, "a page without a size", err, fault.Invalid)
	}
}

func testHoldingTokens(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	brief := f.issue(t, registry.NewToken{Application: "acme", Expires: f.clock.Now().Add(time.Minute)})
	own := f.issue(t, registry.NewToken{Application: "acme", Expires: f.clock.Now().Add(time.Hour)})
	member := f.issue(t, registry.NewToken{Application: "acme", Member: "m-1"})
	ended := f.issue(t, registry.NewToken{Application: "acme"})
	f.issue(t, registry.NewToken{Application: "beta"})
	newest := f.issue(t, registry.NewToken{Application: "acme"})
	if err := f.RevokeToken(ctx, ended.ID, ""); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(time.Minute) // which ends the brief one
	for _, test := range []struct {
		own  bool
		want []registry.Token
	}{{false, []registry.Token{newest, member, own}}, {true, []registry.Token{newest, own}}} {
		for limit := 1; limit <= 4; limit++ {
			var got []registry.Token
			for next := int64(0); ; {
				page, following, err := f.HoldingTokens(ctx, registry.HoldingTokens{Application: "acme", Own: test.own, Before: next, Limit: limit})
				if err != nil || len(page) > limit || following != 0 && next != 0 && following >= next {
					t.Fatalf("limit %d: %d tokens before %d, next %d, %v", limit, len(page), next, following, err)
				}
				got = append(got, page...)
				if next = following; next == 0 {
					break
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("own %v, limit %d (-want +got):\n%s", test.own, limit, diff)
			}
		}
	}
	for _, limit := range []int{-1, 0, registry.MaxTokens + 1} {
		_, _, err := f.HoldingTokens(ctx, registry.HoldingTokens{Application: "acme", Limit: limit})
		wantKind(t, "a page without a size", err, fault.Invalid)
	}
	_, _, err := f.HoldingTokens(ctx, registry.HoldingTokens{Application: "nobody", Limit: 1})
	wantKind(t, "tokens of nobody", err, fault.NotFound)

	if got, err := f.Token(ctx, brief.ID); err != nil || got != brief {
		t.Errorf("an expired token by its id: %v, %v", got, err)
	}
	uses := []registry.TokenUse{{ID: brief.ID, At: f.clock.Now()}, {ID: "tok_0000000000000000", At: f.clock.Now()}}
	if err := f.UseTokens(ctx, uses); err != nil {
		t.Errorf("UseTokens: %v", err)
	}
	if err := f.UseTokens(ctx, []registry.TokenUse{{ID: brief.ID, At: f.clock.Now().Add(-time.Minute)}}); err != nil {
		t.Errorf("UseTokens of what was before: %v", err)
	}
	brief.Used = f.clock.Now()
	if got, err := f.Token(ctx, brief.ID); err != nil || got != brief {
		t.Errorf("a token that was used: %v, %v", got, err)
	}
	ended.Revoked = f.clock.Now().Add(-time.Minute)
	if got, err := f.Token(ctx, ended.ID); err != nil || got != ended {
		t.Errorf("a revoked token by its id: %v, %v", got, err)
	}
	_, err = f.Token(ctx, "tok_0000000000000000")
	wantKind(t, "a token that is none", err, fault.NotFound)
}
