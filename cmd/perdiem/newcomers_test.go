package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/sqlregistry"
)

func newNewcomers(add func(context.Context, registry.NewApplication) (int64, error), reach func(context.Context, int64) error) *newcomers {
	return &newcomers{tier: "development", add: add, reach: reach, now: time.Now, log: slog.New(slog.DiscardHandler), under: map[string]*newcomer{}}
}

// TestNewcomers registers applications in a real registry: each is in the snapshot when its registering ends.
func TestNewcomers(t *testing.T) {
	r, err := sqlregistry.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "registry.db"), sqlregistry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := catalog.Parse("catalog.yaml", []byte("catch_all: {}\ntiers: {development: {'*': {application: 5}}}\n"), catalog.PathPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Apply(t.Context(), c, registry.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	s := &snapshots{registry: r, config: &config{}, log: slog.New(slog.DiscardHandler), swapped: func(*catalog.Snapshot) {}}
	if err := s.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := newNewcomers(r.AddApplication, s.reach)
	var wg sync.WaitGroup
	for i := range 4 * newcomersPerSecond { // each is met four times at once
		wg.Go(func() {
			id := fmt.Sprint("app-", i%newcomersPerSecond)
			if _, known := s.current().Application(id); known {
				return
			}
			if err := n.register(t.Context(), id); err != nil && fault.KindOf(err) != fault.Exhausted {
				t.Error(err)
				return
			}
			if a, known := s.current().Application(id); known && a.Tier != "development" {
				t.Errorf("%s is %+v", id, a)
			}
		})
	}
	wg.Wait()
	if got := len(s.current().Applications()); got != newcomersPerSecond {
		t.Errorf("%d applications, want %d", got, newcomersPerSecond)
	}
}

// TestNewcomersAreBounded meets more new applications than may be registered.
func TestNewcomersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var added atomic.Int64
		n := newNewcomers(
			func(_ context.Context, a registry.NewApplication) (int64, error) {
				if a.Tier != "development" || a.Most != maxNewcomers {
					t.Errorf("added: %+v", a)
				}
				return added.Add(1), nil
			},
			func(context.Context, int64) error { return nil },
		)
		for second := range 3 {
			for i := range 100 {
				err := n.register(t.Context(), fmt.Sprint(second, "-", i))
				if want := i < newcomersPerSecond; (err == nil) != want || err != nil && fault.KindOf(err) != fault.Exhausted {
					t.Fatalf("second %d, application %d: %v", second, i, err)
				}
			}
			time.Sleep(time.Second) // of the bubble's clock
		}
		if got := added.Load(); got != 3*newcomersPerSecond {
			t.Errorf("%d were added", got)
		}
	})
}

func TestNewcomersFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail error
		slow := make(chan struct{})
		n := newNewcomers(
			func(context.Context, registry.NewApplication) (int64, error) { <-slow; return 1, fail },
			func(context.Context, int64) error { return nil },
		)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := n.register(ctx, "hasty"); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("whoever gave up: %v", err)
		}
		close(slow)
		synctest.Wait()
		for _, c := range []struct{ cause, want fault.Kind }{
			{fault.Unavailable, fault.Unavailable}, {fault.Exhausted, fault.Exhausted}, {fault.NotFound, fault.Unauthorized},
		} {
			fail = fault.New(c.cause, "secret")
			err := n.register(t.Context(), fmt.Sprint(c.cause))
			if fault.KindOf(err) != c.want || fault.Message(err) == "secret" {
				t.Errorf("the registry said %q: %v", c.cause, err)
			}
		}
		fail = errors.New("a defect")
		if err := n.register(t.Context(), "x"); fault.KindOf(err) != fault.Internal {
			t.Errorf("a defect: %v", err)
		}
		synctest.Wait()
		if len(n.under) != 0 {
			t.Errorf("%d are left behind", len(n.under))
		}
	})
}

// TestDoorsShareNewcomers checks that what is met at one door counts at the other.
func TestDoorsShareNewcomers(t *testing.T) {
	n := &node{config: &config{}}
	if n.register() != nil {
		t.Error("applications are registered where the configuration refuses them")
	}
	n.config.Identity.UnknownTier = "development"
	n.register()
	first := n.newcomers
	if n.register(); first == nil || n.newcomers != first {
		t.Errorf("the second door has newcomers of its own: %p, %p", first, n.newcomers)
	}
}
