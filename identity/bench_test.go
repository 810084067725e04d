package identity

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/perdiem/perdiem/registry"
)

// warm returns a chain that remembers the token of the request.
func warm(t testing.TB) (*Chain, Request) {
	t.Helper()
	tokens := newTokens(t, newRegistry(t))
	secret, hash := NewToken()
	tokens.known.put(&hash, newEntry(registry.Token{
		ID: registry.NewTokenID(), Application: "acme", Member: "m-1", Expires: time.Now().Add(time.Hour),
	}), tokens.known.cursor.Load())
	return New(tokens), request(t, "127.0.0.1", "Authorization: Bearer "+secret)
}

func TestWarmTokenAllocatesNothing(t *testing.T) {
	chain, r := warm(t)
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := chain.Identify(ctx, r); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkWarmToken is the path of nearly every request: a token that is remembered.
func BenchmarkWarmToken(b *testing.B) {
	chain, r := warm(b)
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := chain.Identify(ctx, r); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkHeaders is the same for what a trusted proxy says.
func BenchmarkHeaders(b *testing.B) {
	chain, ctx := New(newHeaders(b)), b.Context()
	r := request(b, "127.0.0.1", "X-App-Id: acme", "X-Member-Id: urn:li:person:0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := chain.Identify(ctx, r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkColdToken asks the registry each time.
func BenchmarkColdToken(b *testing.B) {
	r := newRegistry(b)
	req := request(b, "", "Authorization: Bearer "+issue(b, r, "acme", "m-1"))
	tokens, err := NewTokens(TokenOptions{Registry: r}) // it has not read the log: it remembers nothing
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := tokens.Identify(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMemory fills the memory of tokens of members with ids of 36 bytes.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		c := newCache(knownTokens)
		c.advance(nil, 1)
		for i := range knownTokens {
			_, hash := NewToken()
			c.put(&hash, newEntry(registry.Token{ID: registry.NewTokenID(), Application: "acme", Member: fmt.Sprintf("%036d", i)}), 1)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/knownTokens, "bytes/token")
		runtime.KeepAlive(c)
	}
}
