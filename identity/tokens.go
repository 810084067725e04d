package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// TokenReader is what [Tokens] needs of a registry, so that it can be tested without a catalog.
type TokenReader interface {
	// TokenByHash returns the token that was issued with hash; [fault.NotFound] where there is none or it was revoked.
	TokenByHash(ctx context.Context, hash registry.Hash) (registry.Token, error)
	// Revocations returns the next entries of the log of revoked tokens, as [registry.Registry] has it.
	Revocations(ctx context.Context, since int64) (revoked []registry.Revocation, next int64, err error)
	// UseTokens notes when tokens were used, as [registry.Registry] has it.
	UseTokens(ctx context.Context, uses []registry.TokenUse) error
}

// TokenOptions says where tokens are looked up.
type TokenOptions struct {
	Registry TokenReader      // required
	Key      *TokenKey        // with which tokens are issued; required
	Header   string           // a header that may hold a token besides Authorization: Bearer; empty: none
	Now      func() time.Time // the clock by which tokens expire; nil: the machine's
	Logger   *slog.Logger     // hears when revocations cannot be read; nil: nobody does
}

// Tokens is the source of opaque tokens that perdiem issued itself: Authorization: Bearer pdm_…, or the same without
// "Bearer" in a header of the operator's choice. Bearer tokens of any other form are left to other sources.
//
// Tokens that the registry knows are remembered, up to half a million of them, in about 225 bytes each: a warm
// request asks nobody and allocates nothing. [Tokens.Run] forgets them within a second of their revocation; an expiry holds to the
// millisecond. Without Run nothing is remembered. While the registry cannot be read, tokens that are remembered hold and all others
// are [fault.Unavailable]; after a day of that, all are asked about anew when it can be read again.
//
// When an application's own token was last used is noted once in ten minutes, and told to the registry by [Tokens.Run], some seconds later. Of
// members' tokens, of which there are many, it is not.
//
// A token that was made up costs the registry nothing: its check is wrong. What cannot be told from a made-up one, a token of the form that
// was issued before there were checks, costs at most 50 questions in vain in any second; beyond that, tokens of that form that are not
// remembered are [fault.Exhausted] until the flood is over. Tokens that were rejected are remembered for five seconds.
type Tokens struct {
	registry TokenReader
	header   string // canonical, or empty
	now      func() time.Time
	log      *slog.Logger
	key      *TokenKey
	known    *cache
	bare     *strangers    // tokens without a check
	checked  *strangers    // tokens with one, which were issued and are no longer known: only whoever held many could flood with them
	asking   chan struct{} // holds one element for each question to the registry that is under way
	stale    atomic.Bool   // the last attempt to read revocations failed
	reading  sync.Mutex    // held while revocations are read
	read     time.Time     // guarded by reading: when they were last; zero: never
	uses     uses
}

const (
	knownTokens      = 1 << 19
	unknownFor       = 5 * time.Second
	maxAsking        = 16
	revocationsEvery = 250 * time.Millisecond
	// readAgainWithin is for how long revocations may not be read without what is remembered being forgotten. They stay in the log for a week.
	readAgainWithin = 24 * time.Hour
)

// NewTokens returns the source. The error says which option is missing or wrong.
func NewTokens(o TokenOptions) (*Tokens, error) {
	if o.Registry == nil {
		return nil, errors.New("tokens: a registry is required")
	}
	if o.Key == nil {
		return nil, errors.New("tokens: the key with which tokens are issued is required")
	}
	header, err := credentialHeader(o.Header)
	if err != nil {
		return nil, fmt.Errorf("tokens.%w", err)
	}
	o.Now, o.Logger = orMachine(o.Now), orSilent(o.Logger)
	return &Tokens{
		registry: o.Registry,
		key:      o.Key,
		header:   header,
		now:      o.Now,
		log:      o.Logger,
		known:    newCache(knownTokens),
		bare:     newStrangers(unknownFor),
		checked:  newStrangers(unknownFor),
		asking:   make(chan struct{}, maxAsking),
	}, nil
}

// Identify finds the caller by a token that perdiem issued. It may wait for the registry as long as ctx does.
func (t *Tokens) Identify(ctx context.Context, r Request) (Caller, bool, error) {
	secret, found, err := credential(r.Header, t.header)
	if err != nil || !found || !strings.HasPrefix(secret, TokenPrefix) {
		return Caller{}, false, err
	}
	hash, ok := parseToken(secret)
	if !ok {
		return Caller{}, false, errUnknownToken
	}
	e, ok := t.known.get(&hash)
	if !ok {
		strangers := t.bare
		if len(secret) == tokenLength {
			if !t.key.made(secret) {
				return Caller{}, false, errUnknownToken
			}
			strangers = t.checked
		}
		if e, err = t.ask(ctx, hash, strangers); err != nil {
			return Caller{}, false, err
		}
	}
	now := t.now()
	if e.expired(now) {
		return Caller{}, false, errExpiredToken
	}
	if e.used != nil && e.used.begins(now) {
		t.uses.note(e.caller().TokenID, now)
	}
	return e.caller(), true, nil
}

