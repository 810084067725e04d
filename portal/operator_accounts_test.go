package portal

import (
	"net/url"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/registry"
)

func TestAccountsAreChanged(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	send := func(do, email string, more ...string) reply {
		form := url.Values{"do": {do}, "email": {email}}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return b.post("/operator/accounts", form)
	}
	done := func(got reply) {
		t.Helper()
		if got.status != 303 || got.header.Get("Location") != "/operator/accounts?saved" {
			t.Fatalf("%d %s", got.status, got.one(t, "content"))
		}
		if e := s.audited(); e.Actor != operatorEmail {
			t.Errorf("the audit has %+v", e)
		}
	}
	account := func() registry.Account {
		t.Helper()
		a, err := s.registry.Account(t.Context(), "new@example.com")
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	done(send("add", "New@Example.com", "password", "long enough for us"))
	if a := account(); a.Operator || a.Password != "$hash$of-18" {
		t.Errorf("%+v", a)
	}
	done(send("promote", "new@example.com"))
	if !account().Operator {
		t.Error("no operator")
	}
	done(send("demote", "new@example.com"))
	if account().Operator {
		t.Error("still an operator")
	}
	stamp := account().Stamp
	done(send("password", "new@example.com", "password", "another one that is long"))
	if a := account(); a.Password != "$hash$of-24" || a.Stamp == stamp {
		t.Errorf("%+v", a)
	}
	if got := send("remove", "new@example.com"); got.status != 200 || !strings.Contains(got.one(t, "content"), "Remove new@example.com?") || account().Email == "" {
		t.Errorf("it is not asked: %d %s", got.status, got.one(t, "content"))
	}
	if got := b.get("/operator/accounts").one(t, "accounts"); !strings.Contains(got, "new@example.com No Set") {
		t.Errorf("accounts: %s", got)
	}
	done(send("remove", "new@example.com", "sure", "yes"))
	if got := send("remove", "new@example.com", "sure", "yes"); got.status != 422 || got.one(t, "problem") == "" {
		t.Errorf("removed twice: %d %s", got.status, got.one(t, "content"))
	}
	for _, do := range []string{"remove", "demote"} { // nobody takes their own right away
		if got := send(do, operatorEmail, "sure", "yes"); got.status != 422 || !strings.Contains(got.one(t, "problem"), "your own account") {
			t.Errorf("%s: %d %s", do, got.status, got.one(t, "content"))
		}
	}
	if strings.Contains(s.logged.String(), "long enough") {
		t.Error("a password is in the log")
	}
}
