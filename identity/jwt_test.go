package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry/registrytest"
)

// signerKey is a key pair of an issuer's.
type signerKey struct {
	kid     string
	method  jwt.SigningMethod
	private crypto.Signer
	more    map[string]any // in the JWK
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (k signerKey) jwk() map[string]any {
	j := map[string]any{"kid": k.kid}
	switch public := k.private.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		size := (len(point) - 1) / 2
		j["kty"], j["crv"], j["x"], j["y"] = "EC", public.Params().Name, b64(point[1:1+size]), b64(point[1+size:])
	case *rsa.PublicKey:
		j["kty"], j["n"], j["e"] = "RSA", b64(public.N.Bytes()), "AQAB"
	case ed25519.PublicKey:
		j["kty"], j["crv"], j["x"] = "OKP", "Ed25519", b64(public)
	}
	maps.Copy(j, k.more)
	return j
}

// sign returns a token with this header and these claims, whatever they say.
func (k signerKey) sign(header, payload string) string {
	text := b64([]byte(header)) + "." + b64([]byte(payload))
	signature, err := k.method.Sign(text, k.private)
	if err != nil {
		panic(err)
	}
	return text + "." + b64(signature)
}

func newECKey(kid string) signerKey {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return signerKey{kid: kid, method: jwt.SigningMethodES256, private: private}
}

var testRSA = sync.OnceValue(func() *rsa.PrivateKey {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return private
})

// jwksServer is where a key set is read from: what it answers can be changed at any time.
type jwksServer struct {
	mu    sync.Mutex
	keys  []signerKey   // guarded by mu
	fail  error         // guarded by mu
	reads int           // guarded by mu
	slow  chan struct{} // guarded by mu; not nil: an answer waits for it
}

func (s *jwksServer) set(fail error, keys ...signerKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.fail = keys, fail
}

