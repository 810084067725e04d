package registrytest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// password is one in the form of a hash.
const password = "$argon2id$v=19$m=1,t=1,p=1$c2FsdA$c2VjcmV0"

func (f *fixture) account(t *testing.T, email string) registry.Account {
	t.Helper()
	a, err := f.AddAccount(t.Context(), registry.NewAccount{Email: email, Password: password}, "operator")
	if err != nil {
		t.Fatalf("AddAccount: %v", err)
	}
	return a
}

func (f *fixture) grant(t *testing.T, email, application string, role registry.Role) {
	t.Helper()
	if err := f.Grant(t.Context(), registry.Grant{Email: email, Application: application, Role: role}, "operator"); err != nil {
		t.Fatalf("Grant: %v", err)
	}
}

// wantAudit fails unless the newest entries of the audit are these, the newest first, whatever their numbers and times.
func (f *fixture) wantAudit(t *testing.T, want ...registry.AuditEntry) {
	t.Helper()
	entries, err := f.Audit(t.Context(), 0, len(want))
	for i := range entries {
		entries[i].Seq, entries[i].At = 0, time.Time{}
	}
	if diff := cmp.Diff(want, entries); diff != "" || err != nil {
		t.Errorf("the audit: %v (-want +got):\n%s", err, diff)
	}
	all, err := f.Audit(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if strings.Contains(fmt.Sprint(e), "argon2id") {
			t.Errorf("the audit holds the hash of a password: %+v", e)
		}
	}
}

func testAccounts(t *testing.T, f *fixture) {
	ctx := t.Context()
	ann, err := f.AddAccount(ctx, registry.NewAccount{Email: "Ann@Example.COM", Password: password}, "operator")
	want := registry.Account{Email: "ann@example.com", Password: password, Created: f.clock.Now(), Stamp: ann.Stamp}
	if ann != want || err != nil || ann.Stamp == 0 {
		t.Fatalf("added %+v, %v; want %+v", ann, err, want)
	}
	bob, err := f.AddAccount(ctx, registry.NewAccount{Email: "bob@example.com", Operator: true}, "operator")
	if err != nil || !bob.Operator || bob.Password != "" || bob.Stamp == ann.Stamp {
		t.Fatalf("added %+v, %v", bob, err)
	}
	for _, email := range []string{"ann@example.com", "ANN@EXAMPLE.com"} {
		if got, err := f.Account(ctx, email); got != ann || err != nil {
			t.Errorf("Account: %+v, %v; want %+v", got, err, ann)
		}
	}
	all, next, err := f.Accounts(ctx, "", 10)
	if diff := cmp.Diff([]registry.Account{ann, bob}, all); diff != "" || err != nil || next != "" {
		t.Errorf("Accounts: next %q, %v (-want +got):\n%s", next, err, diff)
	}

	for range 2 { // the second time changes nothing
		if err := f.SetOperator(ctx, "ANN@example.com", true, "ann"); err != nil {
			t.Error(err)
		}
	}
	if err := f.SetPassword(ctx, "BOB@example.com", password, "bob"); err != nil {
		t.Error(err)
	}
	if err := f.SetPassword(ctx, "ann@example.com", "", "bob"); err != nil {
		t.Error(err)
	}
	if got, err := f.Account(ctx, "ann@example.com"); !got.Operator || got.Password != "" || got.Stamp == ann.Stamp || got.Created != ann.Created || err != nil {
		t.Errorf("ann's account: %+v, %v", got, err)
	}
	if got, err := f.Account(ctx, "bob@example.com"); !got.Operator || got.Password != password || got.Stamp == bob.Stamp || err != nil {
		t.Errorf("bob's account: %+v, %v", got, err)
	}
	if err := f.SetOperator(ctx, "bob@example.com", false, "bob"); err != nil {
		t.Error(err)
	}
	f.wantAudit(t,
		registry.AuditEntry{Actor: "bob", Action: registry.ActionSetOperator, Subject: "account bob@example.com", Before: "operator", After: "developer"},
		registry.AuditEntry{Actor: "bob", Action: registry.ActionSetPassword, Subject: "account ann@example.com", After: "none"},
		registry.AuditEntry{Actor: "bob", Action: registry.ActionSetPassword, Subject: "account bob@example.com", After: "changed"},
		registry.AuditEntry{Actor: "ann", Action: registry.ActionSetOperator, Subject: "account ann@example.com", Before: "developer", After: "operator"},
		registry.AuditEntry{Actor: "operator", Action: registry.ActionAddAccount, Subject: "account bob@example.com", After: "operator without password"},
		registry.AuditEntry{Actor: "operator", Action: registry.ActionAddAccount, Subject: "account ann@example.com", After: "developer"},
	)
}

