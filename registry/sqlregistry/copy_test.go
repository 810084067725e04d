package sqlregistry

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/registrytest"
)

func TestCopy(t *testing.T) {
	path := file(t)
	filled(t, path)
	r := openAt(t, path, registrytest.NewClock())
	defer closed(t, r)
	for _, name := range []string{"copy.db", "a'b?c=d#e%20.db"} {
		to := filepath.Join(t.TempDir(), name)
		if err := r.Copy(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		if entries, err := os.ReadDir(filepath.Dir(to)); err != nil || len(entries) != 1 {
			t.Errorf("beside the copy: %v, %v", entries, err)
		}
		c := openAt(t, to, registrytest.NewClock())
		if diff := cmp.Diff(contents(t, r), contents(t, c)); diff != "" {
			t.Errorf("-registry +copy:\n%s", diff)
		}
		// Numbers are not used again in a copy either.
		token, err := c.IssueToken(t.Context(), registry.NewToken{Hash: registry.Hash{255, 255}, Application: "acme"})
		if err != nil {
			t.Fatal(err)
		}
		_, before, err := r.Revocations(t.Context(), -1)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.RevokeToken(t.Context(), token.ID, ""); err != nil {
			t.Fatal(err)
		}
		if _, after, err := c.Revocations(t.Context(), -1); err != nil || after <= before {
			t.Errorf("the log of revocations went from %d to %d, %v", before, after, err)
		}
		closed(t, c)
		if err := r.Copy(t.Context(), to); err == nil {
			t.Error("a file that exists was written over")
		}
	}
}

// TestCopyWhileChanged copies a registry that is being changed. Each copy is whole and has every change from before it.
func TestCopyWhileChanged(t *testing.T) {
	path := file(t)
	filled(t, path)
	r := openAt(t, path, registrytest.NewClock())
	defer closed(t, r)
	stop, wrote := make(chan struct{}), make(chan string)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(wrote)
		for i := 0; ; i++ {
			token, err := r.IssueToken(context.Background(), registry.NewToken{Hash: registry.Hash{1, 2, byte(i), byte(i >> 8)}, Application: "beta"})
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case wrote <- token.ID:
			case <-stop:
				return
			}
		}
	})
	for range 5 {
		var last string
		for range 20 {
			last = <-wrote
		}
		to := file(t)
		if err := r.Copy(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		c := openAt(t, to, registrytest.NewClock())
		if err := c.RevokeToken(t.Context(), last, ""); err != nil {
			t.Errorf("the copy lacks what was there before it: %v", err)
		}
		closed(t, c)
	}
	close(stop)
	wg.Wait()
}

func TestCopyGivesUp(t *testing.T) {
	path := file(t)
	filled(t, path)
	r := openAt(t, path, registrytest.NewClock())
	defer closed(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	to := file(t)
	if err := r.Copy(ctx, to); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(to); err == nil {
		t.Error("a part of a copy was left")
	}
}
