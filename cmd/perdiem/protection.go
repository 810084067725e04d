package main

import (
	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/internal/telemetry"
	"github.com/perdiem/perdiem/protect"
)

// newProtection returns what protects the upstream; nil where nothing does.
func (n *node) newProtection() (*protect.Limiter, error) {
	c := n.config.Protection
	if c.Off {
		return nil, nil
	}
	return protect.New(protect.Options{Least: c.Least, Most: c.Most, Tolerance: c.Tolerance, Now: n.now, Log: n.log})
}

func (n *node) protectionFigures() *telemetry.ProtectionFigures {
	if n.protect == nil {
		return nil
	}
	s := n.protect.State()
	return &telemetry.ProtectionFigures{
		Limiting: s.Limiting, Limit: s.Limit, InFlight: s.Waiting, Refused: s.Refused, Latency: s.Latency, UsualLatency: s.UsualLatency,
	}
}

func (n *node) protection() adminapi.Protection {
	if n.protect == nil {
		return adminapi.Protection{}
	}
	s, c := n.protect.State(), n.config.Protection
	return adminapi.Protection{
		Enabled: true, Limiting: s.Limiting, Limit: s.Limit, InFlight: s.Waiting, Admitted: s.Admitted, Refused: s.Refused,
		Latency: s.Latency.Seconds(), UsualLatency: s.UsualLatency.Seconds(), Min: c.Least, Max: c.Most,
	}
}
