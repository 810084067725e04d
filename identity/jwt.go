package identity

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"github.com/golang-jwt/jwt/v5"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// JWTOptions says whose tokens are believed, and which claims name the caller.
type JWTOptions struct {
	JWKS        string           // the address of the issuer's keys, as [CheckIssuerURL] wants it
	Issuer      string           // what the claim iss must hold
	Audience    string           // what the claim aud must hold, perhaps among others
	Application string           // the claim that names the application
	Member      string           // the claim that names the member; empty: nobody has a member
	Header      string           // a header that may hold a token besides Authorization: Bearer; empty: none
	Roots       *x509.CertPool   // who vouches for the issuer's certificate; nil: the system's
	Now         func() time.Time // the clock by which tokens expire; nil: the machine's
	Logger      *slog.Logger     // hears when the keys cannot be read; nil: nobody does
}

// JWT is the source of JSON Web Tokens that an issuer signs (RFC 7519; access tokens as RFC 9068 has them), sent as Authorization: Bearer.
// A token of another issuer, by its claim iss, is left to other sources.
//
// A token holds when it is signed by a key of the issuer's JWKS, with an asymmetric algorithm that fits the key (ES256, ES384, ES512, RS*,
// PS*, EdDSA), and its claims iss and aud are those configured, exp is to come and nbf, if any, is not, with 30 seconds for clocks that differ. Its header's typ is
// JWT, at+jwt or left out, and it has no crit. A name that is twice in its header or its claims makes it nothing.
//
// A token that holds is remembered for five minutes, or until it expires or its key leaves the JWKS: a warm request verifies nothing. Up to
// 65,536 tokens are remembered, in about 200 bytes each and the ids. Verifying takes half the processors at the most, so that
// a flood of tokens that do not hold leaves the other half to warm requests.
//
// [JWT.Run] reads the keys. A token with a key id that is not among them causes them to be read anew, at most once in ten
// seconds, and waits for a reading that began since it came, ten seconds and two of the issuer's answers at the most; nobody else waits.
// Up to 1,000 requests wait; those beyond are [fault.Unavailable], as nobody knows yet whether their keys are new. When the issuer is down, the
// last keys hold; where there are none, and for tokens whose key is not among them, the error is [fault.Unavailable].
type JWT struct {
	issuer    string
	header    string // canonical, or empty
	names     names
	now       func() time.Time
	validator *jwt.Validator
	keys      *keySet
	known     memory[verified]
	forged    *strangers    // tokens with a wrong signature
	verifying chan struct{} // holds one element for each token that is being verified
}

// verified is a token whose signature was verified by key.
type verified struct {
	voucher
	key *key
}

const (
	knownJWTs   = 1 << 16
	verifiedFor = 5 * time.Minute
	forgedFor   = 10 * time.Second
)

// methods are the algorithms by which a token may be signed.
var methods = func() map[string]jwt.SigningMethod {
	m := make(map[string]jwt.SigningMethod)
	for _, method := range []jwt.SigningMethod{
		jwt.SigningMethodES256, jwt.SigningMethodES384, jwt.SigningMethodES512,
		jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512,
		jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512,
		jwt.SigningMethodEdDSA,
	} {
		m[method.Alg()] = method
	}
	return m
}()

// NewJWT returns the source, which has no keys until [JWT.Run] has read them. The error says every option that is missing or wrong.
func NewJWT(o JWTOptions) (*JWT, error) {
	n := names{o.Application, o.Member}
	header, err := checkIssued("jwt", "jwks", o.JWKS, o.Header, n,
		required{"issuer", o.Issuer, "tell whose tokens are believed"},
		required{"audience", o.Audience, "tell for whom the tokens are: any other's would hold as well"})
	if err != nil {
		return nil, err
	}
	o.Now, o.Logger = orMachine(o.Now), orSilent(o.Logger)
	client := newIssuerClient(o.Roots, 1)
	fetch := func(ctx context.Context) ([]byte, error) {
		defer client.CloseIdleConnections() // it is minutes to the next time
		r, err := http.NewRequest(http.MethodGet, o.JWKS, http.NoBody)
		if err != nil {
			return nil, err
		}
		return ask(ctx, client, r, maxJWKS)
	}
	return &JWT{
		issuer: o.Issuer,
		header: header,
		names:  n,
		now:    o.Now,
		validator: jwt.NewValidator(jwt.WithIssuer(o.Issuer), jwt.WithAudience(o.Audience), jwt.WithExpirationRequired(),
			jwt.WithLeeway(leeway), jwt.WithTimeFunc(o.Now)),
		keys:      newKeySet(fetch, o.Logger.With("jwks", o.JWKS)),
		known:     newMemory[verified](knownJWTs),
		forged:    newStrangers(forgedFor),
		verifying: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}, nil
}

