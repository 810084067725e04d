package identity

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// IntrospectionOptions says which issuer is asked, and which claims of its answer name the caller.
type IntrospectionOptions struct {
	URL          string           // the introspection endpoint, as [CheckIssuerURL] wants it
	ClientID     string           // as whom perdiem asks
	ClientSecret string           // and with which secret (RFC 6749, section 2.3.1, by HTTP Basic)
	Audience     string           // what the answer's aud must hold; empty: it is not looked at
	Application  string           // the claim that names the application
	Member       string           // the claim that names the member; empty: nobody has a member
	Header       string           // a header that may hold a token besides Authorization: Bearer; empty: none
	Roots        *x509.CertPool   // who vouches for the issuer's certificate; nil: the system's
	Now          func() time.Time // the clock by which tokens expire; nil: the machine's
	Logger       *slog.Logger     // hears when the issuer cannot be asked; nil: nobody does
}

// Introspection is the source of tokens about which their issuer is asked (RFC 7662), sent as Authorization: Bearer. Every bearer token but
// perdiem's own is such a token, so sources that recognise theirs by looking at it go before this one.
//
// That a token is active is remembered until it expires, and for a minute at the most; that it is not, for ten seconds. Up to 65,536 tokens
// are remembered, in about 200 bytes each and the ids: a warm request asks nobody and allocates nothing. Requests that bring the same token at
// the same time share a question; up to 32 questions are under way at a time, and about a thousand wait for their turn.
//
// At most 50 questions in vain begin in any second. Where more tokens that are not active have to be asked about, tokens that are not
// remembered are [fault.Exhausted]. When the issuer cannot be asked, they are [fault.Unavailable]. Tokens that were active when they were
// last asked about have all these bounds to themselves, so that no flood of made-up ones keeps them from being asked about again.
type Introspection struct {
	url      string
	id       string // of the client, as the header has it
	secret   string
	audience string
	header   string // canonical, or empty
	names    names
	now      func() time.Time
	log      *slog.Logger
	client   *http.Client
	known    memory[voucher]
	unknown  *questioning       // about tokens that are not remembered; it remembers those that are not active
	familiar *questioning       // about tokens that were active: only whoever held many that are no longer could flood with them
	flights  singleflight.Group // by the token's hash
	down     atomic.Bool        // the last question was not answered
}

// questioning bounds the questions about one sort of tokens.
type questioning struct {
	strangers *strangers
	flying    atomic.Int64  // questions that are under way or wait for their turn
	asking    chan struct{} // holds one element for each question that is under way
}

func newQuestioning() *questioning {
	return &questioning{strangers: newStrangers(inactiveFor), asking: make(chan struct{}, maxQuestions)}
}

const (
	knownActive    = 1 << 16
	activeFor      = time.Minute
	inactiveFor    = 10 * time.Second
	maxQuestions   = 32
	maxFlying      = 1024
	maxIntrospects = 64 << 10 // bytes of an answer
)

// NewIntrospection returns the source. The error says every option that is missing or wrong.
func NewIntrospection(o IntrospectionOptions) (*Introspection, error) {
	n := names{o.Application, o.Member}
	header, err := checkIssued("introspection", "url", o.URL, o.Header, n,
		required{"client_id", o.ClientID, "tell as whom the issuer is asked"},
		required{"client_secret", o.ClientSecret, "tell the secret with which the issuer is asked"})
	if err != nil {
		return nil, err
	}
	o.Now, o.Logger = orMachine(o.Now), orSilent(o.Logger)
	return &Introspection{
		url:      o.URL,
		id:       url.QueryEscape(o.ClientID),
		secret:   url.QueryEscape(o.ClientSecret),
		audience: o.Audience,
		header:   header,
		names:    n,
		now:      o.Now,
		log:      o.Logger.With("introspection", o.URL),
		client:   newIssuerClient(o.Roots, 2*maxQuestions),
		known:    newMemory[voucher](knownActive),
		unknown:  newQuestioning(),
		familiar: newQuestioning(),
	}, nil
}

