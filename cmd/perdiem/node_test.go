package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/registry/sqlregistry"
)

// startHere runs a node in this process, on what folder holds.
func startHere(t *testing.T, folder string) (*node, error) {
	t.Helper()
	c, err := readConfig(filepath.Join(folder, "perdiem.yaml"), getenv)
	if err != nil {
		t.Fatal(err)
	}
	return startNode(t.Context(), c, nodeOptions{Log: slog.New(slog.DiscardHandler), Now: time.Now})
}

func writeFile(t *testing.T, folder, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	quietNode  = "listen: {portal: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", ops: \"127.0.0.1:0\"}\ncatalog: catalog.yaml\n"
	oneCatalog = "catch_all: {member: 1}\napplications: [{id: acme}]\n"
)

// TestRefusedStart starts a node with a changed configuration in ways that are refused: the registry stays as it was.
func TestRefusedStart(t *testing.T) {
	for _, c := range []struct {
		name, problem string
		spoil         func(t *testing.T, folder string)
	}{
		{"another ledger", "is not the one that the registry knows", func(t *testing.T, folder string) {
			if err := os.RemoveAll(filepath.Join(folder, "data", "ledger")); err != nil {
				t.Fatal(err)
			}
		}},
		{"a bad catalog", "catalog.yaml:1:21: member: ", func(t *testing.T, folder string) {
			writeFile(t, folder, "catalog.yaml", "catch_all: {member: -1}\n")
		}},
		{"an address that is taken", "listen.ops cannot be had", func(t *testing.T, folder string) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			writeFile(t, folder, "perdiem.yaml", strings.Replace(quietNode, `ops: "127.0.0.1:0"`, `ops: "`+l.Addr().String()+`"`, 1))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			writeFile(t, folder, "perdiem.yaml", quietNode)
			writeFile(t, folder, "catalog.yaml", oneCatalog)
			n, err := startHere(t, folder)
			if err == nil {
				err = n.stop(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			before := registryState(t, folder)
			writeFile(t, folder, "catalog.yaml", oneCatalog+"tiers: {new: {}}\n")
			c.spoil(t, folder)
			changed, err := os.ReadFile(filepath.Join(folder, "perdiem.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, folder, "perdiem.yaml", string(changed)+"day: {starts: \"06:00\"}\n")
			if _, err := startHere(t, folder); err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("the start: %v", err)
			}
			if diff := cmp.Diff(before, registryState(t, folder)); diff != "" {
				t.Errorf("the registry has changed: -before +after\n%s", diff)
			}
		})
	}
}

// registryState returns what a start may write into a registry.
func registryState(t *testing.T, folder string) map[string]any {
	t.Helper()
	r, err := sqlregistry.OpenSQLite(t.Context(), filepath.Join(folder, "data", "registry.db"), sqlregistry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	version, err := r.Version(t.Context())
	state := map[string]any{"version": version}
	for _, key := range []string{ledgerSetting, daySetting} {
		value, _, failed := r.Setting(t.Context(), key)
		err = errors.Join(err, failed)
		state[key] = value
	}
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// TestReady has a node ready from the start, and no longer once it cannot tell revoked tokens.
func TestReady(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, folder, "perdiem.yaml", quietNode)
	writeFile(t, folder, "catalog.yaml", oneCatalog)
	n, err := startHere(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if err := n.ready(); err != nil {
		t.Errorf("at the start: %v", err)
	}
	if err := n.registry.Close(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for n.ready() == nil {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("still ready, though revocations cannot be read")
		}
	}
	if err := n.ready(); !strings.Contains(err.Error(), "revocations") {
		t.Errorf("not ready: %v", err)
	}
}

// TestWithin closes what closes, what fails to, and what hangs.
func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), stopTime)
		defer cancel()
		failure := errors.New("no")
		if err := within(ctx, func() error { return nil }); err != nil {
			t.Error(err)
		}
		if err := within(ctx, func() error { return failure }); !errors.Is(err, failure) {
			t.Error(err)
		}
		began, never := time.Now(), make(chan struct{})
		if err := within(ctx, func() error { <-never; return nil }); err == nil || time.Since(began) != stopTime {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		close(never)
	})
}

// An application that leaves the catalog is a warning, with what goes with it; other changes are none.
func TestChangesAreLogged(t *testing.T) {
	var logged bytes.Buffer
	n := &node{log: slog.New(slog.NewTextHandler(&logged, nil))}
	made := n.logChanges([]catalog.Change{
		{Op: catalog.Removed, Noun: "application", Name: "acme"},
		{Op: catalog.Removed, Noun: "application", Name: "acme", Field: "tokens", From: "3"},
		{Op: catalog.Added, Noun: "application", Name: "acne"},
		{Op: catalog.Changed, Noun: "application", Name: "beta", Field: "tier", From: "none", To: "gold"},
		{Op: catalog.Removed, Noun: "endpoint", Name: "posts"},
		{Op: catalog.Kept, Noun: "application", Name: "gamma", Field: "suspended", From: "true", To: "false"},
	})
	var got []string
	for line := range strings.Lines(logged.String()) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), " ") // the time
		got = append(got, line)
	}
	want := []string{
		`level=WARN msg="catalog changed" change="- application acme"`,
		`level=WARN msg="catalog changed" change="- application acme tokens 3"`,
		`level=INFO msg="catalog changed" change="+ application acne"`,
		`level=INFO msg="catalog changed" change="~ application beta tier none -> gold"`,
		`level=INFO msg="catalog changed" change="- endpoint posts"`,
		`level=INFO msg="catalog changed" change="! kept application gamma suspended true; the file says false"`,
	}
	if diff := cmp.Diff(want, got); diff != "" || made != 5 {
		t.Errorf("%d were made (-want +got):\n%s", made, diff)
	}
}
