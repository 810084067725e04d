package identity

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// OIDC lets people sign in to the portal at an issuer: OpenID Connect Core 1.0 by the authorization code flow, with PKCE (RFC 7636), state and nonce. It is
// safe for concurrent use.
//
// The issuer vouches for an email: somebody whose email it has not verified is refused. Whoever signs in for the first time is linked to the account that the email
// names, and from then on signs in to that, whatever email they have later; nobody else at the issuer does, whom it may give the email one day. An email without
// an account gets one, without a password and without grants. Where a group is configured, being in it makes an operator, and not being in it any longer unmakes one, at each sign-in.
//
// Nothing is kept between the two halves of a sign-in: [OIDC.Begin] and [OIDC.Finish] derive whatever has to be the same in both from a secret that the browser keeps.
// What anybody could have the issuer asked in vain is bounded by address, and in all.
type OIDC struct {
	options   OIDCOptions
	client    *http.Client
	exchanges *exchanges

	saidOutage, saidDeclined, saidRefused, saidNotTheirs seldom

	found     atomic.Pointer[oidcIssuer] // nil: it was not reached yet
	searching singleflight.Group
}

// OIDCOptions are what [OIDC] needs.
type OIDCOptions struct {
	Issuer       string // required: as the issuer names itself, an address that [CheckIssuerURL] takes
	ClientID     string // required
	ClientSecret string // required
	// Redirect is where the issuer sends browsers back to; required.
	Redirect string
	Label    string   // what people call the issuer; empty: its host
	Scopes   []string // that are asked for besides openid and email
	// OperatorGroup makes operators of those in whose GroupsClaim it is; empty: who is an operator is not the issuer's to say.
	OperatorGroup string
	GroupsClaim   string            // a text or a list of them; required with OperatorGroup
	Roots         *x509.CertPool    // that the issuer proves who it is to; nil: the system's
	Accounts      registry.Accounts // required
	Now           func() time.Time  // nil: the machine's clock
	Logger        *slog.Logger      // nil: nobody hears
}

const (
	maxOIDCAnswer = 1 << 20          // bytes of an issuer's answer
	finishTime    = 12 * time.Second // for all that the issuer is asked when somebody comes back
	searchEvery   = time.Hour        // its endpoints are looked up again
)

// oidcIssuer is what an issuer tells of itself (OpenID Connect Discovery 1.0, section 3).
type oidcIssuer struct {
	*oidc.Provider
	style oauth2.AuthStyle
	until time.Time // it is looked up again
}