func testAccountErrors(t *testing.T, f *fixture) {
	ctx := t.Context()
	before := f.account(t, "ann@example.com")
	for _, test := range []struct {
		name string
		new  registry.NewAccount
		kind fault.Kind
	}{
		{"one that is there", registry.NewAccount{Email: "ann@example.com", Operator: true}, fault.Conflict},
		{"one that is there in another case", registry.NewAccount{Email: "ANN@example.com"}, fault.Conflict},
		{"no email", registry.NewAccount{}, fault.Invalid},
		{"a name", registry.NewAccount{Email: "ann"}, fault.Invalid},
		{"a line too many", registry.NewAccount{Email: "bob@example.com\nx"}, fault.Invalid},
		{"a password that is no hash", registry.NewAccount{Email: "bob@example.com", Password: "correct horse"}, fault.Invalid},
		{"a long hash", registry.NewAccount{Email: "bob@example.com", Password: "$" + strings.Repeat("x", registry.MaxPasswordHash)}, fault.Invalid},
	} {
		_, err := f.AddAccount(ctx, test.new, "")
		wantKind(t, test.name, err, test.kind)
	}
	for email, kind := range map[string]fault.Kind{"nobody@example.com": fault.NotFound, "nobody": fault.Invalid} {
		_, err := f.Account(ctx, email)
		wantKind(t, "Account", err, kind)
		_, err = f.Grants(ctx, email)
		wantKind(t, "Grants", err, kind)
		wantKind(t, "SetPassword", f.SetPassword(ctx, email, password, ""), kind)
		wantKind(t, "SetOperator", f.SetOperator(ctx, email, true, ""), kind)
		wantKind(t, "RemoveAccount", f.RemoveAccount(ctx, email, ""), kind)
		wantKind(t, "Withdraw", f.Withdraw(ctx, email, "acme", ""), kind)
		wantKind(t, "EndSessions", f.EndSessions(ctx, email, ""), kind)
		wantKind(t, "KeepSession", f.KeepSession(ctx, registry.Session{Email: email, Expires: f.clock.Now().Add(time.Hour)}), kind)
	}
	wantKind(t, "SetPassword", f.SetPassword(ctx, "ann@example.com", "correct horse", ""), fault.Invalid)
	all, _, err := f.Accounts(ctx, "", 10)
	if diff := cmp.Diff([]registry.Account{before}, all); diff != "" || err != nil {
		t.Errorf("what is left: %v (-want +got):\n%s", err, diff)
	}
	f.wantAudit(t, registry.AuditEntry{Actor: "operator", Action: registry.ActionAddAccount, Subject: "account ann@example.com", After: "developer"})
}