// Run reads the issuer's keys, and reads them anew every five minutes, until ctx ends.
func (j *JWT) Run(ctx context.Context) { j.keys.run(ctx) }

// Strip does nothing: the token is of use to the upstream.
func (j *JWT) Strip(http.Header) {}

// Identify finds the caller by a token of the issuer's.
func (j *JWT) Identify(ctx context.Context, r Request) (Caller, bool, error) {
	secret, found, err := credential(r.Header, j.header)
	if err != nil || !found || strings.Count(secret, ".") != 2 {
		return Caller{}, false, err
	}
	hash := hashSecret(secret)
	if v, ok := j.known.get(&hash); ok && !v.key.gone.Load() {
		switch now := j.now().UnixMilli(); {
		case now < v.until:
			return v.caller(), true, nil
		case now >= v.expires:
			return Caller{}, false, errExpiredToken
		}
	}
	t, ours := j.parse(secret)
	if !ours {
		return Caller{}, false, nil
	}
	v, err := j.verify(ctx, &t, &hash)
	if err != nil {
		return Caller{}, false, err
	}
	return v.caller(), true, nil
}

// hashSecret returns the SHA-256 of a token of others. It reads the string where it is, since a copy of a JWT would be the
// one allocation on the path of every request.
func hashSecret(secret string) registry.Hash {
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(secret), len(secret)))
}

// parsed is a token that says that it is the issuer's. Nothing of it is true until it is verified.
type parsed struct {
	signed    string // what the signature is over
	signature []byte
	claims    claims
	header    claims
	headerErr error // why the header is none; checked when it is known whose the token is
}

// parse takes a token apart, and reports whether it says that it is the issuer's.
func (j *JWT) parse(secret string) (t parsed, ours bool) {
	header, rest, _ := strings.Cut(secret, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	c, err := parseSegment(payload)
	if err != nil {
		return parsed{}, false
	}
	if issuer, err := c.text("iss"); err != nil || issuer != j.issuer {
		return parsed{}, false
	}
	t = parsed{signed: secret[:len(header)+1+len(payload)], claims: c}
	if t.header, t.headerErr = parseSegment(header); t.headerErr == nil {
		t.signature, t.headerErr = decodeSegment(signature)
	}
	return t, true
}

// segments are written in base64url, and each in one way only: a token must not be spelt in two.
var segments = base64.RawURLEncoding.Strict()

func decodeSegment(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // which the decoder would pass over
		return nil, errors.New("a line break in a segment")
	}
	return segments.DecodeString(text)
}

func parseSegment(text string) (claims, error) {
	data, err := decodeSegment(text)
	if err != nil {
		return nil, err
	}
	return parseClaims(data)
}

// method returns the algorithm and the key id that a header names; the error says in what the header breaks the rules.
func (t *parsed) method() (m jwt.SigningMethod, id string, err error) {
	if t.headerErr != nil {
		return nil, "", t.headerErr
	}
	alg, err := t.header.text("alg")
	if err != nil {
		return nil, "", err
	}
	m, ok := methods[alg]
	if !ok {
		return nil, "", fmt.Errorf("the algorithm %.16q verifies no token here", alg)
	}
	typ, err := t.header.text("typ")
	if err != nil {
		return nil, "", err
	}
	// A media type, whose "application/" may be left out (RFC 7515, section 4.1.9).
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	if _, there := t.header["typ"]; there && typ != "jwt" && typ != "at+jwt" {
		return nil, "", fmt.Errorf("the type %.32q is no access token's", typ)
	}
	if _, there := t.header["crit"]; there {
		return nil, "", errors.New("it has extensions that must be understood")
	}
	id, err = t.header.text("kid")
	if err == nil && len(id) > maxKid {
		err = errors.New("the key id is too long")
	}
	return m, id, err
}

