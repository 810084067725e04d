package identity

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/registrytest"
	"github.com/perdiem/perdiem/registry/sqlregistry"
)

// newRegistry returns a registry that holds [registrytest.Catalog].
func newRegistry(t testing.TB) *sqlregistry.Registry {
	t.Helper()
	r, err := sqlregistry.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "registry.db"), sqlregistry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := r.Apply(t.Context(), registrytest.Catalog(), registry.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	return r
}

// testKey makes the tokens of these tests.
var testKey = NewTokenKey()

// issue returns the secret of a new token that never expires.
func issue(t testing.TB, r registry.Registry, application, member string) string {
	t.Helper()
	secret, hash := testKey.NewToken()
	if _, err := r.IssueToken(t.Context(), registry.NewToken{Hash: hash, Application: application, Member: member}); err != nil {
		t.Fatal(err)
	}
	return secret
}

// newTokens returns a source that has read the log of revocations once, as Run does first.
func newTokens(t testing.TB, r TokenReader) *Tokens {
	t.Helper()
	tokens, err := NewTokens(TokenOptions{Registry: r, Key: testKey, Header: "X-Api-Key"})
	if err != nil {
		t.Fatal(err)
	}
	if err := tokens.ReadRevocations(t.Context()); err != nil {
		t.Fatal(err)
	}
	return tokens
}

// counted counts the questions to a registry, and may do something before one is asked and after it was answered.
type counted struct {
	*sqlregistry.Registry
	asked         atomic.Int64
	before, after func()
}

func (c *counted) TokenByHash(ctx context.Context, hash registry.Hash) (registry.Token, error) {
	c.asked.Add(1)
	if c.before != nil {
		c.before()
	}
	token, err := c.Registry.TokenByHash(ctx, hash)
	if c.after != nil {
		c.after()
	}
	return token, err
}