// testLinks has accounts linked to those who sign in to them at an issuer.
func testLinks(t *testing.T, f *fixture) {
	ctx := t.Context()
	one, other := registry.Subject{Issuer: "https://id.example", Name: "1"}, registry.Subject{Issuer: "https://id.example", Name: "2"}
	f.account(t, "ann@example.com")
	bob, err := f.AddAccount(ctx, registry.NewAccount{Email: "bob@example.com", Subject: other}, "oidc")
	if err != nil || bob.Subject != other {
		t.Fatalf("AddAccount: %+v, %v", bob, err)
	}
	if got, err := f.AccountOf(ctx, other); got != bob || err != nil {
		t.Errorf("AccountOf: %+v, %v; want %+v", got, err, bob)
	}
	for _, s := range []registry.Subject{{}, one, {Issuer: "https://other.example", Name: "2"}, {Issuer: "https://id.example"}} { // ann's is linked to nobody
		_, err := f.AccountOf(ctx, s)
		wantKind(t, "AccountOf", err, fault.NotFound)
	}
	for range 2 {
		if err := f.Link(ctx, "Ann@example.com", one, "oidc"); err != nil {
			t.Fatalf("Link: %v", err)
		}
	}
	if got, err := f.AccountOf(ctx, one); got.Email != "ann@example.com" || got.Subject != one || err != nil {
		t.Errorf("AccountOf: %+v, %v", got, err)
	}
	_, err = f.AddAccount(ctx, registry.NewAccount{Email: "cy@example.com", Subject: one}, "")
	wantKind(t, "AddAccount of somebody who has one", err, fault.Conflict)
	wantKind(t, "Link to somebody else", f.Link(ctx, "ann@example.com", registry.Subject{Issuer: one.Issuer, Name: "3"}, ""), fault.Conflict)
	wantKind(t, "Link to somebody who has one", f.Link(ctx, "ann@example.com", other, ""), fault.Conflict)
	wantKind(t, "Link of nobody's account", f.Link(ctx, "nobody@example.com", registry.Subject{Issuer: "i", Name: "n"}, ""), fault.NotFound)
	for _, s := range []registry.Subject{
		{},
		{Issuer: "i"},
		{Name: "n"},
		{Issuer: "i", Name: strings.Repeat("n", registry.MaxSubject+1)},
		{Issuer: strings.Repeat("i", registry.MaxIssuer+1), Name: "n"},
	} {
		wantKind(t, "Link", f.Link(ctx, "ann@example.com", s, ""), fault.Invalid)
		if s != (registry.Subject{}) {
			_, err := f.AddAccount(ctx, registry.NewAccount{Email: "cy@example.com", Subject: s}, "")
			wantKind(t, "AddAccount", err, fault.Invalid)
		}
	}
	elsewhere := registry.Subject{Issuer: "https://new.example", Name: "1"}
	if err := f.Link(ctx, "ann@example.com", elsewhere, "oidc"); err != nil {
		t.Errorf("Link to another issuer: %v", err)
	}
	_, err = f.AccountOf(ctx, one)
	wantKind(t, "AccountOf whom the account was linked to before", err, fault.NotFound)
	f.wantAudit(t,
		registry.AuditEntry{Actor: "oidc", Action: registry.ActionLinkAccount, Subject: "account ann@example.com", Before: "https://id.example", After: "https://new.example"},
		registry.AuditEntry{Actor: "oidc", Action: registry.ActionLinkAccount, Subject: "account ann@example.com", After: "https://id.example"},
		registry.AuditEntry{Actor: "oidc", Action: registry.ActionAddAccount, Subject: "account bob@example.com", After: "developer without password"},
	)
	if err := f.RemoveAccount(ctx, "bob@example.com", ""); err != nil {
		t.Fatal(err)
	}
	if err := f.Link(ctx, "ann@example.com", other, "oidc"); err != nil {
		t.Errorf("Link to somebody whose account was removed: %v", err)
	}
}