// Close lets go of connections to the issuer.
func (i *Introspection) Close() { i.client.CloseIdleConnections() }

// Strip does nothing: the token is of use to the upstream.
func (i *Introspection) Strip(http.Header) {}

// Identify finds the caller by what the issuer says of a token.
func (i *Introspection) Identify(ctx context.Context, r Request) (Caller, bool, error) {
	secret, found, err := credential(r.Header, i.header)
	if err != nil || !found || secret == "" || strings.HasPrefix(secret, TokenPrefix) {
		return Caller{}, false, err
	}
	hash := hashSecret(secret)
	among := i.unknown
	if v, ok := i.known.get(&hash); ok {
		among = i.familiar
		switch now := i.now().UnixMilli(); {
		case now < v.until:
			return v.caller(), true, nil
		case now >= v.expires:
			return Caller{}, false, errExpiredToken
		}
	}
	if !isToken68(secret) {
		return Caller{}, false, errInactiveToken
	}
	v, err := i.share(ctx, secret, hash, among)
	if err != nil {
		return Caller{}, false, err
	}
	return v.caller(), true, nil
}

// isToken68 reports whether the text can be a bearer token at all (RFC 6750, section 2.1).
func isToken68(text string) bool {
	body := strings.TrimRight(text, "=")
	for n := range len(body) {
		if c := body[n]; !isBase64URL(c) && c != '.' && c != '~' && c != '+' && c != '/' {
			return false
		}
	}
	return body != ""
}

// share asks about a token, or waits for the answer to somebody else's question about it. A question goes on when those who asked have
// gone: the next will want to know.
func (i *Introspection) share(ctx context.Context, secret string, hash registry.Hash, among *questioning) (voucher, error) {
	if err := i.mayAsk(&hash, among); err != nil {
		return voucher{}, err
	}
	if among.flying.Load() >= maxFlying {
		return voucher{}, errManyQuestions
	}
	answer := i.flights.DoChan(string(hash[:]), func() (any, error) {
		among.flying.Add(1)
		defer among.flying.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), issuerTime)
		defer cancel()
		v, err := i.askOnce(ctx, secret, &hash, among)
		return v, err
	})
	select {
	case a := <-answer:
		if a.Err != nil {
			return voucher{}, a.Err
		}
		return a.Val.(voucher), nil
	case <-ctx.Done():
		return voucher{}, fault.Wrap(fault.Unavailable, ctx.Err(), issuerDown)
	}
}

// mayAsk returns why the issuer is not to be asked about the token now.
func (i *Introspection) mayAsk(hash *registry.Hash, among *questioning) error {
	now := i.now()
	switch {
	case i.unknown.strangers.has(hash, now):
		return errInactiveToken
	case among.strangers.mayAsk(now):
		return nil
	default:
		return i.askedInVain()
	}
}

// askedInVain returns why no more may be asked: what was asked in vain was about tokens that do not hold, or was not answered at all.
func (i *Introspection) askedInVain() error {
	if i.down.Load() {
		return errIssuerDown
	}
	return errTooManyUnknown
}

// askOnce asks when it is the token's turn.
func (i *Introspection) askOnce(ctx context.Context, secret string, hash *registry.Hash, among *questioning) (voucher, error) {
	select {
	case among.asking <- struct{}{}:
		defer func() { <-among.asking }()
	case <-ctx.Done():
		return voucher{}, fault.Wrap(fault.Unavailable, ctx.Err(), issuerDown)
	}
	if err := ctx.Err(); err != nil { // both were so at the same time
		return voucher{}, fault.Wrap(fault.Unavailable, err, issuerDown)
	}
	began := i.now()
	// The answer may have come, or what may be asked in vain been used up, while the question waited.
	if v, ok := i.known.get(hash); ok && began.UnixMilli() < v.until {
		return v, nil
	}
	if i.unknown.strangers.has(hash, began) {
		return voucher{}, errInactiveToken
	}
	if !among.strangers.begin(began) {
		return voucher{}, i.askedInVain()
	}
	v, err := i.ask(ctx, secret, began)
	among.strangers.end(began, err != nil)
	i.noteAnswer(err)
	switch {
	case err == nil:
		i.known.put(hash, v, always)
	case fault.KindOf(err) == fault.Unauthorized:
		i.unknown.strangers.put(hash, i.now())
		i.known.delete(hash) // a stranger from now on
	}
	return v, err
}

