package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// keySet is an issuer's JWKS (RFC 7517), as it was when it was last read. Readers never wait for it: a refresh goes on in the background, and the keys
// that it brings are swapped in as a whole. While the issuer cannot be reached, the last keys hold.
type keySet struct {
	fetch func(context.Context) ([]byte, error)
	log   *slog.Logger

	held    atomic.Pointer[keys] // never nil
	failing atomic.Bool          // the last refresh failed
	waiting atomic.Int64         // requests that wait for a refresh

	mu         sync.Mutex
	refreshing chan struct{} // guarded by mu; closed when the refresh under way ends; nil: none is
	next       chan struct{} // guarded by mu; closed when the refresh ends that begins next; nil: nobody waits for it
	wound      bool          // guarded by mu: a timer is running that begins it
	caused     time.Time     // guarded by mu: when a request last caused one
}

const (
	maxJWKS = 512 << 10 // bytes
	maxKeys = 128       // a set with more is refused
	maxKid  = 256       // bytes
	maxTry  = 8         // keys that a token without a key id is tried with
	// Requests cause a refresh at most once in refreshGap. The set is read anew every refreshEvery in any case, and after a failure
	// in retryFirst, twice that, and so on up to refreshGap.
	refreshGap   = 10 * time.Second
	refreshEvery = 5 * time.Minute
	retryFirst   = time.Second
	// maxWaiting is how many requests wait for a refresh at most. Each costs its goroutine for at most refreshGap, and as long as the issuer may
	// take to answer.
	maxWaiting = 1000
)

// keys is a set of keys. It never changes.
type keys struct {
	all []*key
}

// key is a public key that verifies tokens.
type key struct {
	id     string // empty: it has none
	alg    string // the one algorithm that the issuer allows for it; empty: any that fits
	fits   []string
	public crypto.PublicKey
	print  string      // the same for the same key
	gone   atomic.Bool // it has left the set: what was verified by it does not hold any longer
}

// candidates returns the keys that a token of this key id and algorithm may have been signed by, and whether a key of that id is there at
// all. A token without a key id may have been signed by any that fits; the first few are tried.
func (k *keys) candidates(id, alg string) (fitting []*key, known bool) {
	for _, one := range k.all {
		if id != "" && one.id != id {
			continue
		}
		known = known || id != ""
		if slices.Contains(one.fits, alg) && (one.alg == "" || one.alg == alg) && len(fitting) < maxTry {
			fitting = append(fitting, one)
		}
	}
	return fitting, known
}

func newKeySet(fetch func(context.Context) ([]byte, error), log *slog.Logger) *keySet {
	k := &keySet{fetch: fetch, log: log}
	k.held.Store(&keys{})
	return k
}

// run reads the set now and keeps reading it until ctx ends.
func (k *keySet) run(ctx context.Context) {
	retry := retryFirst
	for {
		select {
		case <-k.refresh():
		case <-ctx.Done():
			return
		}
		pause := refreshEvery
		if k.failing.Load() {
			pause, retry = retry, min(2*retry, refreshGap)
		} else {
			retry = retryFirst
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// refresh begins to read the set anew, unless that is under way, and returns what is closed when it is done.
func (k *keySet) refresh() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.refreshLocked()
}

func (k *keySet) refreshLocked() <-chan struct{} {
	if k.refreshing == nil {
		done := k.next
		if done == nil {
			done = make(chan struct{})
		}
		k.refreshing, k.next = done, nil
		go func() {
			k.read()
			k.mu.Lock()
			k.refreshing = nil
			k.mu.Unlock()
			close(done)
		}()
	}
	return k.refreshing
}

// awaitNew waits for a refresh: the one under way, or else the next, which it causes as soon as a request may cause one. since says that the
// refresh began after the call; ok is false where it waits for none, since too many wait already or the last one failed a short while
// ago, or when ctx ends.
func (k *keySet) awaitNew(ctx context.Context) (since, ok bool) {
	if k.waiting.Add(1) > maxWaiting {
		k.waiting.Add(-1)
		return false, false
	}
	defer k.waiting.Add(-1)
	done, since := k.causeRefresh()
	if done == nil {
		return false, false
	}
	select {
	case <-done:
		return since, true
	case <-ctx.Done():
		return false, false
	}
}

// causeRefresh returns what is closed when the refresh under way ends or, where none is, the next; since says that it is the next. It
// returns nil where the last one failed and it is too soon for another.
func (k *keySet) causeRefresh() (done <-chan struct{}, since bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refreshing != nil {
		return k.refreshing, false
	}
	wait := k.tooSoonLocked()
	if wait > 0 && k.failing.Load() {
		return nil, false
	}
	if k.next == nil {
		k.next = make(chan struct{})
	}
	done = k.next
	k.beginNextLocked(wait)
	return done, true
}

// tooSoonLocked returns how long requests may cause no refresh yet. It goes by the machine's monotonic clock, as the timer does: setting the
// clock stretches no wait.
func (k *keySet) tooSoonLocked() time.Duration {
	if k.caused.IsZero() {
		return 0
	}
	return max(0, refreshGap-time.Since(k.caused))
}

// beginNextLocked begins the refresh that is waited for, at once or in a while.
func (k *keySet) beginNextLocked(wait time.Duration) {
	switch {
	case wait == 0:
		k.caused = time.Now()
		k.refreshLocked()
	case !k.wound:
		k.wound = true
		time.AfterFunc(wait, k.ring)
	}
}

// ring is what the timer does. Meanwhile another refresh may have begun, and others wait for the one after it.
func (k *keySet) ring() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wound = false
	if k.next != nil {
		k.beginNextLocked(k.tooSoonLocked())
	}
}

// read replaces the keys by the issuer's.
func (k *keySet) read() {
	ctx, cancel := context.WithTimeout(context.Background(), issuerTime)
	defer cancel()
	data, err := k.fetch(ctx)
	var next *keys
	if err == nil {
		next, err = parseKeys(data, k.held.Load())
	}
	if failed := err != nil; k.failing.Swap(failed) != failed {
		if failed {
			k.log.Error("an issuer's keys cannot be read: the last ones hold", "keys", len(k.held.Load().all), "err", err)
		} else {
			k.log.Info("an issuer's keys are read again", "keys", len(next.all))
		}
	}
	if err != nil {
		return
	}
	last := k.held.Swap(next)
	for _, one := range last.all {
		if !slices.Contains(next.all, one) {
			one.gone.Store(true)
		}
	}
	if len(next.all) == 0 {
		k.log.Warn("an issuer has no key by which a token could be verified")
	}
}

// parseKeys reads a JWK set. A key of a sort that verifies no token here (for encryption, symmetric, of an unknown type) is passed over, as
// RFC 7517, section 5, asks. A key that last has stays the same object.
func parseKeys(data []byte, last *keys) (*keys, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("the JWKS is not JSON: %w", err)
	}
	if set.Keys == nil {
		return nil, errors.New("the JWKS has no list of keys")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the JWKS has %d keys; at most %d are read", len(set.Keys), maxKeys)
	}
	next := &keys{}
	for _, text := range set.Keys {
		one, err := parseKey(text)
		if err != nil {
			continue
		}
		same := func(other *key) bool { return other.print == one.print }
		if slices.ContainsFunc(next.all, same) {
			continue
		}
		if i := slices.IndexFunc(last.all, same); i >= 0 {
			one = last.all[i]
		}
		next.all = append(next.all, one)
	}
	return next, nil
}