func TestTokens(t *testing.T) {
	r := newRegistry(t)
	secret := issue(t, r, "acme", "urn:li:person/1")
	own := issue(t, r, "acme", "")
	other := issue(t, r, "beta", "")
	unknown, _ := testKey.NewToken()
	tokens := newTokens(t, r)
	chain := New(tokens)
	long := TokenPrefix + strings.Repeat("A", 100<<10)
	for _, test := range []struct {
		name        string
		lines       []string
		application string // empty: an error
		member      string
		kind        fault.Kind // of the error
	}{
		{"a member's token", []string{"Authorization: Bearer " + secret}, "acme", "urn:li:person/1", 0},
		{"an application's token", []string{"Authorization: Bearer " + own}, "acme", "", 0},
		{"the scheme in another case", []string{"authorization: bEARer " + secret}, "acme", "urn:li:person/1", 0},
		{"more than one space", []string{"Authorization: Bearer    " + secret}, "acme", "urn:li:person/1", 0},
		{"in the other header", []string{"X-Api-Key: " + other}, "beta", "", 0},
		{"in both, the same", []string{"Authorization: Bearer " + own, "X-Api-Key: " + own}, "acme", "", 0},
		{"in both, different", []string{"Authorization: Bearer " + own, "X-Api-Key: " + other}, "", "", fault.Invalid},
		{"in both, different, one unknown", []string{"Authorization: Bearer " + own, "X-Api-Key: nonsense"}, "", "", fault.Invalid},
		{"twice, the same", []string{"Authorization: Bearer " + own, "Authorization: Bearer " + own}, "acme", "", 0},
		{"twice, different", []string{"Authorization: Bearer " + own, "Authorization: Bearer " + other}, "", "", fault.Invalid},
		{"twice, of different schemes", []string{"Authorization: Bearer " + own, "Authorization: Basic dTpw"}, "", "", fault.Invalid},
		{"in the other header twice, different", []string{"X-Api-Key: " + own, "X-Api-Key: " + other}, "", "", fault.Invalid},
		{"two in one line", []string{"Authorization: Bearer " + own + ", Bearer " + own}, "", "", fault.Unauthorized},
		{"a header spelt with _", []string{"X_Api_Key: " + own}, "", "", fault.Unauthorized},
		{"beside another's password", []string{"Authorization: Basic dTpw", "X-Api-Key: " + own}, "acme", "", 0},
		{"no credential", nil, "", "", fault.Unauthorized},
		{"an empty header", []string{"Authorization:"}, "", "", fault.Unauthorized},
		{"a scheme alone", []string{"Authorization: Bearer"}, "", "", fault.Unauthorized},
		{"a scheme and spaces", []string{"Authorization: Bearer   "}, "", "", fault.Unauthorized},
		{"a token alone", []string{"Authorization: " + own}, "", "", fault.Unauthorized},
		{"another scheme", []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(own))}, "", "", fault.Unauthorized},
		{"a tab for the space", []string{"Authorization: Bearer\t" + own}, "", "", fault.Unauthorized},
		{"an unknown token", []string{"Authorization: Bearer " + unknown}, "", "", fault.Unauthorized},
		{"a token cut short", []string{"Authorization: Bearer " + own[:len(own)-1]}, "", "", fault.Unauthorized},
		{"a token and one more", []string{"Authorization: Bearer " + own + "A"}, "", "", fault.Unauthorized},
		{"a token in another case", []string{"Authorization: Bearer " + strings.ToUpper(own)}, "", "", fault.Unauthorized},
		{"a token with padding", []string{"Authorization: Bearer " + own + "="}, "", "", fault.Unauthorized},
		{"a token with a space", []string{"Authorization: Bearer " + own[:20] + " " + own[21:]}, "", "", fault.Unauthorized},
		{"a token that is not ASCII", []string{"Authorization: Bearer " + own[:45] + "é"}, "", "", fault.Unauthorized},
		{"another's token", []string{"Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln"}, "", "", fault.Unauthorized},
		{"a token of 100 KiB", []string{"Authorization: Bearer " + long}, "", "", fault.Unauthorized},
		{"a key of 100 KiB", []string{"X-Api-Key: " + long}, "", "", fault.Unauthorized},
		{"another's token of 100 KiB", []string{"Authorization: Bearer " + long[4:]}, "", "", fault.Unauthorized},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // cold, then warm
				got, err := chain.Identify(t.Context(), request(t, "10.0.0.1", test.lines...))
				switch {
				case test.application == "":
					if err == nil || fault.KindOf(err) != test.kind || got != (Caller{}) {
						t.Errorf("got %+v, %v; want an error of kind %q", got, err, test.kind)
					}
					if err != nil && strings.Contains(err.Error(), "pdm_") {
						t.Errorf("the error shows a token: %v", err)
					}
				case err != nil || got.Application != test.application || got.Member != test.member || !strings.HasPrefix(got.TokenID, "tok_"):
					t.Errorf("got %+v, %v; want %s, %s", got, err, test.application, test.member)
				}
			}
		})
	}
}

func TestNewToken(t *testing.T) {
	seen := make(map[string]bool)
	other := NewTokenKey()
	for range 1000 {
		secret, hash := testKey.NewToken()
		if len(secret) != 55 || !strings.HasPrefix(secret, "pdm_") || seen[secret] {
			t.Fatalf("secret %q", secret)
		}
		seen[secret] = true
		if got, ok := parseToken(secret); !ok || got != hash {
			t.Fatalf("secret %q is not known by its hash", secret)
		}
		if !testKey.made(secret) || other.made(secret) {
			t.Fatalf("secret %q: made with its key %t, with another %t", secret, testKey.made(secret), other.made(secret))
		}
	}
	secret, _ := testKey.NewToken()
	for i := len(TokenPrefix); i < len(secret); i++ { // any character changed
		c := byte('A')
		if secret[i] == c {
			c = 'B'
		}
		if forged := secret[:i] + string(c) + secret[i+1:]; testKey.made(forged) {
			t.Errorf("%q was made of %q", forged, secret)
		}
	}
}

// bareToken returns a token as they were issued before they carried a check.
func bareToken() (secret string, hash registry.Hash) {
	secret, _ = testKey.NewToken()
	secret = secret[:bareLength]
	return secret, hashSecret(secret)
}

func TestOpenTokenKey(t *testing.T) {
	r := newRegistry(t)
	first, err := OpenTokenKey(t.Context(), r.KeepSetting)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenTokenKey(t.Context(), r.KeepSetting)
	if err != nil {
		t.Fatal(err)
	}
	if secret, _ := first.NewToken(); !again.made(secret) {
		t.Error("the registry's key changed")
	}
	if err := r.SetSetting(t.Context(), tokenKeySetting, "AAAA"); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTokenKey(t.Context(), r.KeepSetting); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged key: %v", err)
	}
}

