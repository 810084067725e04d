package portal

import (
	"context"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// sessionLifetime is how long somebody stays signed in, whatever they do.
const sessionLifetime = 12 * time.Hour

// What a session holds.
const (
	sessionEmail = "email" // of the account
	sessionStamp = "stamp" // that the account had
)

// sessions are the managers of sessions whose cookies are for TLS alone, and of those whose are not. All sessions are in one store.
type sessions struct{ secure, open *scs.SessionManager }

// newSessions returns a manager of sessions. scs.New is not asked: it would start a store in memory that cannot be stopped without a race.
func (p *Portal) newSessions(secure bool) *scs.SessionManager {
	m := &scs.SessionManager{
		Lifetime: sessionLifetime,
		Codec:    scs.GobCodec{},
		Store:    sessionStore{p.Accounts},
		Cookie:   scs.SessionCookie{Name: "perdiem", HttpOnly: true, Path: "/", Persist: true, SameSite: http.SameSiteLaxMode, Secure: secure},
	}
	if secure {
		m.Cookie.Name = "__Host-perdiem" // which no other host and no page without TLS can set
	}
	return m
}

// sessions returns the manager of the session that the request is, or may come to be, in.
func (v *visit) sessions() *scs.SessionManager {
	if v.isSecure() {
		return v.portal.sessions.secure
	}
	return v.portal.sessions.open
}

// sessionStore keeps sessions in the registry. It is given the whole secret, and the registry its hash.
type sessionStore struct{ accounts registry.Accounts }

var _ scs.CtxStore = sessionStore{}

func (s sessionStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	session, err := s.accounts.Session(ctx, sha256.Sum256([]byte(token)))
	if fault.KindOf(err) == fault.NotFound {
		return nil, false, nil
	}
	return session.Data, err == nil, err
}

func (s sessionStore) CommitCtx(ctx context.Context, token string, data []byte, expires time.Time) error {
	_, values, err := scs.GobCodec{}.Decode(data)
	if err != nil {
		return err
	}
	email, _ := values[sessionEmail].(string)
	stamp, _ := values[sessionStamp].(int64)
	return s.accounts.KeepSession(ctx, registry.Session{Hash: sha256.Sum256([]byte(token)), Email: email, Stamp: stamp, Data: data, Expires: expires})
}

func (s sessionStore) DeleteCtx(ctx context.Context, token string) error {
	return s.accounts.EndSession(ctx, sha256.Sum256([]byte(token)))
}

// Find, Commit and Delete are those of [scs.Store], which [scs.SessionManager] does not call where there are the above.
func (s sessionStore) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

func (s sessionStore) Commit(token string, data []byte, expires time.Time) error {
	return s.CommitCtx(context.Background(), token, data, expires)
}

func (s sessionStore) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// identify finds out who makes a request, if anybody who is signed in.
func (v *visit) identify() error {
	p, sessions, token := v.portal, v.sessions(), ""
	if cookie, err := v.r.Cookie(sessions.Cookie.Name); err == nil {
		token = cookie.Value
	}
	ctx, err := sessions.Load(v.r.Context(), token)
	if err != nil {
		return err
	}
	v.r = v.r.WithContext(ctx)
	email := sessions.GetString(ctx, sessionEmail)
	if email == "" {
		return nil
	}
	found, err := p.Accounts.Account(ctx, email)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if found.Stamp != sessions.GetInt64(ctx, sessionStamp) {
		return nil
	}
	hash := sha256.Sum256([]byte(token))
	v.session, v.account = &hash, &found
	return nil
}

// signedIn begins a session of an account, under a fresh secret: one that somebody else may have put into the browser is worth nothing.
func (v *visit) signedIn(account registry.Account) error {
	p, sessions, ctx := v.portal, v.sessions(), v.r.Context()
	if err := sessions.RenewToken(ctx); err != nil {
		return err
	}
	sessions.Put(ctx, sessionEmail, account.Email)
	sessions.Put(ctx, sessionStamp, account.Stamp)
	token, expires, err := sessions.Commit(ctx)
	if err != nil {
		return err
	}
	sessions.WriteSessionCookie(ctx, v.w, token, expires)
	if v.isPlain() && (p.URLUntold || !v.isSecure()) {
		means := "the cookies may travel where others read them"
		if p.URLUntold {
			means = "unless a proxy speaks TLS, browsers keep nobody signed in"
		}
		p.warnInsecure.Do(func() {
			p.Log.Warn("somebody signed in from another machine, and not by TLS as far as this node knows: "+means+"; set portal_url to the address that browsers use", "host", v.r.Host)
		})
	}
	return nil
}

// signedOut ends the session that runs, and what is live in it.
func (v *visit) signedOut() error {
	sessions, ctx := v.sessions(), v.r.Context()
	if err := sessions.Destroy(ctx); err != nil {
		return err
	}
	v.portal.hub.endSession(*v.session)
	sessions.WriteSessionCookie(ctx, v.w, "", time.Time{})
	return nil
}

// role returns what an account is of an application; empty: it may not see it.
func (p *Portal) role(ctx context.Context, a *registry.Account, application string) (registry.Role, error) {
	if a.Operator {
		return registry.Admin, nil
	}
	grants, err := p.Accounts.Grants(ctx, a.Email)
	if err != nil {
		return "", err
	}
	for _, g := range grants {
		if g.Application == application {
			return g.Role, nil
		}
	}
	return "", nil
}

// maySee reports whether a session still runs, and its account may still see an application. Where that cannot be found out, it may.
func (p *Portal) maySee(ctx context.Context, session registry.Hash, application string) bool {
	s, err := p.Accounts.Session(ctx, session)
	if err != nil {
		return fault.KindOf(err) != fault.NotFound
	}
	a, err := p.Accounts.Account(ctx, s.Email)
	if err != nil {
		return fault.KindOf(err) != fault.NotFound
	}
	role, err := p.role(ctx, &a, application)
	return err != nil || role != ""
}