// ask looks a token up that is not remembered.
func (t *Tokens) ask(ctx context.Context, hash registry.Hash, strangers *strangers) (entry, error) {
	if strangers.has(&hash, t.now()) {
		return entry{}, errUnknownToken
	}
	if !strangers.mayAsk(t.now()) {
		return entry{}, errTooManyUnknown
	}
	select {
	case t.asking <- struct{}{}:
		defer func() { <-t.asking }()
	case <-ctx.Done():
		return entry{}, fault.Wrap(fault.Unavailable, ctx.Err(), registryDown)
	}
	// Those that waited with this one may have got the answer, or used up what may be asked in vain.
	if e, ok := t.known.get(&hash); ok {
		return e, nil
	}
	began := t.now()
	if strangers.has(&hash, began) {
		return entry{}, errUnknownToken
	}
	if !strangers.begin(began) {
		return entry{}, errTooManyUnknown
	}
	cursor := t.known.cursor.Load()
	token, err := t.registry.TokenByHash(ctx, hash)
	strangers.end(began, fault.KindOf(err) == fault.NotFound)
	if err != nil {
		if fault.KindOf(err) != fault.NotFound {
			return entry{}, fault.Wrap(fault.Unavailable, err, registryDown)
		}
		strangers.put(&hash, t.now())
		return entry{}, errUnknownToken
	}
	e := newEntry(token)
	t.known.put(&hash, e, cursor)
	return e, nil
}

// Run follows the log of revocations, and tells the registry which tokens were used, until ctx ends. A failure to read it is logged when it begins and when it ends, and
// shows in [Tokens.Ready].
func (t *Tokens) Run(ctx context.Context) {
	var uses sync.WaitGroup
	defer uses.Wait()
	uses.Go(func() { t.followUses(ctx) }) // beside it: a revocation does not wait for what is written
	tick := time.NewTicker(revocationsEvery)
	defer tick.Stop()
	for {
		err := t.ReadRevocations(ctx)
		if ctx.Err() != nil {
			return
		}
		if failed := err != nil; t.stale.Swap(failed) != failed {
			if failed {
				t.log.ErrorContext(ctx, "revocations of tokens cannot be read: revoked tokens that are remembered still hold", "err", err)
			} else {
				t.log.InfoContext(ctx, "revocations of tokens are read again")
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// followUses tells the registry which tokens were used, once in a while and when ctx has ended.
func (t *Tokens) followUses(ctx context.Context) {
	tick := time.NewTicker(keepUsesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.keepUses(ctx)
		case <-ctx.Done():
			t.keepUses(context.WithoutCancel(ctx))
			return
		}
	}
}

// keepUses tells the registry which tokens were used.
func (t *Tokens) keepUses(ctx context.Context) {
	if err := t.uses.keep(ctx, t.registry); err != nil && ctx.Err() == nil {
		t.log.WarnContext(ctx, "when tokens were last used cannot be kept: it is tried again", "err", err)
	}
}

// ReadRevocations reads the log of revocations to its end. [Tokens.Run] does so again and again; whoever wants the source to be ready before that,
// or a token that was just revoked to be refused at once, calls it besides.
func (t *Tokens) ReadRevocations(ctx context.Context) error {
	t.reading.Lock()
	defer t.reading.Unlock()
	for {
		cursor := t.known.cursor.Load()
		revoked, next, err := t.registry.Revocations(ctx, cursor)
		if err != nil {
			return err
		}
		now := t.now().Round(0) // by the wall clock: the time for which the machine was suspended counts
		if !t.read.IsZero() && now.Sub(t.read) > readAgainWithin {
			t.known.clear() // the log may no longer have all that was revoked since
		}
		t.read = now
		if next == cursor {
			return nil
		}
		t.known.advance(revoked, next)
	}
}

// Ready returns nil, or why tokens cannot be told from revoked ones.
func (t *Tokens) Ready() error {
	switch {
	case t.stale.Load():
		return fault.New(fault.Unavailable, "revocations of tokens cannot be read from the registry")
	case t.known.cursor.Load() < 0:
		return fault.New(fault.Unavailable, "revocations of tokens have not been read yet")
	default:
		return nil
	}
}

// Strip deletes the configured header, and Authorization where it holds a token of perdiem's; another's credential in
// Authorization stays.
func (t *Tokens) Strip(h http.Header) {
	if t.header != "" {
		stripNamed(h, t.header)
	}
	if slices.ContainsFunc(h["Authorization"], holdsOwnToken) {
		delete(h, "Authorization")
	}
}

// holdsOwnToken reports whether a token of perdiem's stands anywhere in an Authorization header, whatever the scheme and
// however it was garbled: better too much is kept from the upstream than a secret is shown to it.
func holdsOwnToken(value string) bool {
	for from := 0; ; {
		i := strings.Index(value[from:], TokenPrefix)
		if i < 0 {
			return false
		}
		at := from + i
		if at == 0 || strings.IndexByte(" \t,\"=:", value[at-1]) >= 0 { // else it is the end of a longer word
			return true
		}
		from = at + len(TokenPrefix)
	}
}

const registryDown = "Tokens cannot be checked at the moment."

var (
	errUnknownToken   = fault.New(fault.Unauthorized, "The token is not known, or was revoked.")
	errExpiredToken   = fault.New(fault.Unauthorized, "The token has expired.")
	errTooManyUnknown = fault.New(fault.Exhausted, "Too many unknown tokens are being sent. Tokens can be checked again in a moment.")
)
