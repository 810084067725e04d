package identity

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
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

// slowKeeper takes all the time it is given to note uses.
type slowKeeper struct {
	read []time.Time // when revocations were
}

func (*slowKeeper) TokenByHash(context.Context, registry.Hash) (registry.Token, error) {
	return registry.Token{}, errors.New("not asked")
}

func (k *slowKeeper) Revocations(_ context.Context, since int64) ([]registry.Revocation, int64, error) {
	k.read = append(k.read, time.Now())
	return nil, since, nil
}

func (*slowKeeper) UseTokens(ctx context.Context, _ []registry.TokenUse) error {
	<-ctx.Done()
	return ctx.Err()
}

// Revocations are read at their pace, whatever becomes of uses.
func TestRevocationsDoNotWaitForUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keeper := &slowKeeper{}
		tokens, err := NewTokens(TokenOptions{Registry: keeper, Key: testKey, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		tokens.uses.note(registry.NewTokenID(), time.Now())
		ctx, cancel := context.WithTimeout(t.Context(), 2*keepUsesEvery)
		defer cancel()
		tokens.Run(ctx)
		for i := range keeper.read[1:] {
			if waited := keeper.read[i+1].Sub(keeper.read[i]); waited > revocationsEvery {
				t.Errorf("revocations were not read for %v", waited)
			}
		}
		if len(keeper.read) < int(keepUsesEvery/revocationsEvery) {
			t.Errorf("revocations were read %d times", len(keeper.read))
		}
	})
}
