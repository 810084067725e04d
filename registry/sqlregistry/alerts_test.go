package sqlregistry

import (
	"testing"

	"github.com/perdiem/perdiem/registry/registrytest"
)

func TestAlertsConformance(t *testing.T) {
	registrytest.RunAlerts(t, func(t *testing.T, clock *registrytest.Clock) registrytest.AlertRegistry {
		return openAt(t, file(t), clock)
	})
}
