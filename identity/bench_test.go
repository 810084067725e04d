package identity

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/registry"
)

// warm returns a chain that remembers the token of the request.
func warm(t testing.TB) (*Chain, Request) {
	t.Helper()
	tokens := newTokens(t, newRegistry(t))
	secret, hash := testKey.NewToken()
	tokens.known.put(&hash, newEntry(registry.Token{
		ID: registry.NewTokenID(), Application: "acme", Member: "m-1", Expires: time.Now().Add(time.Hour),
	}), tokens.known.cursor.Load())
	return New(tokens), request(t, "127.0.0.1", "Authorization: Bearer "+secret)
}

// warmJWT returns a chain that remembers the JWT of the request.
func warmJWT(t testing.TB) (*Chain, Request) {
	t.Helper()
	ec := newECKey("ec")
	j, _ := newJWT(t, time.Now, ec)
	chain := New(newTokens(t, newRegistry(t)), j)
	// As long as issuers' tokens are: some 700 characters.
	token := ec.sign(header("ES256", "ec"), goodClaims(time.Now(), map[string]any{"scope": strings.Repeat("scope ", 40)}))
	r := request(t, "127.0.0.1", "Authorization: Bearer "+token)
	if _, err := chain.Identify(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return chain, r
}

// warmIntrospection returns a chain that remembers what the issuer said of the token of the request.
func warmIntrospection(t testing.TB) (*Chain, Request) {
	t.Helper()
	const token = "13owJ8yCzlmIA-lNXkVZbtI4nT6qwb6d80rxcRvMZVJ"
	clock := time.Now()
	i, _ := newIntrospection(t, func() time.Time { return clock }, map[string]string{token: `{"active":true,"client_id":"acme","sub":"m-1"}`})
	chain := New(newTokens(t, newRegistry(t)), i)
	r := request(t, "127.0.0.1", "Authorization: Bearer "+token)
	if _, err := chain.Identify(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return chain, r
}

func TestWarmTokensAllocateNothing(t *testing.T) {
	for name, warm := range map[string]func(testing.TB) (*Chain, Request){"token": warm, "JWT": warmJWT, "introspection": warmIntrospection} {
		t.Run(name, func(t *testing.T) {
			chain, r := warm(t)
			ctx := t.Context()
			if n := testing.AllocsPerRun(1000, func() {
				if _, err := chain.Identify(ctx, r); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

// BenchmarkWarmToken is the path of nearly every request: a token that is remembered.
func BenchmarkWarmToken(b *testing.B) { benchmarkWarm(b, warm) }

// BenchmarkWarmJWT is the same for a JWT of some 700 characters.
func BenchmarkWarmJWT(b *testing.B) { benchmarkWarm(b, warmJWT) }

// BenchmarkWarmIntrospection is the same for a token that the issuer was asked about.
func BenchmarkWarmIntrospection(b *testing.B) { benchmarkWarm(b, warmIntrospection) }

// BenchmarkColdJWT verifies an ES256 token each time.
func BenchmarkColdJWT(b *testing.B) {
	ec := newECKey("ec")
	j, _ := newJWT(b, time.Now, ec)
	token := ec.sign(header("ES256", "ec"), goodClaims(time.Now(), nil))
	hash := hashSecret(token)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := identifyBearer(b.Context(), j, token); err != nil {
			b.Fatal(err)
		}
		j.known.delete(&hash)
	}
}

// BenchmarkMadeUpToken is what a flood of made-up tokens costs each.
func BenchmarkMadeUpToken(b *testing.B) {
	tokens := newTokens(b, newRegistry(b))
	secret, _ := NewTokenKey().NewToken()
	r := request(b, "", "Authorization: Bearer "+secret)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := tokens.Identify(b.Context(), r); err == nil {
			b.Fatal("let in")
		}
	}
}

func benchmarkWarm(b *testing.B, warm func(testing.TB) (*Chain, Request)) {
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
	tokens, err := NewTokens(TokenOptions{Registry: r, Key: testKey}) // it has not read the log: it remembers nothing
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
			_, hash := testKey.NewToken()
			c.put(&hash, newEntry(registry.Token{ID: registry.NewTokenID(), Application: "acme", Member: fmt.Sprintf("%036d", i)}), 1)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/knownTokens, "bytes/token")
		runtime.KeepAlive(c)
	}
}