func testAccountPages(t *testing.T, f *fixture) {
	ctx := t.Context()
	want := []string{"a-b@example.com", "a.b@example.com", "ab@example.com", "b@example.com", "ba@example.com"}
	for _, i := range []int{3, 0, 4, 2, 1} {
		f.account(t, want[i])
	}
	for limit := 1; limit <= 6; limit++ {
		var got []string
		for next := ""; ; {
			page, following, err := f.Accounts(ctx, next, limit)
			if err != nil || len(page) > limit || following != "" && len(page) < limit {
				t.Fatalf("limit %d: %d accounts after %q, next %q, %v", limit, len(page), next, following, err)
			}
			for _, a := range page {
				got = append(got, a.Email)
			}
			if next = following; next == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limit %d (-want +got):\n%s", limit, diff)
		}
	}
	if page, _, err := f.Accounts(ctx, "AC@example.com", 1); err != nil || len(page) != 1 || page[0].Email != "b@example.com" {
		t.Errorf("after one that is not there: %v, %v", page, err)
	}
	_, _, err := f.Accounts(ctx, "a", 1)
	wantKind(t, "after what is no email", err, fault.Invalid)
	for _, limit := range []int{-1, 0, registry.MaxAccountPage + 1} {
		_, _, err := f.Accounts(ctx, "", limit)
		wantKind(t, "a page without a size", err, fault.Invalid)
	}
}

func testGrants(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	f.add(t, "aaa") // one of run time is granted as well
	f.account(t, "bob@example.com")
	f.account(t, "ann@example.com")
	f.grant(t, "ann@example.com", "beta", registry.Viewer)
	f.grant(t, "ANN@example.com", "acme", registry.Viewer)
	f.grant(t, "bob@example.com", "acme", registry.Admin)
	f.grant(t, "bob@example.com", "aaa", registry.Admin)
	for range 2 { // the second time changes nothing
		f.grant(t, "ann@example.com", "acme", registry.Admin)
	}
	f.wantAudit(t,
		registry.AuditEntry{Actor: "operator", Action: registry.ActionGrant, Subject: "grant ann@example.com acme", Before: "viewer", After: "admin"},
		registry.AuditEntry{Actor: "operator", Action: registry.ActionGrant, Subject: "grant bob@example.com aaa", After: "admin"},
	)
	annAcme := registry.Grant{Email: "ann@example.com", Application: "acme", Role: registry.Admin}
	annBeta := registry.Grant{Email: "ann@example.com", Application: "beta", Role: registry.Viewer}
	bobAaa := registry.Grant{Email: "bob@example.com", Application: "aaa", Role: registry.Admin}
	bobAcme := registry.Grant{Email: "bob@example.com", Application: "acme", Role: registry.Admin}
	f.wantGrants(t, "Ann@example.com", annAcme, annBeta)
	f.wantGrants(t, "bob@example.com", bobAaa, bobAcme)
	f.wantTeam(t, "acme", annAcme, bobAcme)
	f.wantTeam(t, "aaa", bobAaa)

	if err := f.Withdraw(ctx, "BOB@example.com", "acme", "ann"); err != nil {
		t.Error(err)
	}
	f.wantAudit(t, registry.AuditEntry{Actor: "ann", Action: registry.ActionWithdraw, Subject: "grant bob@example.com acme", Before: "admin", After: "withdrawn"})
	f.wantGrants(t, "bob@example.com", bobAaa)
	f.wantTeam(t, "acme", annAcme)
	wantKind(t, "Withdraw again", f.Withdraw(ctx, "bob@example.com", "acme", ""), fault.NotFound)
}

func (f *fixture) wantGrants(t *testing.T, email string, want ...registry.Grant) {
	t.Helper()
	got, err := f.Grants(t.Context(), email)
	if !slices.Equal(want, got) || err != nil {
		t.Errorf("Grants of %s: %v, %v; want %v", email, got, err, want)
	}
}

func (f *fixture) wantTeam(t *testing.T, application string, want ...registry.Grant) {
	t.Helper()
	got, err := f.Team(t.Context(), application)
	if !slices.Equal(want, got) || err != nil {
		t.Errorf("Team of %s: %v, %v; want %v", application, got, err, want)
	}
}

