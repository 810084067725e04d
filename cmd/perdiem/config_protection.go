package main

import (
	"time"

	"github.com/perdiem/perdiem/internal/yamldoc"
	"github.com/perdiem/perdiem/protect"
)

// protectionConfig says how the upstream is protected.
type protectionConfig struct {
	Off       bool
	Least     int // calls that wait at a time
	Most      int
	Tolerance time.Duration
}

// maxConcurrency is the most that max_concurrency may be.
const maxConcurrency = 1_000_000

// protection reads on, off, or a map of bounds.
func (p *configParser) protection(n yamldoc.Node) {
	c := &p.config.Protection
	if !n.IsMap() {
		text, _ := p.oneOf(n, "on", "off")
		c.Off = text == "off"
		return
	}
	count := func(field *int) func(yamldoc.Node) {
		return func(n yamldoc.Node) {
			if calls, ok := p.count(n, maxConcurrency); ok {
				*field = int(calls)
			}
		}
	}
	n.Map(map[string]func(yamldoc.Node){
		"min_concurrency": count(&c.Least),
		"max_concurrency": count(&c.Most),
		"tolerance": func(n yamldoc.Node) {
			if d, ok := p.duration(n); ok {
				c.Tolerance = d
			}
		},
	})
	if c.Least > c.Most {
		n.Problem("min_concurrency is %d, which is more than max_concurrency, %d", c.Least, c.Most)
	}
}

// defaultProtection is what holds where nothing is said.
func defaultProtection() protectionConfig {
	return protectionConfig{Least: protect.DefaultLeast, Most: protect.DefaultMost, Tolerance: protect.DefaultTolerance}
}
