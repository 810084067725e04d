package main

import (
	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/internal/yamldoc"
)

// paths reads how paths are read.
func (p *configParser) paths(n yamldoc.Node) {
	policy := &p.config.Paths
	n.Map(map[string]func(yamldoc.Node){
		"trailing_slash": func(n yamldoc.Node) { p.either(n, "ignore", "strict", &policy.StrictSlash) },
		"parameters": func(n yamldoc.Node) {
			if text, ok := p.oneOf(n, "ignore", "keep", "reject"); ok {
				policy.Parameters, _ = catalog.ParseParameters(text)
			}
		},
		"case":          func(n yamldoc.Node) { p.either(n, "sensitive", "insensitive", &policy.IgnoreCase) },
		"encoded_slash": func(n yamldoc.Node) { p.either(n, "reject", "pass", &policy.PassEncodedSlash) },
	})
}

// either reads one of two words, and stores whether it is the second.
func (p *configParser) either(n yamldoc.Node, first, second string, isSecond *bool) {
	if text, ok := p.oneOf(n, first, second); ok {
		*isSecond = text == second
	}
}

// methodOverride reads whether a POST may say that it means another method.
func (p *configParser) methodOverride(n yamldoc.Node) {
	if v, ok := n.Bool(); ok {
		p.config.MethodOverride = v
	}
}
