package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/sqlregistry"
)

// What is to be forgotten is forgotten in steps, and looked for every hour, whether that failed or not.
func TestForgetTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		left, steps := 5, 0 // guarded by mu
		done := make(chan struct{})
		go func() {
			forgetTokens(ctx, func(context.Context) (bool, error) {
				mu.Lock()
				defer mu.Unlock()
				steps++
				if steps == 6 {
					return false, errors.New("boom")
				}
				left = max(0, left-1)
				return left > 0, nil
			}, slog.New(slog.DiscardHandler))
			close(done)
		}()
		want := func(after int) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if left != 0 || steps != after {
				t.Errorf("%d are left after %d steps, want none after %d", left, steps, after)
			}
			left = 2
		}
		time.Sleep(time.Minute)
		want(5)
		time.Sleep(2*time.Hour + time.Minute)
		want(8)
		cancel()
		<-done
	})
}

// A node forgets the tokens that ended more than a week ago, though it issues none.
func TestNodeForgetsTokens(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, folder, "perdiem.yaml", quietNode)
	writeFile(t, folder, "catalog.yaml", "catch_all: {application: 100, member: 20}\napplications: [{id: acme}]\n")
	n, err := startHere(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	then := time.Now().AddDate(0, 0, -8)
	r, err := sqlregistry.OpenSQLite(t.Context(), filepath.Join(n.config.Data, "registry.db"), sqlregistry.Options{Now: func() time.Time { return then }})
	if err != nil {
		t.Fatal(err)
	}
	token, err := r.IssueToken(t.Context(), registry.NewToken{Application: "acme", Member: "m-1", Expires: then.Add(time.Hour)})
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if n, err = startHere(t, folder); err != nil {
		t.Fatal(err)
	}
	for wait := time.After(20 * time.Second); ; {
		if _, err = n.registry.Token(t.Context(), token.ID); err != nil {
			break
		}
		select {
		case <-wait:
			t.Fatal("the token is not forgotten")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	if err := n.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}
