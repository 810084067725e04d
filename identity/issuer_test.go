package identity

import (
	"fmt"
	"sync"
	"testing"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/testkit"
)

// issuerSources returns both sources that follow a real issuer.
func issuerSources(t *testing.T, issuer *testkit.Issuer) (*JWT, *Introspection) {
	t.Helper()
	j, err := NewJWT(JWTOptions{
		JWKS: issuer.URL + "/jwks", Issuer: issuer.URL, Audience: "api", Application: "client_id", Member: "sub",
	})
	if err != nil {
		t.Fatal(err)
	}
	i, err := NewIntrospection(IntrospectionOptions{
		URL: issuer.URL + "/token/introspection", ClientID: "gw", ClientSecret: testkit.IntrospectionSecret, Audience: "api",
		Application: "client_id", Member: "sub",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return j, i
}

// TestRealIssuer goes through an issuer's life: tokens of every sort, a revocation, new keys, an outage.
func TestRealIssuer(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	jwt, introspection := issuerSources(t, issuer)
	chain := New(newTokens(t, newRegistry(t)), jwt, introspection)
	identify := func(token string) (Caller, error) {
		return chain.Identify(t.Context(), request(t, "", "Authorization: Bearer "+token))
	}
	want := func(name, token string, want Caller) {
		t.Helper()
		if got, err := identify(token); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	own, member := Caller{Application: "app-1", Vouched: true}, Caller{Application: "app-1", Member: "urn:li:person/é", Vouched: true}
	for _, format := range []string{"jwt/ES256", "jwt/ES384", "jwt/ES512", "jwt/RS256", "jwt/PS256", "jwt/EdDSA", "opaque"} {
		for range 2 {
			want(format, issuer.Token(t, format, ""), own)
			want(format+" of a member", issuer.Token(t, format, member.Member), member)
		}
	}
	if got := issuer.Asked(t, "/jwks"); got != 1 {
		t.Errorf("the keys were read %d times", got)
	}
	if _, err := identify("made-up"); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("a token of nobody's: %v", err)
	}
	revoked := issuer.Token(t, "opaque", "m-1")
	issuer.Revoke(t, revoked)
	if _, err := identify(revoked); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("a token that was revoked: %v", err)
	}

	before, opaque := issuer.Token(t, "jwt/ES256", "m-1"), issuer.Token(t, "opaque", "m-1")
	m1 := Caller{Application: "app-1", Member: "m-1", Vouched: true}
	want("a token of the old keys", before, m1)
	want("an opaque one", opaque, m1)
	issuer.Rotate(t, true)
	after := issuer.Token(t, "jwt/ES256", "m-1")
	// It asked once at the start, for want of any key, and may ask again ten seconds later.
	forgetRefresh(jwt)
	want("a token of the new keys", after, m1)
	want("a token of the old keys", before, m1)

	issuer.Break(t)
	want("a remembered token, the issuer down", opaque, m1)
	want("a token of a known key, the issuer down", after, m1)
	if _, err := identify("another"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("another token, the issuer down: %v", err)
	}
	issuer.Mend(t)
	if _, err := identify("another"); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("another token, the issuer up again: %v", err)
	}

	issuer.Rotate(t, false)
	<-jwt.keys.refresh()
	forgetRefresh(jwt)
	if _, err := identify(before); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("a token of keys that were withdrawn: %v", err)
	}
	if introspected, err := New(introspection).Identify(t.Context(), request(t, "", "Authorization: Bearer "+after)); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("a JWT about which the issuer answers no questions: %+v, %v", introspected, err)
	}
}

// TestRealRotation has an issuer change its keys under load. Each call brings a token that was signed a moment ago: not one is refused.
func TestRealRotation(t *testing.T) {
	issuer := testkit.StartIssuer(t)
	jwt, _ := issuerSources(t, issuer)
	<-jwt.keys.refresh()
	var wg sync.WaitGroup
	calls := make(chan int)
	for range 8 {
		wg.Go(func() {
			for n := range calls {
				token := issuer.Token(t, "jwt/ES256", fmt.Sprint("m-", n))
				if _, found, err := identifyBearer(t.Context(), jwt, token); !found || err != nil {
					t.Errorf("call %d was refused: %v", n, err)
				}
			}
		})
	}
	for n := range 200 {
		if n == 100 {
			issuer.Rotate(t, true)
		}
		calls <- n
	}
	close(calls)
	wg.Wait()
	if got := issuer.Asked(t, "/jwks"); got != 2 {
		t.Errorf("the keys were read %d times, want 2", got)
	}
}