func (s *jwksServer) read(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if slow := s.slow; slow != nil {
		s.mu.Unlock()
		select {
		case <-slow:
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
	if s.fail != nil {
		return nil, s.fail
	}
	list := make([]any, len(s.keys))
	for i, k := range s.keys {
		list[i] = k.jwk()
	}
	return json.Marshal(map[string]any{"keys": list})
}

func (s *jwksServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

var jwtOptions = JWTOptions{
	JWKS: "https://issuer.example/jwks.json", Issuer: "https://issuer.example", Audience: "api", Application: "client_id", Member: "sub",
}

// newJWT returns a source that reads its keys from a server.
func newJWT(t testing.TB, now func() time.Time, keys ...signerKey) (*JWT, *jwksServer) {
	t.Helper()
	o := jwtOptions
	o.Now = now
	j, err := NewJWT(o)
	if err != nil {
		t.Fatal(err)
	}
	server := &jwksServer{keys: keys}
	j.keys.fetch = server.read
	return j, server
}

// forgetRefresh lets a request cause a refresh at once, as if the last were long ago.
func forgetRefresh(j *JWT) {
	j.keys.mu.Lock()
	defer j.keys.mu.Unlock()
	j.keys.caused = time.Time{}
}

// goodClaims are the claims of a token that holds at now, with some changed; a value of nil takes a claim out.
func goodClaims(now time.Time, change map[string]any) string {
	c := map[string]any{
		"iss": jwtOptions.Issuer, "aud": "api", "client_id": "acme", "sub": "m-1",
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	for name, value := range change {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func header(alg, kid string) string {
	return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, alg, kid)
}

// identifyBearer asks a source about a bearer token.
func identifyBearer(ctx context.Context, s Source, token string) (Caller, bool, error) {
	return s.Identify(ctx, Request{Header: http.Header{"Authorization": {"Bearer " + token}}})
}

func TestJWT(t *testing.T) {
	clock := registrytest.NewClock()
	now := clock.Now()
	ec := newECKey("ec")
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	es384 := signerKey{kid: "ec384", method: jwt.SigningMethodES384, private: p384}
	rs := signerKey{kid: "rsa", method: jwt.SigningMethodRS256, private: testRSA()}
	pss := signerKey{kid: "rsa", method: jwt.SigningMethodPS512, private: testRSA()}
	_, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := signerKey{kid: "ed", method: jwt.SigningMethodEdDSA, private: edPrivate}
	pinned := signerKey{kid: "pinned", method: jwt.SigningMethodPS256, private: testRSA(), more: map[string]any{"alg": "RS256"}}
	encrypts := newECKey("encrypts")
	encrypts.more = map[string]any{"use": "enc"}
	stranger := newECKey("ec")
	j, server := newJWT(t, clock.Now, ec, es384, rs, ed, pinned, encrypts)
	<-j.keys.refresh()
	server.set(nil, ec, es384, rs, ed, pinned, encrypts)

	// The public key as the secret of an HMAC, in the forms in which libraries were once fooled.
	der, err := x509.MarshalPKIXPublicKey(rs.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	hmacWith := func(kid string, secret []byte) string {
		text := b64([]byte(header("HS256", kid))) + "." + b64([]byte(goodClaims(now, nil)))
		signature, err := jwt.SigningMethodHS256.Sign(text, secret)
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + b64(signature)
	}
	jwkText, err := json.Marshal(ec.jwk())
	if err != nil {
		t.Fatal(err)
	}
	good := ec.sign(header("ES256", "ec"), goodClaims(now, nil))
	goodHeader, goodPayload := header("ES256", "ec"), goodClaims(now, nil)
	claimed := func(change map[string]any) string { return ec.sign(goodHeader, goodClaims(now, change)) }
	headed := func(h string) string { return ec.sign(h, goodPayload) }
	parts := strings.Split(good, ".")
	acme := Caller{Application: "acme", Member: "m-1", Vouched: true}
	own := Caller{Application: "acme", Vouched: true}
	for _, test := range []struct {
		name  string
		token string
		want  Caller
		kind  fault.Kind // where want is zero; 0: it is another's
	}{
		{"ES256", good, acme, 0},
		{"ES384", es384.sign(header("ES384", "ec384"), goodPayload), acme, 0},
		{"RS256", rs.sign(header("RS256", "rsa"), goodPayload), acme, 0},
		{"PS512 by the same key", pss.sign(header("PS512", "rsa"), goodPayload), acme, 0},
		{"EdDSA", ed.sign(header("EdDSA", "ed"), goodPayload), acme, 0},
		{"no kid", headed(`{"alg":"ES256"}`), acme, 0},
		{"typ JWT", headed(`{"alg":"ES256","kid":"ec","typ":"JWT"}`), acme, 0},
		{"typ as a whole media type", headed(`{"alg":"ES256","kid":"ec","typ":"application/AT+JWT"}`), acme, 0},
		{"headers that say where a key is", headed(`{"alg":"ES256","kid":"ec","jku":"https://evil.example","x5u":"https://evil.example"}`), acme, 0},
		{"audiences", claimed(map[string]any{"aud": []string{"other", "api"}}), acme, 0},
		{"a member that is the application", claimed(map[string]any{"sub": "acme"}), own, 0},
		{"no member", claimed(map[string]any{"sub": nil}), own, 0},
		{"a member of null", ec.sign(goodHeader, strings.Replace(goodPayload, `"m-1"`, "null", 1)), own, 0},
		{"expired within the leeway", claimed(map[string]any{"exp": now.Add(-29 * time.Second).Unix()}), acme, 0},
		{"begins within the leeway", claimed(map[string]any{"nbf": now.Add(29 * time.Second).Unix()}), acme, 0},
		{"exp with a fraction", claimed(map[string]any{"exp": float64(now.Unix()) + 0.5}), acme, 0},

		{"alg none", b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(goodPayload)) + ".", Caller{}, fault.Unauthorized},
		{"alg None, with a signature", headed(`{"alg":"None","kid":"ec"}`), Caller{}, fault.Unauthorized},
		{"no alg", headed(`{"kid":"ec"}`), Caller{}, fault.Unauthorized},
		{"an alg that is a number", headed(`{"alg":256,"kid":"ec"}`), Caller{}, fault.Unauthorized},
		{"HS256 with the public key in DER", hmacWith("rsa", der), Caller{}, fault.Unauthorized},
		{"HS256 with the public key in PEM", hmacWith("rsa", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), Caller{}, fault.Unauthorized},
		{"HS256 with the modulus", hmacWith("rsa", testRSA().N.Bytes()), Caller{}, fault.Unauthorized},
		{"a key of its own in the header", stranger.sign(`{"alg":"ES256","jwk":`+string(jwkText)+`}`, goodPayload), Caller{}, fault.Unauthorized},
		{"signed by a stranger under a known kid", stranger.sign(goodHeader, goodPayload), Caller{}, fault.Unauthorized},
		{"ES256 by a key for ES384", ec.sign(header("ES256", "ec384"), goodPayload), Caller{}, fault.Unauthorized},
		{"RS256 by an EC key", rs.sign(header("RS256", "ec"), goodPayload), Caller{}, fault.Unauthorized},
		{"PS256 by a key for RS256 alone", pinned.sign(header("PS256", "pinned"), goodPayload), Caller{}, fault.Unauthorized},
		{"by a key for encryption", encrypts.sign(header("ES256", "encrypts"), goodPayload), Caller{}, fault.Unauthorized},
		{"an unknown kid", ec.sign(header("ES256", "nobody's"), goodPayload), Caller{}, fault.Unauthorized},
		{"a kid of 5,000 bytes", ec.sign(header("ES256", strings.Repeat("k", 5000)), goodPayload), Caller{}, fault.Unauthorized},
		{"a kid that is a list", headed(`{"alg":"ES256","kid":["ec"]}`), Caller{}, fault.Unauthorized},
		{"a kid that is a path", headed(`{"alg":"ES256","kid":"../../dev/null"}`), Caller{}, fault.Unauthorized},
		{"crit", headed(`{"alg":"ES256","kid":"ec","crit":["exp"],"exp":1}`), Caller{}, fault.Unauthorized},
		{"an empty crit", headed(`{"alg":"ES256","kid":"ec","crit":[]}`), Caller{}, fault.Unauthorized},
		{"an unencoded payload", headed(`{"alg":"ES256","kid":"ec","b64":false,"crit":["b64"]}`), Caller{}, fault.Unauthorized},
		{"typ of an id token's kin", headed(`{"alg":"ES256","kid":"ec","typ":"logout+jwt"}`), Caller{}, fault.Unauthorized},
		{"an empty typ", headed(`{"alg":"ES256","kid":"ec","typ":""}`), Caller{}, fault.Unauthorized},
		{"alg twice", headed(`{"alg":"none","alg":"ES256","kid":"ec"}`), Caller{}, fault.Unauthorized},
		{"kid twice", headed(`{"alg":"ES256","kid":"rsa","kid":"ec"}`), Caller{}, fault.Unauthorized},
		{"a header that is a list", headed(`["ES256"]`), Caller{}, fault.Unauthorized},
		{"another's audience", claimed(map[string]any{"aud": "other"}), Caller{}, fault.Unauthorized},
		{"no audience", claimed(map[string]any{"aud": nil}), Caller{}, fault.Unauthorized},
		{"an audience that begins alike", claimed(map[string]any{"aud": "api.example"}), Caller{}, fault.Unauthorized},
		{"no exp", claimed(map[string]any{"exp": nil}), Caller{}, fault.Unauthorized},
		{"an exp of null", ec.sign(goodHeader, `{"exp":null,`+goodClaims(now, map[string]any{"exp": nil})[1:]), Caller{}, fault.Unauthorized},
		{"an exp that is a text", claimed(map[string]any{"exp": "9999999999"}), Caller{}, fault.Unauthorized},
		{"an exp beyond all years", ec.sign(goodHeader, strings.Replace(goodPayload, `"exp":`, `"exp":1e300,"x":`, 1)), Caller{}, fault.Unauthorized},
		{"Exp for exp", ec.sign(goodHeader, strings.Replace(goodPayload, `"exp"`, `"Exp"`, 1)), Caller{}, fault.Unauthorized},
		{"expired", claimed(map[string]any{"exp": now.Add(-31 * time.Second).Unix()}), Caller{}, fault.Unauthorized},
		{"not yet", claimed(map[string]any{"nbf": now.Add(31 * time.Second).Unix()}), Caller{}, fault.Unauthorized},
		{"no application", claimed(map[string]any{"client_id": nil}), Caller{}, fault.Unauthorized},
		{"an application that is a number", claimed(map[string]any{"client_id": 7}), Caller{}, fault.Unauthorized},
		{"an application of 257 bytes", claimed(map[string]any{"client_id": strings.Repeat("a", 257)}), Caller{}, fault.Unauthorized},
		{"an empty member", claimed(map[string]any{"sub": ""}), Caller{}, fault.Unauthorized},
		{"a member with a newline", claimed(map[string]any{"sub": "m\n"}), Caller{}, fault.Unauthorized},
		{"a member that is a list", claimed(map[string]any{"sub": []string{"m-1"}}), Caller{}, fault.Unauthorized},
		{"a signature cut short", good[:len(good)-4], Caller{}, fault.Unauthorized},
		{"no signature", parts[0] + "." + parts[1] + ".", Caller{}, fault.Unauthorized},
		{"a signature with padding", good + "==", Caller{}, fault.Unauthorized},
		{"another's signature", parts[0] + "." + parts[1] + "." + strings.Split(claimed(map[string]any{"sub": "m-2"}), ".")[2], Caller{}, fault.Unauthorized},
		{"the wrong length of a signature", parts[0] + "." + parts[1] + ".AAAA", Caller{}, fault.Unauthorized},
		{"a token of 9 KiB", claimed(map[string]any{"groups": strings.Repeat("g", 9<<10)}), Caller{}, fault.Unauthorized},

		{"sub twice", ec.sign(goodHeader, `{"sub":"m-2",`+goodPayload[1:]), Caller{}, 0},
		{"iss twice", ec.sign(goodHeader, `{"iss":"https://evil.example",`+goodPayload[1:]), Caller{}, 0},
		{"claims that are not UTF-8", ec.sign(goodHeader, strings.Replace(goodPayload, "m-1", "m\xff", 1)), Caller{}, 0},
		{"claims and more", ec.sign(goodHeader, goodPayload+"{}"), Caller{}, 0},
		{"another issuer", claimed(map[string]any{"iss": "https://other.example"}), Caller{}, 0},
		{"no issuer", claimed(map[string]any{"iss": nil}), Caller{}, 0},
		{"an issuer in a list", claimed(map[string]any{"iss": []string{jwtOptions.Issuer}}), Caller{}, 0},
		{"two parts", parts[0] + "." + parts[1], Caller{}, 0},
		{"four parts", good + ".AAAA", Caller{}, 0},
		{"an encrypted one", "eyJhbGciOiJkaXIifQ..AAAA.AAAA.AAAA", Caller{}, 0},
		{"no JWT", "AAAA", Caller{}, 0},
		{"dots", "..", Caller{}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // cold, then warm
				forgetRefresh(j)
				before := server.count()
				got, found, err := identifyBearer(t.Context(), j, test.token)
				if got != test.want || found != (test.want != Caller{}) || (err != nil) != (test.kind != 0) || err != nil && fault.KindOf(err) != test.kind {
					t.Errorf("got %+v, %t, %v; want %+v or an error of kind %q", got, found, err, test.want, test.kind)
				}
				if err == nil && server.count() > before {
					t.Error("it had the keys read")
				}
				if err != nil && strings.Contains(fault.Message(err), "m-1") {
					t.Errorf("the message shows what is in the token: %v", err)
				}
			}
		})
	}
	h := http.Header{"Authorization": {"Bearer " + good}}
	if j.Strip(h); len(h) != 1 {
		t.Error("the token does not reach the upstream")
	}
}

func TestJWTInTheOtherHeader(t *testing.T) {
	ec := newECKey("ec")
	o := jwtOptions
	o.Header = "x-api-key"
	j, err := NewJWT(o)
	if err != nil {
		t.Fatal(err)
	}
	j.keys.fetch = (&jwksServer{keys: []signerKey{ec}}).read
	one := ec.sign(header("ES256", "ec"), goodClaims(time.Now(), nil))
	other := ec.sign(header("ES256", "ec"), goodClaims(time.Now(), map[string]any{"sub": "m-2"}))
	if got, found, err := j.Identify(t.Context(), request(t, "", "X-Api-Key: "+one)); !found || err != nil || got.Member != "m-1" {
		t.Errorf("in the other header: %+v, %t, %v", got, found, err)
	}
	if _, _, err := j.Identify(t.Context(), request(t, "", "X-Api-Key: "+one, "Authorization: Bearer "+other)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("two different ones: %v", err)
	}
}

// TestJWTExpires has remembered tokens expire, and tokens that were remembered for long be verified again.
func TestJWTExpires(t *testing.T) {
	clock := registrytest.NewClock()
	ec := newECKey("ec")
	j, _ := newJWT(t, clock.Now, ec)
	brief := ec.sign(header("ES256", "ec"), goodClaims(clock.Now(), map[string]any{"exp": clock.Now().Add(time.Minute).Unix()}))
	long := ec.sign(header("ES256", "ec"), goodClaims(clock.Now(), nil))
	want := func(token string, kind fault.Kind) {
		t.Helper()
		if _, found, err := identifyBearer(t.Context(), j, token); found != (kind == 0) || fault.KindOf(err) != kind {
			t.Errorf("%t, %v; want kind %q", found, err, kind)
		}
	}
	want(brief, 0)
	want(long, 0)
	clock.Advance(time.Minute + leeway - time.Millisecond)
	want(brief, 0)
	clock.Advance(time.Millisecond)
	want(brief, fault.Unauthorized)
	clock.Advance(verifiedFor)
	want(long, 0)
	clock.Advance(time.Hour)
	want(long, fault.Unauthorized)
}

// TestRotation replaces a key while many call, each with a token of the key that is the newest when it calls: not one is refused. A token of
// a key that was withdrawn does not hold, though it was remembered.
func TestRotation(t *testing.T) {
	old, next := newECKey("old"), newECKey("new")
	j, server := newJWT(t, time.Now, old)
	<-j.keys.refresh()
	var newest sync.Map
	newest.Store("key", old)
	rotated := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 60 {
				if w == 0 && i == 20 {
					server.set(nil, old, next)
					newest.Store("key", next)
					close(rotated)
				}
				if w != 0 && i == 40 {
					<-rotated // so that all have some to do after it
				}
				k, _ := newest.Load("key")
				key := k.(signerKey)
				token := key.sign(header("ES256", key.kid), goodClaims(time.Now(), map[string]any{"sub": fmt.Sprintf("m-%d-%d", w, i)}))
				if _, found, err := identifyBearer(t.Context(), j, token); !found || err != nil {
					t.Errorf("a valid call was refused: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := server.count(); got != 2 {
		t.Errorf("the keys were read %d times, want at the start and once", got)
	}

	token := old.sign(header("ES256", "old"), goodClaims(time.Now(), nil))
	if _, found, err := identifyBearer(t.Context(), j, token); !found || err != nil {
		t.Errorf("a token of the old key: %v", err)
	}
	server.set(nil, next)
	<-j.keys.refresh()
	forgetRefresh(j)
	if _, _, err := identifyBearer(t.Context(), j, token); fault.KindOf(err) != fault.Unauthorized {
		t.Errorf("a token of a key that was withdrawn: %v", err)
	}
}

// TestRefreshIsRare sends tokens of unknown keys: the issuer hears of them once in ten seconds, and tokens of known keys do not wait.
func TestRefreshIsRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ec, stranger := newECKey("ec"), newECKey("stranger")
		j, server := newJWT(t, time.Now, ec)
		<-j.keys.refresh()
		flood := func() {
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					token := stranger.sign(header("ES256", fmt.Sprint("kid-", i)), goodClaims(time.Now(), nil))
					if _, _, err := identifyBearer(t.Context(), j, token); fault.KindOf(err) != fault.Unauthorized {
						t.Errorf("a token of an unknown key: %v", err)
					}
				})
			}
			wg.Wait()
		}
		began := time.Now()
		for round := range 4 { // all but the very first token are told when the keys were read since they came
			flood()
			if took, want := time.Since(began), time.Duration(round+1)*refreshGap; took != want {
				t.Errorf("flood %d was answered after %v, want %v", round, took, want)
			}
			if got, want := server.count(), 3+round; got != want {
				t.Errorf("after flood %d the keys were read %d times, want %d", round, got, want)
			}
			time.Sleep(time.Second) // of the bubble's clock
		}

		// A slow issuer holds up nobody but those whose key is unknown, and them for five seconds.
		time.Sleep(refreshGap)
		server.mu.Lock()
		server.slow = make(chan struct{})
		server.mu.Unlock()
		var wg sync.WaitGroup
		wg.Go(func() {
			began := time.Now()
			token := stranger.sign(header("ES256", "slow"), goodClaims(time.Now(), nil))
			_, _, err := identifyBearer(t.Context(), j, token)
			if took := time.Since(began); fault.KindOf(err) != fault.Unauthorized && fault.KindOf(err) != fault.Unavailable || took > issuerTime {
				t.Errorf("after %v: %v", took, err)
			}
		})
		synctest.Wait()
		began = time.Now()
		if _, found, err := identifyBearer(t.Context(), j, ec.sign(header("ES256", "ec"), goodClaims(time.Now(), nil))); !found || err != nil || time.Since(began) > 0 {
			t.Errorf("a token of a known key waited %v: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := identifyBearer(ctx, j, stranger.sign(header("ES256", "x"), goodClaims(time.Now(), nil))); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a request that was given up: %v", err)
		}
		wg.Wait()
	})
}