func testGrantErrors(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	f.account(t, "ann@example.com")
	for _, test := range []struct {
		name  string
		grant registry.Grant
		kind  fault.Kind
	}{
		{"no such application", registry.Grant{Email: "ann@example.com", Application: "nobody", Role: registry.Viewer}, fault.NotFound},
		{"no such account", registry.Grant{Email: "bob@example.com", Application: "acme", Role: registry.Viewer}, fault.NotFound},
		{"no email", registry.Grant{Application: "acme", Role: registry.Viewer}, fault.Invalid},
		{"no application", registry.Grant{Email: "ann@example.com", Role: registry.Viewer}, fault.Invalid},
		{"no role", registry.Grant{Email: "ann@example.com", Application: "acme"}, fault.Invalid},
		{"another role", registry.Grant{Email: "ann@example.com", Application: "acme", Role: "Admin"}, fault.Invalid},
	} {
		wantKind(t, test.name, f.Grant(ctx, test.grant, ""), test.kind)
	}
	f.wantGrants(t, "ann@example.com")
	f.wantTeam(t, "acme")
	_, err := f.Team(ctx, "nobody")
	wantKind(t, "Team of nobody", err, fault.NotFound)
}

func testRemovalWithdraws(t *testing.T, f *fixture) {
	f.apply(t, Catalog())
	f.add(t, "aaa")
	f.account(t, "ann@example.com")
	for _, application := range []string{"aaa", "acme", "beta"} {
		f.grant(t, "ann@example.com", application, registry.Viewer)
	}
	without := Catalog()
	without.Applications = without.Applications[1:] // without acme
	f.apply(t, without)
	left := []registry.Grant{
		{Email: "ann@example.com", Application: "aaa", Role: registry.Viewer},
		{Email: "ann@example.com", Application: "beta", Role: registry.Viewer},
	}
	f.wantGrants(t, "ann@example.com", left...)
	f.wantAudit(t, registry.AuditEntry{Actor: "operator", Action: registry.ActionWithdraw, Subject: "grants of application acme", After: "1 withdrawn"})
	// The application's return does not bring its team back.
	f.apply(t, Catalog())
	f.wantGrants(t, "ann@example.com", left...)
	f.wantTeam(t, "acme")
}

func testRemoveAccount(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.apply(t, Catalog())
	ann, bob := f.account(t, "ann@example.com"), f.account(t, "bob@example.com")
	for _, a := range []registry.Account{ann, bob} {
		f.grant(t, a.Email, "acme", registry.Admin)
	}
	mine, other := f.session(t, ann), f.session(t, bob)
	if err := f.RemoveAccount(ctx, "ANN@example.com", "bob"); err != nil {
		t.Fatal(err)
	}
	f.wantAudit(t, registry.AuditEntry{Actor: "bob", Action: registry.ActionRemoveAccount, Subject: "account ann@example.com", Before: "developer", After: "removed"})
	f.wantTeam(t, "acme", registry.Grant{Email: "bob@example.com", Application: "acme", Role: registry.Admin})
	f.wantNoSession(t, "a removed account's", mine)
	f.wantSession(t, other)

	// Whoever gets the email next has nothing of it, and what began before does not begin again.
	f.account(t, "ann@example.com")
	f.wantGrants(t, "ann@example.com")
	f.wantNoSession(t, "a removed account's", mine)
	wantKind(t, "a removed account's session", f.KeepSession(ctx, mine), fault.Conflict)
}

// session keeps a session of an account that holds for an hour.
func (f *fixture) session(t *testing.T, a registry.Account) registry.Session {
	t.Helper()
	s := registry.Session{Hash: f.hash(), Email: a.Email, Stamp: a.Stamp, Data: []byte("data"), Expires: f.clock.Now().Add(time.Hour)}
	if err := f.KeepSession(t.Context(), s); err != nil {
		t.Fatalf("KeepSession: %v", err)
	}
	return s
}

func (f *fixture) wantSession(t *testing.T, want registry.Session) {
	t.Helper()
	got, err := f.Session(t.Context(), want.Hash)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Session: %v (-want +got):\n%s", err, diff)
	}
}

func (f *fixture) wantNoSession(t *testing.T, what string, s registry.Session) {
	t.Helper()
	_, err := f.Session(t.Context(), s.Hash)
	wantKind(t, what+" session", err, fault.NotFound)
}

