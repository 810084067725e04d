package identity

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/perdiem/perdiem/registry"
)

// useKeeper keeps what it is told, unless it fails.
type useKeeper struct {
	TokenReader
	told []registry.TokenUse
	err  error
}

func (k *useKeeper) UseTokens(_ context.Context, uses []registry.TokenUse) error {
	if k.err == nil {
		k.told = append(k.told, uses...)
	}
	return k.err
}

// When an application's own token was used reaches the registry, once in a period.
func TestTokenUse(t *testing.T) {
	r := newRegistry(t)
	own, members := issue(t, r, "acme", ""), issue(t, r, "acme", "m-1")
	now := time.Now()
	keeper := &useKeeper{TokenReader: r}
	tokens, err := NewTokens(TokenOptions{Registry: keeper, Key: testKey, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if err := tokens.ReadRevocations(t.Context()); err != nil {
		t.Fatal(err)
	}
	call := func(secret string) string {
		t.Helper()
		caller, found, err := tokens.Identify(t.Context(), request(t, "127.0.0.1", "Authorization: Bearer "+secret))
		if err != nil || !found {
			t.Fatal(found, err)
		}
		return caller.TokenID
	}
	id := call(own)
	for range 5 {
		call(own)
		call(members)
	}
	keeper.err = errors.New("down")
	tokens.keepUses(t.Context())
	keeper.err = nil
	first := now
	tokens.keepUses(t.Context())
	tokens.keepUses(t.Context())
	now = now.Add(usePeriod)
	call(own)
	tokens.keepUses(t.Context())
	if want := []registry.TokenUse{{ID: id, At: first}, {ID: id, At: now}}; len(keeper.told) != 2 || keeper.told[0] != want[0] || keeper.told[1] != want[1] {
		t.Errorf("told %v, want %v", keeper.told, want)
	}
}

func TestUsesAreBounded(t *testing.T) {
	var u uses
	for range maxUses + 10 {
		u.note(registry.NewTokenID(), time.Now())
	}
	if len(u.noted) != maxUses {
		t.Errorf("%d are noted", len(u.noted))
	}
}

// Run tells the registry of what was used until it ended.
func TestRunKeepsUses(t *testing.T) {
	r := newRegistry(t)
	tokens := newTokens(t, r)
	own := issue(t, r, "acme", "")
	caller, _, err := tokens.Identify(t.Context(), request(t, "127.0.0.1", "Authorization: Bearer "+own))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tokens.Run(ctx)
	hash, _ := TokenHash(own)
	if found, err := r.TokenByHash(t.Context(), hash); err != nil || found.Used.IsZero() || found.ID != caller.TokenID {
		t.Errorf("%+v, %v", found, err)
	}
}
