package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer issues tokens for members: JWTs, signed by ES256, whose key it publishes, and others about which it can be asked (RFC 7662).
// It runs in this process: a warm node asks it nothing, but once a minute about each token of the second sort.
type issuer struct {
	server  http.Server
	url     string
	private *ecdsa.PrivateKey
	callers []caller
	tokens  []string          // of the callers, those that it is asked about
	whose   map[string]caller // by the token; not changed once it serves
}

const (
	audience     = "api"
	client       = "gateway"
	clientSecret = "secret"
	keyID        = "bench"
	lifetime     = 24 * time.Hour // no bench takes longer
)

// startIssuer starts an issuer that knows the members that perdiem's own tokens are for.
func startIssuer(members int) (*issuer, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &issuer{url: "http://" + listener.Addr().String(), private: private, whose: map[string]caller{}}
	for m := range members {
		one, token := callerOf(m), rand.Text()+rand.Text() // 52 characters: about as long as perdiem's own
		s.callers, s.tokens, s.whose[token] = append(s.callers, one), append(s.tokens, token), one
	}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /jwks", s.answerKeys)
	routes.HandleFunc("POST /introspect", s.answerToken)
	s.server.Handler = routes
	go func() { _ = s.server.Serve(listener) }() // it ends by close
	return s, nil
}

func (s *issuer) close() error { return s.server.Close() }

// identity returns the sources of identity by which a node believes the issuer, as lines of perdiem.yaml.
func (s *issuer) identity() string {
	return fmt.Sprintf(`  - jwt: {jwks: %q, issuer: %q, audience: %s, application: client_id, member: sub}
  - introspection: {url: %q, client_id: %s, client_secret: %s, application: client_id, member: sub}
`, s.url+"/jwks", s.url, audience, s.url+"/introspect", client, clientSecret)
}

func (s *issuer) answerKeys(w http.ResponseWriter, _ *http.Request) {
	point, err := s.private.PublicKey.Bytes() // 4, then both coordinates
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	half := (len(point) - 1) / 2
	answerJSON(w, map[string]any{"keys": []map[string]string{{
		"kty": "EC", "crv": "P-256", "kid": keyID, "use": "sig", "alg": "ES256",
		"x": base64.RawURLEncoding.EncodeToString(point[1 : 1+half]),
		"y": base64.RawURLEncoding.EncodeToString(point[1+half:]),
	}}})
}

func (s *issuer) answerToken(w http.ResponseWriter, r *http.Request) {
	if id, secret, ok := r.BasicAuth(); !ok || id != client || secret != clientSecret {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	one, active := s.whose[r.PostFormValue("token")]
	if !active {
		answerJSON(w, map[string]any{"active": false})
		return
	}
	answerJSON(w, map[string]any{
		"active": true, "token_type": "Bearer", "client_id": one.application, "sub": one.member, "exp": time.Now().Add(lifetime).Unix(),
	})
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who asked has gone
}

// writeTokens writes the tokens that it is asked about into a file, one a line.
func (s *issuer) writeTokens(file string) error {
	return os.WriteFile(file, []byte(strings.Join(s.tokens, "\n")+"\n"), 0o600)
}

// writeJWTs does the same with JWTs.
func (s *issuer) writeJWTs(file string) error {
	all, err := s.jwts()
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(strings.Join(all, "\n")+"\n"), 0o600)
}

// jwts returns a JWT for each member, with the claims that RFC 9068 wants of an access token: some 400 characters.
func (s *issuer) jwts() (all []string, err error) {
	now := time.Now()
	for _, one := range s.callers {
		t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": s.url, "aud": audience, "client_id": one.application, "sub": one.member, "scope": "posts.read posts.write",
			"iat": now.Unix(), "exp": now.Add(lifetime).Unix(), "jti": rand.Text(),
		})
		t.Header["kid"], t.Header["typ"] = keyID, "at+jwt"
		text, err := t.SignedString(s.private)
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, nil
}