func TestTokenOptions(t *testing.T) {
	r := newRegistry(t)
	for _, test := range []struct {
		name    string
		options TokenOptions
		ok      bool
	}{
		{"a registry", TokenOptions{Registry: r, Key: testKey}, true},
		{"a header", TokenOptions{Registry: r, Key: testKey, Header: "x-api-key"}, true},
		{"no registry", TokenOptions{Key: testKey}, false},
		{"no key", TokenOptions{Registry: r}, false},
		{"no header's name", TokenOptions{Registry: r, Key: testKey, Header: "X Api Key"}, false},
		{"Authorization", TokenOptions{Registry: r, Key: testKey, Header: "AUTHORIZATION"}, false},
	} {
		if _, err := NewTokens(test.options); (err == nil) != test.ok {
			t.Errorf("%s: error %v", test.name, err)
		}
	}
}

// TestRevocation revokes a token that is remembered, and removes the application of another.
func TestRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &counted{Registry: newRegistry(t)}
		revoked, hash := testKey.NewToken()
		token, err := r.IssueToken(t.Context(), registry.NewToken{Hash: hash, Application: "beta"})
		if err != nil {
			t.Fatal(err)
		}
		removed, kept := issue(t, r, "acme", "m-1"), issue(t, r, "beta", "m-1")
		tokens, err := NewTokens(TokenOptions{Registry: r, Key: testKey})
		if err != nil {
			t.Fatal(err)
		}
		if tokens.Ready() == nil {
			t.Error("ready before it has read any revocation")
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { tokens.Run(ctx) })
		defer running.Wait()
		defer stop()
		synctest.Wait()
		if err := tokens.Ready(); err != nil {
			t.Error(err)
		}
		identify := func(secret string) error {
			_, err := New(tokens).Identify(ctx, request(t, "10.0.0.1", "Authorization: Bearer "+secret))
			return err
		}
		for range 3 {
			for _, secret := range []string{revoked, removed, kept} {
				if err := identify(secret); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := r.asked.Load(); got != 3 {
			t.Errorf("the registry was asked %d times for 3 tokens", got)
		}
		without := registrytest.Catalog()
		without.Applications = without.Applications[1:] // acme
		if _, err := r.Apply(ctx, without, registry.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := r.RevokeToken(ctx, token.ID, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // of the bubble's clock
		synctest.Wait()
		for _, secret := range []string{revoked, removed} {
			if err := identify(secret); fault.KindOf(err) != fault.Unauthorized {
				t.Errorf("a second after it was revoked: %v", err)
			}
		}
		if err := identify(kept); err != nil {
			t.Errorf("another token: %v", err)
		}
	})
}

// TestRevokedWhileAsked revokes a token between the registry's answer and its being remembered.
func TestRevokedWhileAsked(t *testing.T) {
	r := &counted{Registry: newRegistry(t)}
	secret, hash := testKey.NewToken()
	token, err := r.IssueToken(t.Context(), registry.NewToken{Hash: hash, Application: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	tokens := newTokens(t, r)
	r.after = func() {
		if err := errors.Join(r.RevokeToken(t.Context(), token.ID, ""), tokens.ReadRevocations(t.Context())); err != nil {
			t.Error(err)
		}
	}
	req := request(t, "10.0.0.1", "Authorization: Bearer "+secret)
	if _, _, err := tokens.Identify(t.Context(), req); err != nil {
		t.Errorf("a token that held when it was looked up: %v", err)
	}
	if _, _, err := tokens.Identify(t.Context(), req); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("the same token, revoked: %v", err)
	}
}

// TestNotRemembered asks before the log of revocations was read: nothing may be remembered.
func TestNotRemembered(t *testing.T) {
	r := &counted{Registry: newRegistry(t)}
	secret := issue(t, r, "acme", "")
	tokens, err := NewTokens(TokenOptions{Registry: r, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, _, err := tokens.Identify(t.Context(), request(t, "", "Authorization: Bearer "+secret)); err != nil {
			t.Error(err)
		}
	}
	if got := r.asked.Load(); got != 3 {
		t.Errorf("the registry was asked %d times for 3 requests", got)
	}
}

func TestExpiry(t *testing.T) {
	clock := registrytest.NewClock()
	path := filepath.Join(t.TempDir(), "registry.db")
	db, err := sqlregistry.OpenSQLite(t.Context(), path, sqlregistry.Options{Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Apply(t.Context(), registrytest.Catalog(), registry.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	r := &counted{Registry: db}
	var requests []Request
	for range 2 { // one is remembered before it expires, the other first met after
		secret, hash := testKey.NewToken()
		if _, err := r.IssueToken(t.Context(), registry.NewToken{Hash: hash, Application: "acme", Expires: clock.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		requests = append(requests, request(t, "", "Authorization: Bearer "+secret))
	}
	tokens, err := NewTokens(TokenOptions{Registry: r, Key: testKey, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := tokens.ReadRevocations(t.Context()); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Hour - time.Millisecond)
	if _, found, err := tokens.Identify(t.Context(), requests[0]); !found || err != nil {
		t.Errorf("a millisecond before it expires: %t, %v", found, err)
	}
	clock.Advance(time.Millisecond)
	for range 3 {
		for i, req := range requests {
			if _, _, err := tokens.Identify(t.Context(), req); fault.KindOf(err) != fault.Unauthorized {
				t.Errorf("token %d, expired: %v", i, err)
			}
		}
	}
	if got := r.asked.Load(); got != 2 {
		t.Errorf("the registry was asked %d times for 2 tokens", got)
	}
}

// TestFlood sends tokens of the old form as fast as it can, by a clock that stands still. Tokens that carry a check are let in all the same.
func TestFlood(t *testing.T) {
	clock := registrytest.NewClock()
	r := &counted{Registry: newRegistry(t)}
	issueBare := func(member string) string {
		secret, hash := bareToken()
		if _, err := r.IssueToken(t.Context(), registry.NewToken{Hash: hash, Application: "acme", Member: member}); err != nil {
			t.Fatal(err)
		}
		return secret
	}
	warm, cold := issueBare("m-1"), issueBare("m-2")
	tokens := newTokens(t, r)
	tokens.now = clock.Now
	identify := func(secret string) error {
		_, _, err := tokens.Identify(t.Context(), request(t, "", "Authorization: Bearer "+secret))
		return err
	}
	if err := identify(warm); err != nil {
		t.Fatal(err)
	}
	flood := func() {
		t.Helper()
		r.asked.Store(0)
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				for range 10 {
					secret, _ := bareToken()
					if kind := fault.KindOf(identify(secret)); kind != fault.Unauthorized && kind != fault.Exhausted {
						t.Errorf("an unknown token: kind %q", kind)
					}
				}
			})
		}
		wg.Wait()
		if got := r.asked.Load(); got != vainPerSecond {
			t.Errorf("the registry was asked %d times, want %d", got, vainPerSecond)
		}
	}
	flood()
	if err := identify(warm); err != nil {
		t.Errorf("a token that is remembered, in a flood: %v", err)
	}
	if err := identify(issue(t, r, "acme", "m-3")); err != nil {
		t.Errorf("a token with a check that is not remembered, in a flood: %v", err)
	}
	if err := identify(cold); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("a token without one that is not remembered, in a flood: %v", err)
	}
	clock.Advance(-time.Hour) // a clock that is set back must not stretch it
	if err := identify(cold); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("the same token, the clock set back: %v", err)
	}
	clock.Advance(time.Second)
	if err := identify(cold); err != nil {
		t.Errorf("the same token after the flood: %v", err)
	}
	clock.Advance(time.Hour) // however long it was quiet, no more is saved up
	flood()
}

// TestMadeUpTokens sends tokens whose check is wrong: the registry hears of none of them.
func TestMadeUpTokens(t *testing.T) {
	r := &counted{Registry: newRegistry(t)}
	tokens := newTokens(t, r)
	other := NewTokenKey()
	for range 10_000 {
		secret, _ := other.NewToken()
		_, _, err := tokens.Identify(t.Context(), Request{Header: http.Header{"Authorization": {"Bearer " + secret}}})
		if fault.KindOf(err) != fault.Unauthorized {
			t.Fatal(err)
		}
	}
	if got := r.asked.Load(); got != 0 {
		t.Errorf("the registry was asked %d times", got)
	}
}

// TestColdStart meets many good tokens at once, none of them remembered.
func TestColdStart(t *testing.T) {
	r := newRegistry(t)
	requests := make([]Request, 200)
	for i := range requests {
		requests[i] = request(t, "", "Authorization: Bearer "+issue(t, r, "acme", ""))
	}
	tokens := newTokens(t, r)
	var wg sync.WaitGroup
	for _, req := range requests {
		wg.Go(func() {
			if _, _, err := tokens.Identify(t.Context(), req); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestUnknownTokensAreRemembered sends one unknown token many times.
func TestUnknownTokensAreRemembered(t *testing.T) {
	clock := registrytest.NewClock()
	r := &counted{Registry: newRegistry(t)}
	tokens := newTokens(t, r)
	tokens.now = clock.Now
	secret, _ := testKey.NewToken()
	for range 100 {
		if _, _, err := tokens.Identify(t.Context(), request(t, "", "Authorization: Bearer "+secret)); fault.KindOf(err) != fault.Unauthorized {
			t.Fatal(err)
		}
	}
	if got := r.asked.Load(); got != 1 {
		t.Errorf("the registry was asked %d times", got)
	}
	clock.Advance(unknownFor)
	if _, _, err := tokens.Identify(t.Context(), request(t, "", "Authorization: Bearer "+secret)); fault.KindOf(err) != fault.Unauthorized {
		t.Fatal(err)
	}
	if got := r.asked.Load(); got != 2 {
		t.Errorf("later, the registry was asked %d times", got)
	}
}

// unread is a registry whose log of revocations cannot be read while it is down.
type unread struct {
	counted
	down atomic.Bool
}

func (u *unread) Revocations(ctx context.Context, since int64) (revoked []registry.Revocation, next int64, err error) {
	if u.down.Load() {
		return nil, 0, errors.New("down")
	}
	return u.counted.Revocations(ctx, since)
}

// TestRevokedLongAgo revokes a token that is remembered while the log of revocations cannot be read, for so long that the log forgets it.
func TestRevokedLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &unread{counted: counted{Registry: newRegistry(t)}}
		revoked, hash := testKey.NewToken()
		token, err := r.IssueToken(t.Context(), registry.NewToken{Hash: hash, Application: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		kept := issue(t, r, "acme", "m-1")
		tokens := newTokens(t, r)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { tokens.Run(ctx) })
		defer running.Wait()
		defer stop()
		identify := func(secret string) error {
			_, _, err := tokens.Identify(t.Context(), request(t, "", "Authorization: Bearer "+secret))
			return err
		}
		for _, secret := range []string{revoked, kept} {
			if err := identify(secret); err != nil {
				t.Fatal(err)
			}
		}
		downFor := func(d time.Duration) {
			r.down.Store(true)
			time.Sleep(d)
			r.down.Store(false)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		downFor(readAgainWithin - time.Hour)
		if err := identify(kept); err != nil || r.asked.Load() != 2 {
			t.Errorf("after less than a day: %v, asked %d times", err, r.asked.Load())
		}
		if err := r.RevokeToken(t.Context(), token.ID, ""); err != nil {
			t.Fatal(err)
		}
		r.down.Store(true)
		time.Sleep(8 * 24 * time.Hour)
		if _, err := r.ForgetTokens(t.Context()); err != nil {
			t.Fatal(err)
		}
		downFor(0)
		if err := identify(revoked); fault.KindOf(err) != fault.Unauthorized {
			t.Errorf("a token that was revoked: %v", err)
		}
		if err := identify(kept); err != nil {
			t.Errorf("a token that holds: %v", err)
		}
	})
}

// TestRegistryDown closes the registry under a source.
func TestRegistryDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t)
		warm, cold := issue(t, r, "acme", "m-1"), issue(t, r, "acme", "m-2")
		tokens := newTokens(t, r)
		identify := func(secret string) error {
			_, _, err := tokens.Identify(t.Context(), request(t, "", "Authorization: Bearer "+secret))
			return err
		}
		if err := identify(warm); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { tokens.Run(ctx) })
		defer running.Wait()
		defer stop()
		synctest.Wait()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // of the bubble's clock
		synctest.Wait()
		if err := tokens.Ready(); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Ready: %v", err)
		}
		if err := identify(warm); err != nil {
			t.Errorf("a token that is remembered: %v", err)
		}
		if err := identify(cold); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a token that is not remembered: %v", err)
		}
	})
}