func testSessions(t *testing.T, f *fixture) {
	ctx := t.Context()
	ann := f.account(t, "ann@example.com")
	s := f.session(t, ann)
	f.wantSession(t, s)
	f.wantNoSession(t, "another", registry.Session{Hash: f.hash()})

	// It goes on with other data, and for longer.
	f.clock.Advance(30 * time.Minute)
	s.Data, s.Expires = []byte{0, 0xff, '\n'}, f.clock.Now().Add(time.Hour)
	upper := s
	upper.Email = "ANN@example.com"
	if err := f.KeepSession(ctx, upper); err != nil {
		t.Error(err)
	}
	f.clock.Advance(59 * time.Minute)
	f.wantSession(t, s)
	f.clock.Advance(time.Minute)
	f.wantNoSession(t, "an expired", s)

	for _, data := range [][]byte{nil, bytes.Repeat([]byte{'x'}, registry.MaxSessionData)} {
		s := registry.Session{Hash: f.hash(), Email: ann.Email, Stamp: ann.Stamp, Data: data, Expires: f.clock.Now().Add(time.Hour)}
		if err := f.KeepSession(ctx, s); err != nil {
			t.Error(err)
		}
		if got, err := f.Session(ctx, s.Hash); err != nil || !bytes.Equal(got.Data, data) {
			t.Errorf("data of %d bytes came back as %d, %v", len(data), len(got.Data), err)
		}
	}
	f.wantAudit(t, registry.AuditEntry{Actor: "operator", Action: registry.ActionAddAccount, Subject: "account ann@example.com", After: "developer"})
}

func testSessionErrors(t *testing.T, f *fixture) {
	ann, bob := f.account(t, "ann@example.com"), f.account(t, "bob@example.com")
	known := f.session(t, ann)
	good := registry.Session{Hash: f.hash(), Email: ann.Email, Stamp: ann.Stamp, Expires: f.clock.Now().Add(time.Hour)}
	for _, test := range []struct {
		name   string
		change func(*registry.Session)
		kind   fault.Kind
	}{
		{"much data", func(s *registry.Session) { s.Data = make([]byte, registry.MaxSessionData+1) }, fault.Invalid},
		{"no expiry", func(s *registry.Session) { s.Expires = time.Time{} }, fault.Invalid},
		{"an expiry now", func(s *registry.Session) { s.Expires = f.clock.Now() }, fault.Invalid},
		{"no account", func(s *registry.Session) { s.Email = "" }, fault.Invalid},
		{"no such account", func(s *registry.Session) { s.Email = "cy@example.com" }, fault.NotFound},
		{"another stamp", func(s *registry.Session) { s.Stamp = bob.Stamp }, fault.Conflict},
		{"another account's session", func(s *registry.Session) { s.Hash, s.Email, s.Stamp = known.Hash, bob.Email, bob.Stamp }, fault.Conflict},
	} {
		s := good
		test.change(&s)
		wantKind(t, test.name, f.KeepSession(t.Context(), s), test.kind)
	}
	f.wantNoSession(t, "a refused", good)
	f.wantSession(t, known)
}