// TestRotationAfterAStranger has the keys change just after somebody's token of an unknown key had them read: tokens of the new key wait
// until they may be read again, and none is refused. The issuer hears of it once in ten seconds all the same.
func TestRotationAfterAStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next, stranger := newECKey("old"), newECKey("new"), newECKey("stranger")
		j, server := newJWT(t, time.Now, old)
		<-j.keys.refresh()
		began := time.Now()
		if _, _, err := identifyBearer(t.Context(), j, stranger.sign(header("ES256", "stranger"), goodClaims(began, nil))); fault.KindOf(err) != fault.Unauthorized {
			t.Errorf("a stranger's token: %v", err)
		}
		server.set(nil, old, next)
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				token := next.sign(header("ES256", "new"), goodClaims(time.Now(), map[string]any{"sub": fmt.Sprint("m-", n)}))
				if _, found, err := identifyBearer(t.Context(), j, token); !found || err != nil || time.Since(began) > refreshGap {
					t.Errorf("after %v a valid call was refused: %v", time.Since(began), err)
				}
			})
			time.Sleep(50 * time.Millisecond) // of the bubble's clock
		}
		wg.Wait()
		if got := server.count(); got != 3 {
			t.Errorf("the keys were read %d times, want at the start and twice", got)
		}

		// Where the keys are read for another reason, those who wait go on.
		server.set(nil, next, stranger)
		began = time.Now()
		wg.Go(func() {
			if _, found, err := identifyBearer(t.Context(), j, stranger.sign(header("ES256", "stranger"), goodClaims(began, nil))); !found || err != nil {
				t.Errorf("the stranger's key is the issuer's now: %v", err)
			}
		})
		synctest.Wait()
		<-j.keys.refresh()
		wg.Wait()
		if took := time.Since(began); took > 0 {
			t.Errorf("it waited for %v", took)
		}
		time.Sleep(2 * refreshGap)
		if got := server.count(); got != 4 {
			t.Errorf("the keys were read %d times though nobody waits, want 4", got)
		}
	})
}