// TestWaitEnds gives up while the registry is busy with others' questions.
func TestWaitEnds(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	r := &counted{Registry: newRegistry(t), before: func() { asked <- struct{}{}; <-release }}
	tokens := newTokens(t, r)
	var wg sync.WaitGroup
	for range maxAsking {
		req := request(t, "", "Authorization: Bearer "+issue(t, r, "acme", ""))
		wg.Go(func() {
			if _, _, err := tokens.Identify(t.Context(), req); err != nil {
				t.Error(err)
			}
		})
	}
	for range maxAsking {
		<-asked
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := tokens.Identify(ctx, request(t, "", "Authorization: Bearer "+issue(t, r, "acme", ""))); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a request that was given up: %v", err)
	}
	close(release)
	wg.Wait()
}

// TestBounds fills both memories beyond their size.
func TestBounds(t *testing.T) {
	const size = 2 * memoryShards
	c := newCache(size)
	c.advance(nil, 1)
	u := newStrangers(unknownFor)
	u.size = 16
	now := registrytest.NewClock().Now()
	e := newEntry(registry.Token{ID: "tok_1", Application: "acme", Member: "m-1"})
	for range 10 * size {
		_, hash := testKey.NewToken()
		c.put(&hash, e, 1)
		if _, ok := c.get(&hash); !ok {
			t.Fatal("what was just remembered is not")
		}
		u.put(&hash, now)
		if !u.has(&hash, now) {
			t.Fatal("what was just noted as unknown is not")
		}
		if len(u.until) > 16 {
			t.Fatalf("%d unknown tokens", len(u.until))
		}
	}
	held := 0
	for i := range c.shards {
		held += len(c.shards[i].tokens)
	}
	if held != size {
		t.Errorf("%d tokens, want %d", held, size)
	}
	if got, want := e.caller(), (Caller{Application: "acme", Member: "m-1", TokenID: "tok_1"}); got != want {
		t.Errorf("caller %+v, want %+v", got, want)
	}
}

