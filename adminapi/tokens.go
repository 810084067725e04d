package adminapi

import (
	"context"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// TokenRequest asks for a new token.
type TokenRequest struct {
	Application string `json:"application" minLength:"1" maxLength:"256" doc:"The application's id."`
	Member      string `json:"member,omitempty" maxLength:"256" doc:"The member for whom the application acts; left out: the application itself."`
	TTL         string `json:"ttl,omitempty" maxLength:"32" example:"24h" doc:"How long the token holds, as 24h or 90m; left out: until it is revoked."`
}

// Token is what is known of a token.
type Token struct {
	ID          string     `json:"id" doc:"Names the token; no secret."`
	Application string     `json:"application"`
	Member      string     `json:"member,omitempty" doc:"Empty: the application's own token."`
	Created     time.Time  `json:"created"`
	Expires     *time.Time `json:"expires,omitempty" doc:"Left out: never."`
	Revoked     *time.Time `json:"revoked,omitempty" doc:"Left out: it was not."`
	Used        *time.Time `json:"used,omitempty" doc:"When it was last used, to ten minutes; kept of an application's own tokens alone. Left out: not as far as is known."`
}

// IssuedToken is a token with its secret.
type IssuedToken struct {
	Token
	Secret  string `json:"secret" doc:"What requests carry as a bearer token. It is told this once; only its hash is kept."`
	Warning string `json:"warning,omitempty" doc:"Why no call can be made with it as the node is configured; left out: calls can."`
}

// TokenPage is some of an application's tokens.
type TokenPage struct {
	Tokens []Token `json:"tokens" nullable:"false" doc:"In the order in which they were issued; those that hold, the newest first."`
	Next   int64   `json:"next,omitempty" doc:"Ask again with this as after: more tokens follow. Left out: these were the last."`
}

type (
	issueInput  struct{ Body TokenRequest }
	issueOutput struct{ Body IssuedToken }
	revokeInput struct {
		ID string `query:"id" required:"true" minLength:"1" maxLength:"64" doc:"The token's id."`
	}
	tokensInput struct {
		Application string `query:"application" maxLength:"256" doc:"The application's id. Either this or hash is required."`
		Hash        string `query:"hash" pattern:"^[0-9a-f]{64}$" doc:"The SHA-256 of a secret in hexadecimal digits: tells the one token that was issued with it, expired or not, unless it was revoked."`
		Holding     bool   `query:"holding" doc:"Only tokens that hold, neither expired nor revoked, and the newest first."`
		Own         bool   `query:"own" doc:"Of those that hold, only the application's own, no member's: goes with holding."`
		After       int64  `query:"after" minimum:"0" doc:"Where to go on: what an earlier answer told as next; left out: at the first."`
		Limit       int    `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"How many tokens are told at most."`
	}
	tokensOutput struct{ Body TokenPage }
)

func (a *API) registerTokens(api huma.API) {
	issue := a.operation("issue-token", http.MethodPost, "tokens", "Issue a token", http.StatusNotFound, http.StatusRequestEntityTooLarge)
	issue.DefaultStatus = http.StatusCreated
	huma.Register(api, issue, func(ctx context.Context, in *issueInput) (*issueOutput, error) {
		issued, err := a.issue(ctx, in.Body)
		if err != nil {
			return nil, a.fail(ctx, issue.OperationID, err)
		}
		return &issueOutput{Body: issued}, nil
	})
	revoke := a.operation("revoke-token", http.MethodDelete, "tokens", "End a token for good", http.StatusNotFound)
	huma.Register(api, revoke, func(ctx context.Context, in *revokeInput) (*struct{}, error) {
		err := a.Registry.RevokeToken(ctx, in.ID, actor(ctx))
		if err == nil {
			err = takenUp(a.Revoked(ctx))
		}
		if err != nil {
			return nil, a.fail(ctx, revoke.OperationID, err)
		}
		return nil, nil
	})
	list := a.operation("list-tokens", http.MethodGet, "tokens", "List an application's tokens, all or those that hold, a page at a time", http.StatusNotFound)
	huma.Register(api, list, func(ctx context.Context, in *tokensInput) (*tokensOutput, error) {
		tokens, next, err := a.tokens(ctx, in)
		if err != nil {
			return nil, a.fail(ctx, list.OperationID, err)
		}
		out := &tokensOutput{Body: TokenPage{Tokens: make([]Token, len(tokens)), Next: next}}
		for i, t := range tokens {
			out.Body.Tokens[i] = newToken(t)
		}
		return out, nil
	})
}

// tokens returns a page of an application's tokens, or the one of a hash.
func (a *API) tokens(ctx context.Context, in *tokensInput) (tokens []registry.Token, next int64, err error) {
	switch {
	case (in.Application == "") == (in.Hash == ""):
		return nil, 0, fault.New(fault.Invalid, "Give application, or hash, and not both.")
	case in.Holding && in.Hash != "" || in.Own && !in.Holding:
		return nil, 0, fault.New(fault.Invalid, "holding goes with application, and own with holding.")
	case in.Holding:
		return a.Registry.HoldingTokens(ctx, registry.HoldingTokens{Application: in.Application, Own: in.Own, Before: in.After, Limit: in.Limit})
	case in.Hash == "":
		return a.Registry.Tokens(ctx, in.Application, in.After, in.Limit)
	}
	var hash registry.Hash
	if n, err := hex.Decode(hash[:], []byte(in.Hash)); err != nil || n != len(hash) {
		return nil, 0, fault.New(fault.Invalid, "hash must be %d hexadecimal digits.", hex.EncodedLen(len(hash)))
	}
	t, err := a.Registry.TokenByHash(ctx, hash)
	if fault.KindOf(err) == fault.NotFound {
		return nil, 0, fault.New(fault.NotFound, "No token that was not revoked has this secret: it was revoked, or another node issued it.")
	}
	return []registry.Token{t}, 0, err
}

func (a *API) issue(ctx context.Context, r TokenRequest) (IssuedToken, error) {
	var expires time.Time
	if r.TTL != "" {
		ttl, err := time.ParseDuration(r.TTL)
		if err != nil || ttl <= 0 {
			return IssuedToken{}, fault.New(fault.Invalid, "ttl must be a duration of more than 0, such as 24h.")
		}
		expires = a.Now().Add(ttl)
	}
	secret, hash := a.NewToken()
	t, err := a.Registry.IssueToken(ctx, registry.NewToken{
		Hash: hash, Application: r.Application, Member: r.Member, Expires: expires, Actor: actor(ctx),
	})
	if err != nil {
		return IssuedToken{}, err
	}
	issued := IssuedToken{Token: newToken(t), Secret: secret}
	if !a.TakesTokens {
		issued.Warning = "no call can be made with it: identity in perdiem.yaml does not name tokens; add tokens: {} there, and start perdiem again"
	}
	return issued, nil
}

func newToken(t registry.Token) Token {
	return Token{
		ID: t.ID, Application: t.Application, Member: t.Member,
		Created: t.Created, Expires: unlessZero(t.Expires), Revoked: unlessZero(t.Revoked), Used: unlessZero(t.Used),
	}
}

func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
