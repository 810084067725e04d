package sqlregistry

import (
	"testing"

	"github.com/perdiem/perdiem/registry/registrytest"
)

func TestNearConformance(t *testing.T) {
	registrytest.RunNear(t, func(t *testing.T, clock *registrytest.Clock) registrytest.AlertRegistry {
		r := openAt(t, file(t), clock)
		t.Cleanup(func() { closed(t, r) })
		return r
	})
}
