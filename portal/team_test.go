package portal

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/registry"
)

// roles returns acme's team.
func (s *site) roles() map[string]registry.Role {
	s.Helper()
	team, err := s.registry.Team(s.Context(), "acme")
	if err != nil {
		s.Fatal(err)
	}
	roles := map[string]registry.Role{}
	for _, g := range team {
		roles[g.Email] = g.Role
	}
	return roles
}

func TestTeam(t *testing.T) {
	s := openSite(t, sample)
	viewer := s.browser("viewer@acme.example").get("/apps/acme/team")
	if got := viewer.rows(t, "data-email"); !slices.Equal(got, []string{"admin@acme.example", "viewer@acme.example"}) || strings.Contains(viewer.body, "Withdraw") || strings.Contains(viewer.body, "Grant it") {
		t.Errorf("a viewer sees %v\n%s", got, viewer.body)
	}
	b := s.browser("admin@acme.example")
	page, _ := b.follow("/apps/acme/team", url.Values{"email": {"Other@Beta.example"}, "role": {"admin"}})
	if s.roles()["other@beta.example"] != registry.Admin || !strings.Contains(page.body, "Saved") {
		t.Errorf("granted: %v", s.roles())
	}
	if e := s.audited(); e.Actor != "admin@acme.example" || e.Action != registry.ActionGrant || e.After != "admin" {
		t.Errorf("the audit says %+v", e)
	}
	b.follow("/apps/acme/team", url.Values{"email": {"other@beta.example"}, "role": {"viewer"}})
	if s.roles()["other@beta.example"] != registry.Viewer {
		t.Errorf("its role was changed: %v", s.roles())
	}
	for range 2 { // as when a button is pressed twice
		b.follow("/apps/acme/team/withdraw", url.Values{"email": {"other@beta.example"}})
	}
	if e := s.audited(); s.roles()["other@beta.example"] != "" || e.Actor != "admin@acme.example" || e.Action != registry.ActionWithdraw {
		t.Errorf("withdrawn: %v, %+v", s.roles(), e)
	}
	for _, c := range []struct{ email, role, id, says string }{
		{"nobody@acme.example", "viewer", "email", "has to add it first"},
		{"no address", "viewer", "email", "must be an address"},
		{"viewer@acme.example", "owner", "role", "Choose a role"},
		{"viewer@acme.example", "", "role", "Choose a role"},
	} {
		got := b.post("/apps/acme/team", url.Values{"email": {c.email}, "role": {c.role}})
		if beside := all(got.document(t), having("id", c.id+"-problem")); got.status != 422 || len(beside) != 1 || !strings.Contains(got.body, c.says) {
			t.Errorf("%s as %q: %d %s", c.email, c.role, got.status, got.body)
		}
	}
}

// The last admin goes only after a question, and so does whoever would go themselves.
func TestLastAdmin(t *testing.T) {
	s := openSite(t, sample)
	admin := "admin@acme.example"
	for _, email := range []string{admin, "operator@example.com"} {
		b := s.browser(email)
		for path, form := range map[string]url.Values{"/apps/acme/team": {"email": {admin}, "role": {"viewer"}}, "/apps/acme/team/withdraw": {"email": {admin}}} {
			if got := b.post(path, form); got.status != 200 || !strings.Contains(got.body, "the only admin") || s.roles()[admin] != registry.Admin {
				t.Errorf("%s by %s: %d, and then %v", path, email, got.status, s.roles())
			}
		}
	}
	b := s.browser(admin)
	b.follow("/apps/acme/team", url.Values{"email": {"viewer@acme.example"}, "role": {"admin"}})
	if got := b.post("/apps/acme/team/withdraw", url.Values{"email": {admin}}); got.status != 200 || !strings.Contains(got.body, "your own account") {
		t.Errorf("oneself: %d %s", got.status, got.body)
	}
	page, location := b.follow("/apps/acme/team/withdraw", url.Values{"email": {admin}, "sure": {"yes"}})
	if location != "/apps" || page.status != 200 || s.roles()[admin] != "" {
		t.Errorf("sent on to %s, %d; %v", location, page.status, s.roles())
	}
	if got := b.get("/apps/acme/team"); got.status != 404 {
		t.Errorf("after that: %d", got.status)
	}
}