// noteAnswer tells the log when the issuer stops to answer and when it does again.
func (i *Introspection) noteAnswer(err error) {
	down := fault.KindOf(err) == fault.Unavailable
	if i.down.Swap(down) == down {
		return
	}
	if down {
		i.log.Error("an issuer cannot be asked about tokens: those that are not remembered are refused", "err", err)
	} else {
		i.log.Info("an issuer can be asked about tokens again")
	}
}

// ask asks the issuer. The error is [fault.Unauthorized] where the token does not hold, and [fault.Unavailable] where there is no answer
// that makes sense.
func (i *Introspection) ask(ctx context.Context, secret string, now time.Time) (voucher, error) {
	form := url.Values{"token": {secret}, "token_type_hint": {"access_token"}}.Encode()
	r, err := http.NewRequest(http.MethodPost, i.url, strings.NewReader(form))
	if err != nil {
		return voucher{}, fault.Wrap(fault.Unavailable, err, issuerDown)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(i.id, i.secret)
	body, err := ask(ctx, i.client, r, maxIntrospects)
	if status, ok := errors.AsType[statusError](err); ok && status.code == http.StatusBadRequest {
		return voucher{}, errInactiveToken // of a sort that the issuer answers no questions about
	}
	if err != nil {
		return voucher{}, fault.Wrap(fault.Unavailable, err, issuerDown)
	}
	c, err := parseClaims(body)
	if err != nil {
		return voucher{}, fault.Wrap(fault.Unavailable, fmt.Errorf("the answer makes no sense: %w", err), issuerDown)
	}
	var active *bool
	if json.Unmarshal(c["active"], &active) != nil || active == nil {
		return voucher{}, fault.Wrap(fault.Unavailable, errors.New("the answer does not say whether the token is active"), issuerDown)
	}
	if !*active {
		return voucher{}, errInactiveToken
	}
	return i.vouch(c, now)
}

// vouch returns what an answer says of an active token.
func (i *Introspection) vouch(c claims, now time.Time) (voucher, error) {
	kind, err := c.text("token_type")
	if err != nil || kind != "" && !strings.EqualFold(kind, "Bearer") {
		return voucher{}, errInactiveToken // one that is bound to a key is worth nothing to who merely bears it
	}
	if i.audience != "" {
		audience, err := c.texts("aud")
		if err != nil || !slices.Contains(audience, i.audience) {
			return voucher{}, fault.New(fault.Unauthorized, badToken)
		}
	}
	begins, err := c.date("nbf")
	if err != nil || begins != nil && begins.After(now.Add(leeway)) {
		return voucher{}, errInactiveToken
	}
	expires, err := c.date("exp")
	if err != nil {
		return voucher{}, errInactiveToken
	}
	v, err := i.names.caller(c)
	if err != nil {
		return voucher{}, err
	}
	v.until = now.Add(activeFor).UnixMilli()
	v.expires = maxDate * 1000
	if expires != nil {
		if !now.Before(expires.Time) {
			return voucher{}, errExpiredToken
		}
		v.expires = expires.UnixMilli()
		v.until = min(v.until, v.expires)
	}
	return v, nil
}

var (
	errInactiveToken = fault.New(fault.Unauthorized, "The token is not known to its issuer, has expired, or was revoked.")
	errManyQuestions = fault.New(fault.Exhausted, "Too many tokens have to be checked at once. Tokens can be checked again in a moment.")
)