// NewOIDC returns sign-in at an issuer, which is asked nothing yet: it may be down. The error says everything that is missing.
func NewOIDC(o OIDCOptions) (*OIDC, error) {
	var problems []error
	if err := CheckIssuerURL(o.Issuer); err != nil {
		problems = append(problems, fmt.Errorf("oidc.issuer: %w", err))
	}
	for _, need := range []struct {
		name    string
		missing bool
	}{
		{"ClientID", o.ClientID == ""},
		{"ClientSecret", o.ClientSecret == ""},
		{"Redirect", o.Redirect == ""},
		{"Accounts", o.Accounts == nil},
		{"GroupsClaim", o.OperatorGroup != "" && o.GroupsClaim == ""},
	} {
		if need.missing {
			problems = append(problems, errors.New("identity: OIDCOptions need "+need.name))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if o.Label == "" {
		u, err := url.Parse(o.Issuer)
		if err != nil {
			return nil, err
		}
		o.Label = u.Host
	}
	o.Now, o.Logger = orMachine(o.Now), orSilent(o.Logger)
	client := newIssuerClient(o.Roots, 16)
	client.Transport = boundedAnswers{client.Transport}
	return &OIDC{options: o, client: client, exchanges: newExchanges()}, nil
}

// Label returns what people call the issuer.
func (o *OIDC) Label() string { return o.options.Label }

// Close lets go of connections.
func (o *OIDC) Close() { o.client.CloseIdleConnections() }

// Begin returns the address at the issuer where somebody signs in. The secret is the browser's for this one sign-in: at least 128 random bits, that nobody else
// learns. from is the client's address. [fault.Unavailable] where the issuer cannot be reached, or answers what is no issuer's answer; [fault.Exhausted] where that
// was tried too often from there, with a [Wait] in the chain, or too many sign in at the moment.
func (o *OIDC) Begin(ctx context.Context, secret string, from netip.Addr) (address string, err error) {
	end, err := o.exchanges.begin(from, "")
	if err != nil {
		return "", err
	}
	issuer, err := o.issuer(ctx)
	end(err == nil)
	if err != nil {
		return "", err
	}
	return o.config(issuer).AuthCodeURL(derive(secret, "state"), oidc.Nonce(derive(secret, "nonce")), oauth2.S256ChallengeOption(derive(secret, "verifier"))), nil
}

// Finish returns the account of somebody who comes back from the issuer with an answer to what [OIDC.Begin] asked with the same secret, and makes one where
// there is none. from is the client's address. An answer is good once, whatever comes of it but [fault.Exhausted]. [ErrNotBegun] where the answer is none to that, and nothing was done;
// [fault.Unauthorized] also where the answer was brought before, or the issuer says no; [fault.Forbidden] where the issuer does not vouch for an email;
// [fault.Unavailable] where issuer or registry cannot be reached; [fault.Conflict] where there are too many accounts; [fault.Exhausted] as in [OIDC.Begin].
func (o *OIDC) Finish(ctx context.Context, secret string, answer url.Values, from netip.Addr) (account registry.Account, err error) {
	ctx, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	state := answer.Get("state")
	if secret == "" || subtle.ConstantTimeCompare([]byte(state), []byte(derive(secret, "state"))) != 1 {
		return registry.Account{}, ErrNotBegun
	}
	if iss := answer.Get("iss"); iss != "" && iss != o.options.Issuer { // RFC 9207: the answer is another issuer's
		return registry.Account{}, ErrNotBegun
	}
	if code := answer.Get("error"); code != "" {
		return registry.Account{}, o.declined(code)
	}
	code := answer.Get("code")
	if code == "" {
		return registry.Account{}, ErrNotBegun
	}
	end, err := o.exchanges.begin(from, state)
	if err != nil {
		return registry.Account{}, err
	}
	defer func() { end(err == nil) }()
	issuer, err := o.issuer(ctx)
	if err != nil {
		return registry.Account{}, err
	}
	who, err := o.ask(ctx, issuer, secret, code)
	if err != nil {
		return registry.Account{}, err
	}
	return o.account(ctx, who)
}

// ErrNotBegun is the error of an answer to nothing that was asked, [fault.Unauthorized]: somebody may have brought it to sign another person in as themselves.
var ErrNotBegun = fault.New(fault.Unauthorized, "This sign-in was begun in another browser or window, or too long ago. Begin again.")

// declined returns the error of an issuer's error (RFC 6749, section 4.1.2.1; OpenID Connect Core 1.0, section 3.1.2.6). Nothing of the address is shown
// to whoever follows it: anybody can write one.
func (o *OIDC) declined(code string) error {
	switch code {
	case "access_denied":
		return fault.New(fault.Unauthorized, "You were not let in at %s, or went back. Nothing has changed here.", o.options.Label)
	case "temporarily_unavailable", "server_error":
		return fault.New(fault.Unavailable, "%s cannot sign anybody in at the moment. Try again in a minute.", o.options.Label)
	default:
		if o.saidDeclined.may() {
			o.options.Logger.Warn("the issuer does not sign anybody in for the portal: is the client registered there as it is configured here?", "issuer", o.options.Issuer, "error", fmt.Sprintf("%.64q", code))
		}
		return fault.New(fault.Unauthorized, "%s does not sign anybody in to this portal. Tell whoever runs this API.", o.options.Label)
	}
}

// derive returns a value that is a sign-in's own, and tells nothing of its secret: 43 characters, as many as RFC 7636, section 4.1, wants of a verifier.
func derive(secret, of string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(of))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// boundedAnswers bounds the bodies that are read.
type boundedAnswers struct{ http.RoundTripper }

func (b boundedAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxOIDCAnswer)
	}
	return answer, err
}

// issuer returns what the issuer tells of itself. Those who wait for it ask once for all; when it cannot be asked again, what it told before holds.
func (o *OIDC) issuer(ctx context.Context) (*oidcIssuer, error) {
	held := o.found.Load()
	if held != nil && o.options.Now().Before(held.until) {
		return held, nil
	}
	searched := o.searching.DoChan("", func() (any, error) {
		issuer, err := o.search(context.WithoutCancel(ctx))
		if err == nil {
			o.found.Store(issuer)
		}
		return issuer, err
	})
	select {
	case result := <-searched:
		switch {
		case result.Err == nil:
			return result.Val.(*oidcIssuer), nil
		case held != nil:
			if o.saidOutage.may() {
				o.options.Logger.Warn("the issuer's endpoints cannot be looked up; those of before hold", "issuer", o.options.Issuer, "err", brief(result.Err))
			}
			return held, nil
		default:
			return nil, o.unreachable(result.Err)
		}
	case <-ctx.Done():
		return nil, o.unreachable(ctx.Err())
	}
}