// TestManyUnknownKeys has more tokens of unknown keys than may wait: nobody can say yet that those beyond do not hold.
func TestManyUnknownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ec, next := newECKey("ec"), newECKey("next")
		j, server := newJWT(t, time.Now, ec)
		<-j.keys.refresh()
		token := next.sign(header("ES256", "next"), goodClaims(time.Now(), nil))
		if _, _, err := identifyBearer(t.Context(), j, token); fault.KindOf(err) != fault.Unauthorized {
			t.Fatal(err)
		}
		server.set(nil, ec, next)
		var wg sync.WaitGroup
		var refused atomic.Int64
		const few, more = 50, 100
		j.keys.waiting.Add(maxWaiting - few) // as if so many others did
		for range few + more {
			wg.Go(func() {
				if _, _, err := identifyBearer(t.Context(), j, token); fault.KindOf(err) == fault.Unavailable {
					refused.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if refused.Load() != more {
			t.Errorf("%d were told to try again, want %d", refused.Load(), more)
		}
	})
}

// TestJWKSDown has the issuer down at the start, then up, then down for a minute.
func TestJWKSDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ec, next := newECKey("ec"), newECKey("next")
		j, server := newJWT(t, time.Now)
		server.set(errors.New("down"))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { j.Run(ctx) })
		defer running.Wait()
		defer stop()
		synctest.Wait()
		identify := func(token string) error {
			_, _, err := identifyBearer(t.Context(), j, token)
			return err
		}
		token := ec.sign(header("ES256", "ec"), goodClaims(time.Now(), nil))
		if err := identify(token); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("without any key: %v", err)
		}
		server.set(nil, ec)
		time.Sleep(refreshGap) // of the bubble's clock
		synctest.Wait()
		if err := identify(token); err != nil {
			t.Errorf("with the issuer up again: %v", err)
		}

		server.set(errors.New("down"))
		time.Sleep(refreshEvery)
		for second := range 60 {
			fresh := ec.sign(header("ES256", "ec"), goodClaims(time.Now(), map[string]any{"sub": fmt.Sprint(second)}))
			for _, one := range []string{token, fresh} {
				if err := identify(one); err != nil {
					t.Errorf("second %d, a token of a key that is held: %v", second, err)
				}
			}
			if err := identify(next.sign(header("ES256", "next"), goodClaims(time.Now(), nil))); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("second %d, a token of an unknown key: %v", second, err)
			}
			time.Sleep(time.Second)
		}
		server.set(nil, ec, next)
		time.Sleep(refreshGap)
		synctest.Wait()
		if err := identify(next.sign(header("ES256", "next"), goodClaims(time.Now(), nil))); err != nil {
			t.Errorf("with the issuer up again, a token of the new key: %v", err)
		}
	})
}