func testSessionsEnd(t *testing.T, f *fixture) {
	ctx := t.Context()
	ann, bob := f.account(t, "ann@example.com"), f.account(t, "bob@example.com")
	other := f.session(t, bob)

	first, second := f.session(t, ann), f.session(t, ann)
	for range 2 { // the second time does nothing
		if err := f.EndSession(ctx, first.Hash); err != nil {
			t.Error(err)
		}
	}
	f.wantNoSession(t, "an ended", first)
	wantKind(t, "a request that was under way", f.KeepSession(ctx, first), fault.Conflict)
	f.wantNoSession(t, "an ended", first)
	f.wantSession(t, second)
	if err := f.EndSession(ctx, f.hash()); err != nil {
		t.Errorf("one that never was: %v", err)
	}

	for name, end := range map[string]func() error{
		"EndSessions": func() error { return f.EndSessions(ctx, "ANN@example.com", "bob") },
		"SetPassword": func() error { return f.SetPassword(ctx, "ann@example.com", password, "") },
	} {
		before, err := f.Account(ctx, "ann@example.com")
		if err != nil {
			t.Fatal(err)
		}
		s := f.session(t, before)
		if err := end(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.wantNoSession(t, name+": its", s)
		f.wantNoSession(t, name+": an earlier", second)
		wantKind(t, name+": a request that was under way", f.KeepSession(ctx, s), fault.Conflict)
		s.Hash = f.hash()
		wantKind(t, name+": a sign-in that was under way", f.KeepSession(ctx, s), fault.Conflict)
		now, err := f.Account(ctx, "ann@example.com")
		if err != nil || now.Stamp == before.Stamp {
			t.Errorf("%s: stamp %d after %d, %v", name, now.Stamp, before.Stamp, err)
		}
		f.wantSession(t, f.session(t, now))
	}
	f.wantSession(t, other)
	ended := 0
	entries, err := f.Audit(ctx, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Action == registry.ActionEndSessions {
			ended++
			e.Seq, e.At = 0, time.Time{}
			if diff := cmp.Diff(registry.AuditEntry{Actor: "bob", Action: registry.ActionEndSessions, Subject: "account ann@example.com", After: "signed out"}, e); diff != "" {
				t.Errorf("the audit (-want +got):\n%s", diff)
			}
		}
	}
	if ended != 1 {
		t.Errorf("the audit tells %d times that all sessions were ended", ended)
	}
}

func testForgetSessions(t *testing.T, f *fixture) {
	ann, bob := f.account(t, "ann@example.com"), f.account(t, "bob@example.com")
	other := f.session(t, bob)
	var sessions []registry.Session
	for range registry.MaxSessions + 3 {
		sessions = append(sessions, f.session(t, ann))
	}
	for i, s := range sessions {
		if i < 3 {
			f.wantNoSession(t, "one of too many, an old", s)
		} else {
			f.wantSession(t, s)
		}
	}
	f.wantSession(t, other)

	// That an ended one was forgotten shows in that it may be kept again.
	f.clock.Advance(2 * time.Hour)
	ended := f.session(t, bob)
	if err := f.EndSession(t.Context(), ended.Hash); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "an ended session", f.KeepSession(t.Context(), ended), fault.Conflict)
	f.clock.Advance(2 * time.Hour)
	for range registry.MaxSessions {
		f.session(t, ann)
	}
	ended.Expires = f.clock.Now().Add(time.Hour)
	if err := f.KeepSession(t.Context(), ended); err != nil {
		t.Errorf("an ended session is remembered after it expired: %v", err)
	}
}

// testSessionRace has sessions begin and go on while they are ended: none is left of a stamp that is not its account's.
func testSessionRace(t *testing.T, f *fixture) {
	ctx := t.Context()
	f.account(t, "ann@example.com")
	var mu sync.Mutex
	stamps := map[registry.Hash]int64{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				a, err := f.Account(ctx, "ann@example.com")
				if err != nil {
					t.Error(err)
					return
				}
				hash := f.hash()
				for range 2 {
					err = f.KeepSession(ctx, registry.Session{Hash: hash, Email: a.Email, Stamp: a.Stamp, Expires: f.clock.Now().Add(time.Hour)})
					if err != nil && fault.KindOf(err) != fault.Conflict {
						t.Error(err)
					}
				}
				mu.Lock()
				stamps[hash] = a.Stamp
				mu.Unlock()
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			if err := f.SetPassword(ctx, "ann@example.com", password, ""); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	now, err := f.Account(ctx, "ann@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for hash, stamp := range stamps {
		_, err := f.Session(ctx, hash)
		if holds := err == nil; holds != (stamp == now.Stamp) {
			t.Errorf("a session of stamp %d, while the account's is %d: %v", stamp, now.Stamp, err)
		}
	}
}
