package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

const (
	tokenPrefix = "pdm_"                // tells perdiem's tokens from all others, and secret scanners what they found
	tokenLength = len(tokenPrefix) + 43 // 32 bytes in base64url without padding
	// maxCredential is the longest credential that is looked at, in bytes. JWTs with many claims come near it.
	maxCredential = 4096
)

// NewToken returns the secret of a new token, 47 characters that begin with "pdm_", and its hash: the secret is for its
// owner, the hash for the registry. It is drawn from 256 random bits, so the hash needs neither salt nor stretching.
func NewToken() (secret string, hash registry.Hash) {
	var b [32]byte
	rand.Read(b[:]) // never fails
	secret = tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	return secret, sha256.Sum256([]byte(secret))
}

// parseToken returns the hash under which the registry knows a token, and false where secret cannot be one that [NewToken] returned. It
// does not allocate.
func parseToken(secret string) (registry.Hash, bool) {
	if len(secret) != tokenLength || !strings.HasPrefix(secret, tokenPrefix) {
		return registry.Hash{}, false
	}
	var b [tokenLength]byte
	copy(b[:], secret)
	for _, c := range b[len(tokenPrefix):] {
		if !isBase64URL(c) {
			return registry.Hash{}, false
		}
	}
	return sha256.Sum256(b[:]), true
}

func isBase64URL(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
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