// FuzzToken has no input but the token itself pass for it, and none show it to the upstream.
func FuzzToken(f *testing.F) {
	r := newRegistry(f)
	// A fixed secret: the fuzzer's processes must share it for its corpus to mean the same to each.
	const secret = "pdm_0123456789abcdefghijABCDEFGHIJ_-0123456789k"
	hash, ok := parseToken(secret)
	if !ok {
		f.Fatal("not a token")
	}
	if _, err := r.IssueToken(f.Context(), registry.NewToken{Hash: hash, Application: "acme", Member: "m-1"}); err != nil {
		f.Fatal(err)
	}
	tokens := newTokens(f, r)
	for _, seed := range []struct{ authorization, key string }{
		{"Bearer " + secret, ""},
		{"bearer  " + secret + " ", secret},
		{"Bearer " + secret + "=", ""},
		{"Bearer " + secret + ",Bearer x", ""},
		{"Basic " + secret, secret},
		{"Bearer " + secret + "AAAAAAAA", ""}, // a check that is wrong
		{"Bearer pdm_", "pdm_\x00"},
		{"", strings.Repeat("a", 5000)},
		{"Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "\xff"},
	} {
		f.Add(seed.authorization, seed.key)
	}
	f.Fuzz(func(t *testing.T, authorization, key string) {
		h := map[string][]string{}
		if authorization != "" {
			h["Authorization"] = []string{authorization}
		}
		if key != "" {
			h["X-Api-Key"] = []string{key}
		}
		caller, found, err := tokens.Identify(t.Context(), Request{Header: h})
		scheme, credential, _ := strings.Cut(authorization, " ")
		sent := strings.EqualFold(scheme, "Bearer") && strings.Trim(credential, " ") == secret
		if found != ((sent && (key == "" || key == secret)) || !strings.EqualFold(scheme, "Bearer") && key == secret) {
			t.Errorf("found %t, %v", found, err)
		}
		if found && (err != nil || caller.Application != "acme" || caller.Member != "m-1") {
			t.Errorf("caller %+v, %v", caller, err)
		}
		if !found && caller != (Caller{}) {
			t.Errorf("a caller that was not found: %+v", caller)
		}
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Unauthorized && kind != fault.Invalid && kind != fault.Exhausted {
				t.Errorf("error of kind %q: %v", kind, err)
			}
		}
		tokens.Strip(h)
		_, keyLeft := h["X-Api-Key"]
		_, tokenLeft := h["Authorization"]
		if keyLeft || sent && tokenLeft {
			t.Errorf("the upstream sees %v", h)
		}
	})
}
