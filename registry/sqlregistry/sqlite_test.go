package sqlregistry_test

import (
	"path/filepath"
	"testing"

	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/registrytest"
	"github.com/perdiem/perdiem/registry/sqlregistry"
)

// openAt opens the registry in path, going by clock.
func openAt(t *testing.T, path string, clock *registrytest.Clock) *sqlregistry.Registry {
	t.Helper()
	r, err := sqlregistry.OpenSQLite(t.Context(), path, sqlregistry.Options{Now: clock.Now})
	if err != nil {
		t.Fatalf("OpenSQLite: %v", err)
	}
	return r
}

func TestSQLite(t *testing.T) {
	registrytest.Run(t, func(t *testing.T, clock *registrytest.Clock) registry.Registry {
		return openAt(t, filepath.Join(t.TempDir(), "registry.db"), clock)
	})
}
