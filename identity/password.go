package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/perdiem/perdiem/fault"
)

// How long a password may be. That 12 characters are asked for is perdiem's promise; the upper bound keeps a request from being all password.
const (
	MinPassword = 12   // characters
	MaxPassword = 1024 // bytes
)

// Passwords hashes the passwords of the portal's accounts by argon2id (RFC 9106), and compares them. A hash is told in the PHC string format, with
// the parameters that it was made with, so that these can be raised: a hash made before goes on to hold. It is safe for concurrent use.
//
// Each hash takes 19 MiB and some 25 ms of a processor, so at most two are made at a time, by no more than half of the processors, and a few more
// wait: people who sign in can take no more than that from a node that has calls to decide.
type Passwords struct {
	cost    cost
	turns   chan struct{} // holds one for each hash that is being made
	present chan struct{} // holds one for each that is being made or waited for
	decoy   string        // no password has this hash
}

const (
	hashesAtOnce  = 2  // at the most
	hashesWaiting = 64 // about a second's work
	saltBytes     = 16
	keyBytes      = 32
)

// cost is argon2id's parameters.
type cost struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
}

// currentCost is what OWASP's Password Storage Cheat Sheet asks for at the least: m=19456 (19 MiB), t=2, p=1.
// https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id
var currentCost = cost{memory: 19 << 10, passes: 2, threads: 1}

// mostCost is the most that comparing with a hash may take, whoever wrote it into the registry.
var mostCost = cost{memory: 128 << 10, passes: 16, threads: 4}

// NewPasswords returns the only ones that a process needs.
func NewPasswords() *Passwords {
	return newPasswords(currentCost, max(1, min(hashesAtOnce, runtime.GOMAXPROCS(0)/2)))
}

func newPasswords(c cost, atOnce int) *Passwords {
	p := &Passwords{cost: c, turns: make(chan struct{}, atOnce), present: make(chan struct{}, atOnce+hashesWaiting)}
	decoy := passwordHash{cost: c, salt: make([]byte, saltBytes), key: make([]byte, keyBytes)}
	rand.Read(decoy.salt) // never fails
	rand.Read(decoy.key)
	p.decoy = decoy.String()
	return p
}

// CheckPassword reports, as [fault.Invalid], a password that may not be set: it has fewer than [MinPassword] characters or more than
// [MaxPassword] bytes, or is no UTF-8, in which alone a browser could send it.
func CheckPassword(password string) error {
	switch {
	case len(password) > MaxPassword:
		return fault.New(fault.Invalid, "The password is too long: it may have at most %d bytes.", MaxPassword)
	case !utf8.ValidString(password):
		return fault.New(fault.Invalid, "The password is not UTF-8.")
	case utf8.RuneCountInString(password) < MinPassword:
		return fault.New(fault.Invalid, "The password is too short: it must have at least %d characters.", MinPassword)
	default:
		return nil
	}
}

// Hash returns the hash of a password, for [registry.Account]. [fault.Invalid] as in [CheckPassword]; [fault.Exhausted] where too many wait already,
// and [fault.Unavailable] where ctx ends first.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	if err := CheckPassword(password); err != nil {
		return "", err
	}
	h := passwordHash{cost: p.cost, salt: make([]byte, saltBytes)}
	rand.Read(h.salt) // never fails
	err := p.inTurn(ctx, func() { h.key = h.derive(password, keyBytes) })
	if err != nil {
		return "", err
	}
	return h.String(), nil
}

// Matches reports whether a password has the hash. An empty hash is no password's, and takes as long to find out. Errors are those of
// [Passwords.Hash], and one without a kind where the hash is damaged.
func (p *Passwords) Matches(ctx context.Context, hash, password string) (matches bool, err error) {
	if len(password) > MaxPassword {
		return false, nil // whatever the hash is
	}
	if hash == "" {
		hash = p.decoy
	}
	h, err := parsePasswordHash(hash)
	if err != nil {
		return false, err
	}
	err = p.inTurn(ctx, func() {
		matches = subtle.ConstantTimeCompare(h.derive(password, len(h.key)), h.key) == 1
	})
	return matches, err
}

// errTooMany is the error of somebody who comes while too many others sign in.
var errTooMany = fault.New(fault.Exhausted, "Too many people sign in at the moment: try again in a few seconds.")

// inTurn runs work when its turn comes.
func (p *Passwords) inTurn(ctx context.Context, work func()) error {
	select {
	case p.present <- struct{}{}:
		defer func() { <-p.present }()
	default:
		return errTooMany
	}
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, context.Cause(ctx), "Too many people sign in at the moment: try again in a few seconds.")
	}
	work()
	return nil
}

// passwordHash is what a hash in the PHC string format says.
// https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md
type passwordHash struct {
	cost
	salt []byte
	key  []byte
}

func (h passwordHash) derive(password string, length int) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, uint32(length))
}

const phcForm = "$argon2id$v=19$m=%d,t=%d,p=%d$"

// String returns the hash in the PHC string format.
func (h passwordHash) String() string {
	return fmt.Sprintf(phcForm, h.memory, h.passes, h.threads) +
		base64.RawStdEncoding.EncodeToString(h.salt) + "$" + base64.RawStdEncoding.EncodeToString(h.key)
}

var errDamagedHash = errors.New("the registry's hash of a password is damaged: set the password again by perdiem user password EMAIL")

// parsePasswordHash reads a hash, in just the form in which String writes it, whose parameters are within mostCost. The error does not repeat it.
func parsePasswordHash(text string) (h passwordHash, err error) {
	if _, err := fmt.Sscanf(text, phcForm, &h.memory, &h.passes, &h.threads); err != nil {
		return passwordHash{}, errDamagedHash
	}
	parts := strings.Split(text, "$")
	if len(parts) != 6 {
		return passwordHash{}, errDamagedHash
	}
	strict := base64.RawStdEncoding.Strict()
	var saltErr, keyErr error
	h.salt, saltErr = strict.DecodeString(parts[4])
	h.key, keyErr = strict.DecodeString(parts[5])
	if saltErr != nil || keyErr != nil || h.String() != text || !h.within(mostCost) || len(h.salt) < 8 || len(h.salt) > 64 || len(h.key) < 16 || len(h.key) > 64 {
		return passwordHash{}, errDamagedHash
	}
	return h, nil
}

// within reports whether the parameters make sense (RFC 9106, section 3.1), and take no more than most do.
func (c cost) within(most cost) bool {
	return c.passes >= 1 && c.passes <= most.passes && c.threads >= 1 && c.threads <= most.threads &&
		c.memory >= 8*uint32(c.threads) && c.memory <= most.memory
}
