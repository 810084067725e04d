package main

import (
	"context"

	"github.com/perdiem/perdiem/identity"
)

// sources returns the sources of identity that the configuration names. Until follow ends, they follow the registry and their issuers.
func (n *node) sources(follow context.Context) ([]identity.Source, error) {
	var sources []identity.Source
	for _, c := range n.config.Identity.Sources {
		source, err := n.source(follow, c)
		if err != nil {
			return nil, err
		}
		sources = append(sources, source)
	}
	return sources, nil
}

func (n *node) source(follow context.Context, c sourceConfig) (identity.Source, error) {
	header := n.config.Identity.TokenHeader
	switch {
	case c.Headers != nil:
		return identity.NewHeaders(*c.Headers)
	case c.JWT != nil:
		o := *c.JWT
		o.Header, o.Now, o.Logger = header, n.now, n.log
		jwt, err := identity.NewJWT(o)
		if err != nil {
			return nil, err
		}
		n.following.Go(func() { jwt.Run(follow) })
		return jwt, nil
	case c.Introspection != nil:
		o := *c.Introspection
		o.Header, o.Now, o.Logger = header, n.now, n.log
		introspection, err := identity.NewIntrospection(o)
		if err != nil {
			return nil, err
		}
		n.following.Go(func() { <-follow.Done(); introspection.Close() })
		return introspection, nil
	default:
		tokens, err := identity.NewTokens(identity.TokenOptions{Registry: n.registry, Key: n.tokenKey, Header: header, Now: n.now, Logger: n.log})
		if err != nil {
			return nil, err
		}
		if err := tokens.ReadRevocations(follow); err != nil {
			return nil, err
		}
		n.tokens = tokens
		n.following.Go(func() { tokens.Run(follow) })
		return tokens, nil
	}
}