func TestParseKeys(t *testing.T) {
	ec := newECKey("ec")
	text := func(change map[string]any) string {
		k := ec
		k.more = change
		out, err := json.Marshal(map[string]any{"keys": []any{k.jwk()}})
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	rsaKey := func(n []byte, e string) string {
		return fmt.Sprintf(`{"keys":[{"kty":"RSA","n":%q,"e":%q}]}`, b64(n), e)
	}
	for _, test := range []struct {
		name string
		text string
		want int // keys; -1: an error
	}{
		{"a key", text(nil), 1},
		{"for signatures", text(map[string]any{"use": "sig", "key_ops": []string{"verify"}, "alg": "ES256"}), 1},
		{"none", `{"keys":[]}`, 0},
		{"no list", `{"error":"oops"}`, -1},
		{"no JSON", `<html>`, -1},
		{"the same twice", `{"keys":[` + strings.TrimSuffix(strings.TrimPrefix(text(nil), `{"keys":[`), `]}`) + `,` + strings.TrimPrefix(text(nil), `{"keys":[`), 1},
		{"too many", `{"keys":[` + strings.Repeat("{},", maxKeys) + `{}]}`, -1},
		{"for encryption", text(map[string]any{"use": "enc"}), 0},
		{"for signing alone", text(map[string]any{"key_ops": []string{"sign"}}), 0},
		{"for another curve's algorithm", text(map[string]any{"alg": "ES384"}), 0},
		{"for HS256", text(map[string]any{"alg": "HS256"}), 0},
		{"symmetric", `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, 0},
		{"an unknown curve", text(map[string]any{"crv": "secp256k1"}), 0},
		{"another curve", text(map[string]any{"crv": "P-384"}), 0},
		{"off the curve", text(map[string]any{"x": b64(make([]byte, 32))}), 0},
		{"a long coordinate", text(map[string]any{"x": b64([]byte(strings.Repeat("x", 33)))}), 0},
		{"a long kid", text(map[string]any{"kid": strings.Repeat("k", maxKid+1)}), 0},
		{"an RSA key", rsaKey(testRSA().N.Bytes(), "AQAB"), 1},
		{"an RSA key of 1024 bits", rsaKey(testRSA().N.Bytes()[:128], "AQAB"), 0},
		{"an RSA key that is even", rsaKey(append(testRSA().N.Bytes(), 0), "AQAB"), 0},
		{"an RSA key with exponent 1", rsaKey(testRSA().N.Bytes(), "AQ"), 0},
		{"a short Ed25519 key", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}`, 0},
		{"X25519", `{"keys":[{"kty":"OKP","crv":"X25519","x":"` + b64(make([]byte, 32)) + `"}]}`, 0},
		{"a good one among bad ones", `{"keys":[{"kty":"oct"},7,` + strings.TrimPrefix(text(nil), `{"keys":[`), 1},
	} {
		got, err := parseKeys([]byte(test.text), &keys{})
		if (err != nil) != (test.want < 0) || err == nil && len(got.all) != test.want {
			t.Errorf("%s: %+v, %v; want %d keys", test.name, got, err, test.want)
		}
	}
}

func TestIssuerOptions(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*JWTOptions)
		want   string // in the error; empty: none
	}{
		{"all", func(*JWTOptions) {}, ""},
		{"no member's claim", func(o *JWTOptions) { o.Member = "" }, ""},
		{"http on this machine", func(o *JWTOptions) { o.JWKS = "http://127.0.0.1:1/jwks" }, ""},
		{"http elsewhere", func(o *JWTOptions) { o.JWKS = "http://127.0.0.1.evil.example/jwks" }, "jwt.jwks"},
		{"another scheme", func(o *JWTOptions) { o.JWKS = "file:///etc/jwks" }, "jwt.jwks"},
		{"a user", func(o *JWTOptions) { o.JWKS = "https://a:b@issuer.example/jwks" }, "jwt.jwks"},
		{"no issuer", func(o *JWTOptions) { o.Issuer = "" }, "jwt.issuer"},
		{"no audience", func(o *JWTOptions) { o.Audience = "" }, "jwt.audience"},
		{"no application's claim", func(o *JWTOptions) { o.Application = "" }, "jwt.application"},
		{"one claim for both", func(o *JWTOptions) { o.Application = "sub" }, "member"},
		{"a header that is none", func(o *JWTOptions) { o.Header = "X Key" }, "jwt.header"},
	} {
		o := jwtOptions
		test.change(&o)
		_, err := NewJWT(o)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestLogOfKeys hears of a failure once, and of its end.
func TestLogOfKeys(t *testing.T) {
	var said strings.Builder
	o := jwtOptions
	o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	j, err := NewJWT(o)
	if err != nil {
		t.Fatal(err)
	}
	server := &jwksServer{fail: errors.New("down")}
	j.keys.fetch = server.read
	for range 3 {
		<-j.keys.refresh()
	}
	server.set(nil, newECKey("ec"))
	for range 3 {
		<-j.keys.refresh()
	}
	if strings.Count(said.String(), "cannot be read") != 1 || strings.Count(said.String(), "read again") != 1 {
		t.Errorf("the log:\n%s", said.String())
	}
}

// FuzzJWT has no token pass but one that the issuer signed for this audience.
func FuzzJWT(f *testing.F) {
	clock := registrytest.NewClock()
	ec := newECKey("ec") // a new one in each of the fuzzer's processes: a signature in its corpus is worth nothing
	j, _ := newJWT(f, clock.Now, ec)
	<-j.keys.refresh()
	for _, seed := range [][2]string{
		{header("ES256", "ec"), goodClaims(clock.Now(), nil)},
		{`{"alg":"none"}`, goodClaims(clock.Now(), nil)},
		{`{"alg":"ES256","crit":[]}`, goodClaims(clock.Now(), map[string]any{"aud": []string{"api"}})},
		{`{"alg":"ES256","alg":"HS256"}`, `{"iss":"https://issuer.example","exp":1e9}`},
		{`[]`, `{"iss":"https://issuer.example","sub":"\ud800"}`},
	} {
		f.Add(seed[0], seed[1], true)
		f.Add(seed[0], seed[1], false)
	}
	f.Fuzz(func(t *testing.T, head, payload string, signed bool) {
		token := b64([]byte(head)) + "." + b64([]byte(payload)) + "." + b64(make([]byte, 64))
		if signed {
			token = ec.sign(head, payload)
		}
		forgetRefresh(j)
		caller, found, err := identifyBearer(t.Context(), j, token)
		if err != nil && fault.KindOf(err) != fault.Unauthorized {
			t.Errorf("error of kind %q: %v", fault.KindOf(err), err)
		}
		if found && err != nil || !found && caller != (Caller{}) {
			t.Errorf("caller %+v, %t, %v", caller, found, err)
		}
		if !found {
			return
		}
		// Whoever reads the claims in the plainest way must find the same in them.
		var claims map[string]any
		if err := json.Unmarshal([]byte(payload), &claims); err != nil || !signed {
			t.Fatalf("signed %t, %v: %+v", signed, err, caller)
		}
		member, _ := claims["sub"].(string)
		if member == claims["client_id"] {
			member = ""
		}
		exp, _ := claims["exp"].(float64)
		if claims["iss"] != jwtOptions.Issuer || claims["client_id"] != caller.Application || member != caller.Member || exp+leeway.Seconds() < float64(clock.Now().Unix()) {
			t.Errorf("%s is %+v", payload, caller)
		}
	})
}
