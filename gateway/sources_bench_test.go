package gateway_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/registry"
)

// BenchmarkSources compares the gateway by the sort of token that members bring, warm: perdiem's own, a JWT (ES256) of some 450 characters, and
// one that the issuer was asked about. Only the ratios in one run mean anything.
func BenchmarkSources(b *testing.B) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Length"] = []string{"2"}
		_, _ = w.Write([]byte("ok"))
	}))
	defer up.Close()
	where, err := url.Parse(up.URL)
	must(b, err)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(b, err)
	point, err := private.PublicKey.Bytes()
	must(b, err)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/jwks":
			fmt.Fprintf(w, `{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":%q,"y":%q}]}`,
				base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:]))
		default:
			fmt.Fprintf(w, `{"active":true,"client_id":"acme","sub":%q}`, strings.TrimPrefix(r.FormValue("token"), "token-of-"))
		}
	}))
	defer issuer.Close()

	const members = 100
	member := func(i int) string { return fmt.Sprintf("m-%d", i) }
	key, issued := identity.NewTokenKey(), issuedTokens{}
	tokens, err := identity.NewTokens(identity.TokenOptions{Registry: issued, Key: key})
	must(b, err)
	signed, err := identity.NewJWT(identity.JWTOptions{JWKS: issuer.URL + "/jwks", Issuer: issuer.URL, Audience: "api", Application: "client_id", Member: "sub"})
	must(b, err)
	// Its answers are good for a minute; by this clock no minute passes.
	began := time.Now()
	asked, err := identity.NewIntrospection(identity.IntrospectionOptions{
		URL: issuer.URL, ClientID: "gw", ClientSecret: "s", Application: "client_id", Member: "sub", Now: func() time.Time { return began },
	})
	must(b, err)
	defer asked.Close()
	ctx, cancel := context.WithCancel(context.Background())
	must(b, tokens.ReadRevocations(ctx)) // from then on tokens are remembered
	var running sync.WaitGroup
	running.Go(func() { tokens.Run(ctx) })
	defer running.Wait()
	defer cancel()

	for _, source := range []struct {
		name   string
		secret func(i int) string
	}{
		{"token", func(i int) string {
			secret, hash := key.NewToken()
			issued[hash] = registry.Token{ID: registry.NewTokenID(), Application: "acme", Member: member(i)}
			return secret
		}},
		{"jwt", func(i int) string {
			t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
				"iss": issuer.URL, "aud": "api", "client_id": "acme", "sub": member(i), "exp": time.Now().Add(time.Hour).Unix(),
				"iat": time.Now().Unix(), "jti": rand.Text(), "scope": strings.Repeat("posts.read ", 10),
			})
			t.Header["kid"] = "k"
			text, err := t.SignedString(private)
			must(b, err)
			return text
		}},
		{"introspection", func(i int) string { return "token-of-" + member(i) }},
	} {
		requests := make([][]byte, members)
		for i := range requests {
			requests[i] = fmt.Appendf(nil, "GET /x HTTP/1.1\r\nHost: api.local\r\nAuthorization: Bearer %s\r\n\r\n", source.secret(i))
		}
		b.Run(source.name, func(b *testing.B) {
			s := start(b, func(c *setup) {
				c.catalog = "catch_all: {application: 999999999999, member: 999999999}\napplications: [{id: acme}]\n"
				c.options.Upstream = where
				c.sources = []identity.Source{tokens, signed, asked}
			})
			s.quiet.Store(true)
			warm, err := dialClient(s.address)
			must(b, err)
			defer warm.Close()
			for i := range 20 * members {
				must(b, warm.do(requests[i%members]))
			}
			b.ResetTimer()
			hammer(b, s.address, requests)
		})
	}
}