// search asks the issuer for its endpoints. Each has to be as safe as the issuer's own address.
func (o *OIDC) search(ctx context.Context) (*oidcIssuer, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, o.client), o.options.Issuer)
	if err != nil {
		return nil, err
	}
	var told struct {
		Authorization string   `json:"authorization_endpoint"`
		Token         string   `json:"token_endpoint"`
		Keys          string   `json:"jwks_uri"`
		UserInfo      string   `json:"userinfo_endpoint"`
		Methods       []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := provider.Claims(&told); err != nil {
		return nil, err
	}
	for name, address := range map[string]string{"authorization_endpoint": told.Authorization, "token_endpoint": told.Token, "jwks_uri": told.Keys, "userinfo_endpoint": told.UserInfo} {
		if address == "" && name == "userinfo_endpoint" {
			continue
		}
		if err := CheckIssuerURL(address); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	issuer := &oidcIssuer{Provider: provider, style: oauth2.AuthStyleInHeader, until: o.options.Now().Add(searchEvery)}
	// Basic is what holds where the issuer tells nothing (Discovery 1.0, section 3).
	if len(told.Methods) > 0 && !slices.Contains(told.Methods, "client_secret_basic") && slices.Contains(told.Methods, "client_secret_post") {
		issuer.style = oauth2.AuthStyleInParams
	}
	return issuer, nil
}

func (o *OIDC) config(issuer *oidcIssuer) *oauth2.Config {
	endpoint := issuer.Endpoint()
	endpoint.AuthStyle = issuer.style
	return &oauth2.Config{
		ClientID: o.options.ClientID, ClientSecret: o.options.ClientSecret, Endpoint: endpoint, RedirectURL: o.options.Redirect,
		Scopes: append([]string{oidc.ScopeOpenID, "email"}, o.options.Scopes...),
	}
}

// person is what an issuer says of somebody.
type person struct {
	subject  registry.Subject
	email    string
	operator bool
}

// ask turns a code into what the issuer says of whoever got it.
func (o *OIDC) ask(ctx context.Context, issuer *oidcIssuer, secret, code string) (person, error) {
	ctx = oidc.ClientContext(ctx, o.client)
	tokens, err := o.config(issuer).Exchange(ctx, code, oauth2.VerifierOption(derive(secret, "verifier")))
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.ErrorCode == "invalid_grant" {
		return person{}, o.refused(fmt.Sprintf("it does not take the code: %.200q", refused.ErrorDescription))
	}
	if err != nil {
		return person{}, o.unreachable(err)
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return person{}, o.unreachable(errors.New("the answer has no id_token"))
	}
	token, err := issuer.Verifier(&oidc.Config{ClientID: o.options.ClientID, Now: o.options.Now}).Verify(ctx, raw)
	if err != nil {
		return person{}, o.unreachable(err)
	}
	subject := registry.Subject{Issuer: o.options.Issuer, Name: token.Subject}
	if err := subject.Validate(); err != nil {
		return person{}, o.unreachable(fmt.Errorf("the sub of its id_token: %w", err))
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(derive(secret, "nonce"))) != 1 {
		return person{}, o.refused("the nonce of its id_token is not the one that it was sent")
	}
	claims := map[string]json.RawMessage{}
	if err := token.Claims(&claims); err != nil {
		return person{}, o.unreachable(err)
	}
	if o.lacks(claims) && issuer.UserInfoEndpoint() != "" {
		if err := o.complete(ctx, issuer, tokens, token.Subject, claims); err != nil {
			return person{}, o.unreachable(err)
		}
	}
	return o.person(subject, claims)
}

// lacks reports whether something is missing that the issuer's userinfo may have: many put claims there alone.
func (o *OIDC) lacks(claims map[string]json.RawMessage) bool {
	return claims["email"] == nil || claims["email_verified"] == nil || o.options.OperatorGroup != "" && claims[o.options.GroupsClaim] == nil
}

// complete adds the claims of the issuer's userinfo (OpenID Connect Core 1.0, section 5.3).
func (o *OIDC) complete(ctx context.Context, issuer *oidcIssuer, tokens *oauth2.Token, subject string, claims map[string]json.RawMessage) error {
	info, err := issuer.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil {
		return err
	}
	if info.Subject != subject { // section 5.3.2: it is somebody else's
		return errors.New("userinfo is not about whom the id_token is about")
	}
	more := map[string]json.RawMessage{}
	if err := info.Claims(&more); err != nil {
		return err
	}
	if more["email"] != nil { // whether one is verified is told beside it
		delete(claims, "email")
		delete(claims, "email_verified")
	}
	for name, value := range more {
		if claims[name] == nil {
			claims[name] = value
		}
	}
	return nil
}

// person reads claims.
func (o *OIDC) person(subject registry.Subject, claims map[string]json.RawMessage) (person, error) {
	var email string
	if json.Unmarshal(claims["email"], &email) != nil || email == "" {
		return person{}, fault.New(fault.Forbidden, "%s tells no email address of you, and accounts go by that. Ask whoever runs this API.", o.options.Label)
	}
	if verified := string(claims["email_verified"]); verified != "true" && verified != `"true"` { // some issuers write it as a text
		return person{}, fault.New(fault.Forbidden, "%s has not verified your email address. Have it verified there, and sign in again.", o.options.Label)
	}
	canonical, err := registry.ParseEmail(email)
	if err != nil {
		return person{}, fault.New(fault.Forbidden, "The email address that %s has of you cannot name an account here. Ask whoever runs this API.", o.options.Label)
	}
	var groups []string
	if text := claims[o.options.GroupsClaim]; text != nil && json.Unmarshal(text, &groups) != nil {
		var one string
		if json.Unmarshal(text, &one) == nil {
			groups = []string{one}
		}
	}
	return person{subject: subject, email: canonical, operator: o.options.OperatorGroup != "" && slices.Contains(groups, o.options.OperatorGroup)}, nil
}

// account returns somebody's account as it is to be.
func (o *OIDC) account(ctx context.Context, who person) (registry.Account, error) {
	accounts := o.options.Accounts
	found, err := o.linked(ctx, who)
	if err != nil || o.options.OperatorGroup == "" || found.Operator == who.operator {
		return found, err
	}
	if err := accounts.SetOperator(ctx, found.Email, who.operator, registry.ActorIssuer); err != nil {
		return registry.Account{}, err
	}
	return accounts.Account(ctx, found.Email)
}

// linked returns the account to which somebody is linked; at first that is the one of their email, which is made where there is none.
func (o *OIDC) linked(ctx context.Context, who person) (registry.Account, error) {
	accounts := o.options.Accounts
	found, err := accounts.AccountOf(ctx, who.subject)
	if fault.KindOf(err) != fault.NotFound {
		return found, err
	}
	found, err = accounts.Account(ctx, who.email)
	if fault.KindOf(err) == fault.NotFound {
		var full error
		found, full = accounts.AddAccount(ctx, registry.NewAccount{Email: who.email, Operator: who.operator, Subject: who.subject}, registry.ActorIssuer)
		if fault.KindOf(full) != fault.Conflict {
			return found, full
		}
		if found, err = accounts.Account(ctx, who.email); fault.KindOf(err) == fault.NotFound { // nobody else was quicker
			return registry.Account{}, full
		}
	}
	if err != nil {
		return registry.Account{}, err
	}
	err = accounts.Link(ctx, found.Email, who.subject, registry.ActorIssuer)
	if fault.KindOf(err) == fault.Conflict {
		return registry.Account{}, o.notTheirs(who, found)
	}
	return found, err
}

// notTheirs logs that somebody has the email of an account that is linked to another, and returns what may be shown of that.
func (o *OIDC) notTheirs(who person, a registry.Account) error {
	if o.saidNotTheirs.may() {
		o.options.Logger.Warn("somebody who signs in at the issuer has the email of an account to which another one there is linked; if the account is to be theirs, remove it and add it anew",
			"issuer", o.options.Issuer, "account", a.Email, "sub", fmt.Sprintf("%q", who.subject.Name), "linked", fmt.Sprintf("%q", a.Subject.Name))
	}
	return fault.New(fault.Forbidden, "The account of your email address belongs to somebody else at %s. Ask whoever runs this API.", o.options.Label)
}

// refused logs why an answer that fits what was asked came to nothing, and returns what may be shown of that. One code in a while is too old; but an issuer says
// the same (RFC 6749, section 5.2) where the redirect address or the client is not the one that it knows, and then nobody gets in.
func (o *OIDC) refused(why string) error {
	if o.saidRefused.may() {
		o.options.Logger.Warn("the issuer did not confirm a sign-in; if nobody gets in, see that the client there has this redirect address", "issuer", o.options.Issuer, "redirect", o.options.Redirect, "why", why)
	}
	return fault.New(fault.Unauthorized, "%s did not confirm this sign-in: it may have taken too long. Begin again; if it stays, tell whoever runs this API.", o.options.Label)
}

// unreachable logs why the issuer is of no use, and returns what may be shown of that.
func (o *OIDC) unreachable(cause error) error {
	if o.saidOutage.may() {
		o.options.Logger.Warn("nobody can sign in at the issuer", "issuer", o.options.Issuer, "err", brief(cause))
	}
	return fault.Wrap(fault.Unavailable, cause, o.options.Label+" cannot be asked who you are. Try again in a minute; if it stays, tell whoever runs this API.")
}

// brief is an error's text for the log, of which an issuer may have written any amount.
func brief(err error) string { return fmt.Sprintf("%.200s", err) }
