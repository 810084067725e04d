package identity

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/perdiem/perdiem/registry"
)

func warmTokens(b *testing.B) (*Tokens, Request) {
	secret, hash := NewToken()
	t := &Tokens{now: time.Now, known: newCache(knownTokens)}
	t.known.advance(nil, 0)
	t.known.put(&hash, newEntry(registry.Token{ID: registry.NewTokenID(), Application: "acme", Member: "m-1", Expires: time.Now().Add(time.Hour)}), 0)
	r := Request{Header: http.Header{"Authorization": {"Bearer " + secret}}}
	return t, r
}

// BenchmarkWarmToken is the path of nearly every request: a token that is remembered.
func BenchmarkWarmToken(b *testing.B) {
	tokens, r := warmTokens(b)
	chain, ctx := New(tokens), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := chain.Identify(ctx, r); err != nil {
			b.Fatal(err)
		}
	}
}
