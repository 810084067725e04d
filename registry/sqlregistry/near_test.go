package sqlregistry

import (
	"testing"

	"github.com/perdiem/perdiem/registry/registrytest"
	"github.com/perdiem/perdiem/usage"
)

func TestNearConformance(t *testing.T) {
	registrytest.RunNear(t, func(t *testing.T) usage.NearStore {
		r := openAt(t, file(t), registrytest.NewClock())
		t.Cleanup(func() { closed(t, r) })
		return r
	})
}
