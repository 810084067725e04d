package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// BrowserKey makes the marks by which a browser is known again from which somebody has signed in to an account. A mark is no credential: it lets
// nobody in. But whoever brings it is not held up by those who guess the account's password elsewhere, from an address that is new as well, and after a
// restart. Guesses that come with one are counted by it, as those from an address are. It is safe for concurrent use.
type BrowserKey struct{ key [32]byte }

// browserKeySetting is the registry's setting that holds the key, in base64url.
const browserKeySetting = "browser.key"

// browser is what is random in a mark.
type browser [12]byte

const markCheck = 16 // bytes of HMAC-SHA-256 in a mark

// OpenBrowserKey returns the key that the registry keeps, and has it keep a new one where it has none; keep is [registry.Registry.KeepSetting].
func OpenBrowserKey(ctx context.Context, keep func(ctx context.Context, key, value string) (kept string, err error)) (*BrowserKey, error) {
	key, err := openKey(ctx, keep, browserKeySetting, "delete the setting: whoever signs in next gets a new mark")
	if err != nil {
		return nil, err
	}
	return &BrowserKey{key}, nil
}

// Mark returns a new mark for a browser from which somebody has just signed in to the account of an email, which is as [registry.Account] has it: 38
// characters of base64url. It holds until the key changes.
func (k *BrowserKey) Mark(email string) string {
	var b browser
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(append(b[:], k.check(b, email)...))
}

// read returns the browser that a mark is of, and false where it is none for the email, which is as [registry.ParseEmail] returns it.
func (k *BrowserKey) read(mark, email string) (b browser, ok bool) {
	if len(mark) != base64.RawURLEncoding.EncodedLen(len(b)+markCheck) {
		return b, false
	}
	bytes, err := base64.RawURLEncoding.Strict().DecodeString(mark)
	if err != nil || len(bytes) != len(b)+markCheck { // line breaks are passed over
		return b, false
	}
	b = browser(bytes)
	if !hmac.Equal(bytes[len(b):], k.check(b, email)) {
		return browser{}, false
	}
	return b, true
}

func (k *BrowserKey) check(b browser, email string) []byte {
	mac := hmac.New(sha256.New, k.key[:])
	mac.Write(b[:])
	mac.Write([]byte(email))
	return mac.Sum(nil)[:markCheck]
}