// jwk is a public key as RFC 7518, section 6, and RFC 8037 write it.
type jwk struct {
	Type       string   `json:"kty"`
	ID         string   `json:"kid"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Algorithm  string   `json:"alg"`
	Curve      string   `json:"crv"`
	X          string   `json:"x"`
	Y          string   `json:"y"`
	Modulus    string   `json:"n"`
	Exponent   string   `json:"e"`
}

func parseKey(text []byte) (*key, error) {
	var j jwk
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, err
	}
	switch {
	case len(j.ID) > maxKid:
		return nil, errors.New("the kid is too long")
	case j.Use != "" && j.Use != "sig", len(j.Operations) > 0 && !slices.Contains(j.Operations, "verify"):
		return nil, errors.New("not for signatures")
	}
	k := &key{id: j.ID, alg: j.Algorithm}
	var err error
	switch j.Type {
	case "EC":
		k.public, k.fits, err = j.ec()
	case "RSA":
		k.public, err = j.rsa()
		k.fits = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case "OKP":
		k.public, err = j.ed25519()
		k.fits = []string{"EdDSA"}
	default:
		err = errors.New("of a type that verifies no token")
	}
	if err != nil {
		return nil, err
	}
	if k.alg != "" && !slices.Contains(k.fits, k.alg) {
		return nil, errors.New("for an algorithm that does not fit it")
	}
	k.print = strings.Join([]string{j.Type, j.ID, j.Algorithm, j.Curve, j.X, j.Y, j.Modulus, j.Exponent}, "\x00")
	return k, nil
}

func (j *jwk) ec() (crypto.PublicKey, []string, error) {
	var curve elliptic.Curve
	var alg string
	switch j.Curve {
	case "P-256":
		curve, alg = elliptic.P256(), "ES256"
	case "P-384":
		curve, alg = elliptic.P384(), "ES384"
	case "P-521":
		curve, alg = elliptic.P521(), "ES512"
	default:
		return nil, nil, errors.New("on an unknown curve")
	}
	size := (curve.Params().BitSize + 7) / 8
	x, errX := coordinate(j.X, size)
	y, errY := coordinate(j.Y, size)
	if err := errors.Join(errX, errY); err != nil {
		return nil, nil, err
	}
	point := append(append([]byte{4}, x...), y...)                // uncompressed (SEC 1, section 2.3.3)
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point) // refuses what is not on the curve
	return public, []string{alg}, err
}

func (j *jwk) rsa() (crypto.PublicKey, error) {
	n, errN := base64.RawURLEncoding.DecodeString(j.Modulus)
	e, errE := base64.RawURLEncoding.DecodeString(j.Exponent)
	if err := errors.Join(errN, errE); err != nil {
		return nil, err
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	switch {
	case modulus.BitLen() < 2048 || modulus.BitLen() > 8192 || modulus.Bit(0) == 0:
		return nil, errors.New("a modulus must have 2048 to 8192 bits")
	case exponent.BitLen() > 31 || exponent.Bit(0) == 0 || exponent.Cmp(big.NewInt(3)) < 0:
		return nil, errors.New("an exponent must be odd, from 3 to 2147483647")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

func (j *jwk) ed25519() (crypto.PublicKey, error) {
	if j.Curve != "Ed25519" {
		return nil, errors.New("on an unknown curve")
	}
	x, err := base64.RawURLEncoding.DecodeString(j.X)
	if err != nil || len(x) != ed25519.PublicKeySize {
		return nil, errors.New("a public key must have 32 bytes")
	}
	return ed25519.PublicKey(x), nil
}

// coordinate returns the bytes of a number of a fixed size.
func coordinate(text string, size int) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil && len(b) != size {
		// Some issuers leave leading zeros out, or write one too many.
		b = bytes.TrimLeft(b, "\x00")
		if len(b) > size {
			return nil, errors.New("a coordinate is too long")
		}
		b = append(make([]byte, size-len(b)), b...)
	}
	return b, err
}
