package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/httpname"
	"github.com/perdiem/perdiem/registry"
)

// TokenPrefix is what the secret of each of perdiem's tokens begins with. It tells them from all others, and secret scanners what they found.
const TokenPrefix = "pdm_"

const (
	// bareLength is the length of a token without a check, as they were issued once: 32 bytes in base64url without padding.
	bareLength  = len(TokenPrefix) + 43
	checkBytes  = 6
	tokenLength = bareLength + checkBytes*8/6
	// maxCredential is the longest credential that is looked at, in bytes. JWTs with many claims come near it.
	maxCredential = 8192
)

// TokenKey makes tokens and tells those that were made with it from those that somebody made up. It is safe for concurrent use.
//
// The check that it appends to a token is no signature that anybody relies on: a token holds because the registry knows it. It lets a
// flood of made-up tokens be rejected without a question to the registry.
type TokenKey struct{ key [32]byte }

// tokenKeySetting is the registry's setting that holds the key, in base64url.
const tokenKeySetting = "token.key"

// OpenTokenKey returns the key that the registry keeps, and has it keep a new one where it has none; keep is
// [registry.Registry.KeepSetting].
func OpenTokenKey(ctx context.Context, keep func(ctx context.Context, key, value string) (kept string, err error)) (*TokenKey, error) {
	key, err := openKey(ctx, keep, tokenKeySetting, "restore a backup, or delete the setting and issue new tokens")
	if err != nil {
		return nil, err
	}
	return &TokenKey{key}, nil
}

// openKey returns the key that the registry keeps as a setting, and has it keep a new one where it has none. Where what it keeps is none, the error says
// what to do.
func openKey(ctx context.Context, keep func(ctx context.Context, key, value string) (kept string, err error), setting, damaged string) (key [32]byte, err error) {
	rand.Read(key[:]) // never fails
	kept, err := keep(ctx, setting, base64.RawURLEncoding.EncodeToString(key[:]))
	if err != nil {
		return key, err
	}
	bytes, err := base64.RawURLEncoding.DecodeString(kept)
	if err != nil || len(bytes) != len(key) {
		return key, errors.New("the registry's setting " + setting + " is damaged: " + damaged)
	}
	return [32]byte(bytes), nil
}

// NewTokenKey returns a key that nobody keeps: its tokens are made up to any other.
func NewTokenKey() *TokenKey {
	k := new(TokenKey)
	rand.Read(k.key[:]) // never fails
	return k
}

// NewToken returns the secret of a new token, 55 characters that begin with "pdm_", and its hash: the secret is for its
// owner, the hash for the registry. It is drawn from 256 random bits, so the hash needs neither salt nor stretching.
func (k *TokenKey) NewToken() (secret string, hash registry.Hash) {
	var b [32]byte
	rand.Read(b[:]) // never fails
	secret = TokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	check := k.check([]byte(secret))
	secret += string(check[:])
	return secret, sha256.Sum256([]byte(secret))
}

// check returns the check of a token in base64url: HMAC-SHA-256 of what stands before it, truncated.
func (k *TokenKey) check(bare []byte) (check [tokenLength - bareLength]byte) {
	mac := hmac.New(sha256.New, k.key[:])
	mac.Write(bare)
	base64.RawURLEncoding.Encode(check[:], mac.Sum(nil)[:checkBytes])
	return check
}

// TokenHash returns the hash under which a registry knows the token with this secret, and false where the text has not the form of a secret.
func TokenHash(secret string) (registry.Hash, bool) { return parseToken(secret) }

// made reports whether the token was made with the key. It has the length of one.
func (k *TokenKey) made(secret string) bool {
	check := k.check([]byte(secret[:bareLength]))
	return hmac.Equal(check[:], []byte(secret[bareLength:]))
}

// parseToken returns the hash under which the registry knows a token, and false where secret cannot be one that was issued: it has neither the
// length of a token nor that of one without a check, or another character. It does not allocate.
func parseToken(secret string) (registry.Hash, bool) {
	if len(secret) != tokenLength && len(secret) != bareLength || !strings.HasPrefix(secret, TokenPrefix) {
		return registry.Hash{}, false
	}
	var b [tokenLength]byte
	n := copy(b[:], secret)
	for _, c := range b[len(TokenPrefix):n] {
		if !isBase64URL(c) {
			return registry.Hash{}, false
		}
	}
	return sha256.Sum256(b[:n]), true
}

func isBase64URL(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// credentialHeader returns the canonical name of the header that may hold a credential besides Authorization; empty: there is none.
func credentialHeader(name string) (string, error) {
	switch {
	case name == "":
		return "", nil
	case !httpname.IsToken(name):
		return "", fmt.Errorf("header %q: must be the name of a header", name)
	case sameName(name, "Authorization"):
		return "", errors.New("header: Authorization is always read; name another header, or none")
	default:
		return http.CanonicalHeaderKey(name), nil
	}
}

// credential returns the one bearer credential of a request, in Authorization or, where also is not empty, in the header of
// that canonical name. An Authorization of another scheme is none. The error is [fault.Invalid] where there are two different ones,
// and [fault.Unauthorized] where it is too long to be looked at.
func credential(h http.Header, also string) (secret string, found bool, err error) {
	value, found, err := single(h, "Authorization")
	if err != nil {
		return "", false, err
	}
	if found {
		secret, found = bearer(value)
	}
	if also != "" {
		key, hasKey, err := single(h, also)
		if err != nil {
			return "", false, err
		}
		if found && hasKey && key != secret {
			return "", false, fault.New(fault.Invalid, "The headers Authorization and %s hold different credentials: send one.", also)
		}
		if hasKey {
			secret, found = key, true
		}
	}
	if len(secret) > maxCredential {
		return "", false, errLongCredential
	}
	return secret, found, nil
}

// bearer returns what follows the scheme Bearer, in any case, in the value of an Authorization header (RFC 6750, section
// 2.1), and false where the scheme is another.
func bearer(value string) (secret string, ok bool) {
	scheme, rest, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.Trim(rest, " "), true
}

var errLongCredential = fault.New(fault.Unauthorized, "The credential is longer than %d bytes.", maxCredential)