// verify finds out whether a token of the issuer's holds, and remembers it then.
func (j *JWT) verify(ctx context.Context, t *parsed, hash *registry.Hash) (verified, error) {
	method, id, err := t.method()
	if err != nil {
		return verified{}, fault.Wrap(fault.Unauthorized, err, badToken)
	}
	// What makes a token void whoever signed it costs no signature.
	if err := j.validator.Validate(t.claims); err != nil {
		if errors.Is(err, jwt.ErrTokenExpired) {
			return verified{}, errExpiredToken
		}
		return verified{}, fault.Wrap(fault.Unauthorized, err, badToken)
	}
	v, err := j.names.caller(t.claims)
	if err != nil {
		return verified{}, err
	}
	if j.forged.has(hash, j.now()) {
		return verified{}, errForgedToken
	}
	by, err := j.signer(ctx, t, method, id)
	if err != nil {
		if errors.Is(err, errForgedToken) {
			j.forged.put(hash, j.now())
		}
		return verified{}, err
	}
	expires, err := t.claims.date("exp")
	if err != nil {
		return verified{}, fault.Wrap(fault.Unauthorized, err, badToken)
	}
	v.expires = expires.Add(leeway).UnixMilli()
	v.until = min(v.expires, j.now().Add(verifiedFor).UnixMilli())
	one := verified{v, by}
	j.known.put(hash, one, always)
	return one, nil
}

// signer returns the issuer's key that signed the token. That no key did is believed only when the keys were read after the token came: until
// then it may be signed by one that is newer than those.
func (j *JWT) signer(ctx context.Context, t *parsed, method jwt.SigningMethod, id string) (*key, error) {
	var tried *keys
	read := false // since the token came
	for first := true; ; first = false {
		if held := j.keys.held.Load(); held != tried {
			tried = held
			candidates, known := held.candidates(id, method.Alg())
			if len(candidates) > 0 {
				by, err := j.signedBy(ctx, t, method, candidates)
				if by != nil || err != nil {
					return by, err
				}
			}
			if known {
				return nil, errForgedToken
			}
		} else if j.keys.failing.Load() {
			break // it was read anew in vain
		}
		if read {
			break
		}
		since, ok := j.keys.awaitNew(ctx)
		if !ok {
			break
		}
		read = since || !first // what is still under way after another began later than the token came
	}
	switch {
	case ctx.Err() != nil:
		return nil, fault.Wrap(fault.Unavailable, ctx.Err(), issuerDown)
	case j.keys.failing.Load(), len(tried.all) == 0:
		return nil, errIssuerDown
	case !read:
		return nil, errKeysToCome
	default:
		return nil, errUnknownKey
	}
}

// signedBy returns the one of some keys that signed the token, or nil.
func (j *JWT) signedBy(ctx context.Context, t *parsed, method jwt.SigningMethod, candidates []*key) (*key, error) {
	select {
	case j.verifying <- struct{}{}:
		defer func() { <-j.verifying }()
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Unavailable, ctx.Err(), issuerDown)
	}
	for _, one := range candidates {
		if method.Verify(t.signed, t.signature, one.public) == nil {
			return one, nil
		}
	}
	return nil, nil
}

const (
	badToken   = "The token is not one that is accepted here."
	issuerDown = "Tokens cannot be checked at the moment: their issuer cannot be reached."
)

var (
	errForgedToken = fault.New(fault.Unauthorized, "The token's signature is wrong.")
	errUnknownKey  = fault.New(fault.Unauthorized, "The token is signed by a key that its issuer does not have.")
	errIssuerDown  = fault.New(fault.Unavailable, issuerDown)
	errKeysToCome  = fault.New(fault.Unavailable, "The token is signed by a key that may be a new one of its issuer's, whose keys are about to be read again. Try again in a moment.")
)
