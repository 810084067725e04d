package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

// snapshots holds the snapshot of the catalog by which requests are decided, and replaces it as a whole when the registry's
// changes. It is safe for concurrent use.
type snapshots struct {
	registry registry.Registry
	config   *config // says which file the catalog comes from, if any
	log      *slog.Logger
	swapped  func(*catalog.Snapshot) // told of each new snapshot, one at a time

	now atomic.Pointer[catalog.Snapshot]
	mu  sync.Mutex // one refresh at a time: an older state never follows a newer one
}

// pollEvery is how often the registry is asked whether its catalog changed without this process having changed it, or changed it
// and could not read it back.
const pollEvery = 500 * time.Millisecond

// current returns the snapshot that holds.
func (s *snapshots) current() *catalog.Snapshot { return s.now.Load() }

// applyFile makes the registry match the configuration's catalog and takes it up. Without one it takes up what the registry
// has. A bad file changes nothing; the error has everything that is wrong with it.
func (s *snapshots) applyFile(ctx context.Context) ([]catalog.Change, error) {
	c, err := s.config.readCatalog()
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, s.refresh(ctx)
	}
	changes, err := s.registry.Apply(ctx, c, registry.ApplyOptions{Source: s.config.Catalog, Actor: "configuration"})
	if err != nil {
		return nil, err
	}
	return changes, s.refresh(ctx)
}

// reach takes up the registry's catalog, unless one of at least this version holds already: of many that wait, one reads it.
func (s *snapshots) reach(ctx context.Context, version int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current().Version() >= version {
		return nil
	}
	return s.refreshLocked(ctx)
}

// refresh takes up the registry's catalog.
func (s *snapshots) refresh(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refreshLocked(ctx)
}

func (s *snapshots) refreshLocked(ctx context.Context) error {
	c, version, err := s.registry.Catalog(ctx)
	if fault.KindOf(err) == fault.NotFound {
		c, version, err = emptyCatalog(), 0, nil
	}
	if err != nil {
		return err
	}
	snapshot, err := catalog.NewSnapshot(c, catalog.Options{Version: version, Paths: s.config.Paths})
	if err != nil {
		return fmt.Errorf("the registry's catalog makes no sense as paths are read here; set paths as they were, or name a catalog that does:\n%w", err)
	}
	s.now.Store(snapshot)
	s.swapped(snapshot)
	return nil
}

// emptyCatalog is what holds before any catalog was applied: nobody is known, and nobody let in.
func emptyCatalog() *catalog.Catalog {
	return &catalog.Catalog{CatchAll: catalog.Endpoint{
		ID: catalog.CatchAllID, Cost: 1, Limits: quota.Limits{Application: quota.NoAccess, Member: quota.NoAccess},
	}}
}

// follow takes up what changed in the registry until ctx ends.
func (s *snapshots) follow(ctx context.Context) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		version, err := s.registry.Version(ctx)
		if err == nil && version != s.current().Version() {
			err = s.refresh(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("the registry's catalog cannot be read; the last one holds", "err", err)
		}
	}
}
