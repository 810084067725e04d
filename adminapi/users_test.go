package adminapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/adminapi"
)

const somePassword = "correct horse battery"

func (h *host) addUser(email string, operator bool) adminapi.User {
	h.t.Helper()
	var u adminapi.User
	h.want(201, h.ask("POST", "/admin/v1/users", fmt.Sprintf(`{"email": %q, "operator": %t, "password": %q}`, email, operator, somePassword)), &u)
	return u
}

func TestUsers(t *testing.T) {
	h := newHost(t)
	ann := h.addUser("Ann@Example.com", false)
	bob := h.addUser("bob@example.com", true)
	if ann.Email != "ann@example.com" || ann.Operator || !ann.Password || ann.Created.IsZero() || !bob.Operator {
		t.Errorf("added %+v and %+v", ann, bob)
	}
	var cy adminapi.User
	h.want(201, h.ask("POST", "/admin/v1/users", `{"email": "cy@example.com"}`), &cy)
	if cy.Password || cy.Operator {
		t.Errorf("added without a password: %+v", cy)
	}
	h.wantUsers(ann, bob, cy)
	h.wantProblem(409, "CONFLICT", h.ask("POST", "/admin/v1/users", `{"email": "ANN@example.com"}`))

	before, err := h.registry.Account(t.Context(), "ann@example.com")
	check(t, err)
	if before.Password != "$ hash of "+somePassword {
		t.Errorf("what is kept as a password: %q", before.Password)
	}
	h.want(204, h.ask("PUT", "/admin/v1/users/password", `{"email": "Ann@example.com", "password": "another horse battery"}`), nil)
	h.want(204, h.ask("PUT", "/admin/v1/users/operator", `{"email": "ann@example.com", "operator": true}`), nil)
	h.want(204, h.ask("PUT", "/admin/v1/users/operator", `{"email": "bob@example.com", "operator": false}`), nil)
	after, err := h.registry.Account(t.Context(), "ann@example.com")
	check(t, err)
	if after.Password != "$ hash of another horse battery" || after.Stamp == before.Stamp {
		t.Errorf("after another password was set: %+v", after)
	}
	ann.Operator, bob.Operator = true, false
	h.wantUsers(ann, bob, cy)

	h.want(204, h.ask("DELETE", "/admin/v1/users?email=ANN@example.com", ""), nil)
	h.wantProblem(404, "NOT_FOUND", h.ask("DELETE", "/admin/v1/users?email=ann@example.com", ""))
	h.wantUsers(bob, cy)
	entries, err := h.registry.Audit(t.Context(), 0, 100)
	check(t, err)
	for _, e := range entries {
		if e.Actor != h.actor() && strings.HasPrefix(e.Action, "account.") || strings.Contains(fmt.Sprint(e), "horse") {
			t.Errorf("in the audit: %+v", e)
		}
	}
}

// wantUsers asks for all accounts in pages of several sizes.
func (h *host) wantUsers(want ...adminapi.User) {
	h.t.Helper()
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []adminapi.User
		for next := ""; ; {
			var page adminapi.UserPage
			h.want(200, h.ask("GET", fmt.Sprintf("/admin/v1/users?limit=%d&after=%s", limit, next), ""), &page)
			got = append(got, page.Users...)
			if next = page.Next; next == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			h.t.Errorf("accounts in pages of %d (-want +got):\n%s", limit, diff)
		}
	}
}

func TestGrants(t *testing.T) {
	h := newHost(t)
	h.apply()
	h.addUser("ann@example.com", false)
	h.addUser("bob@example.com", false)
	for _, g := range []string{
		`{"email": "ann@example.com", "application": "a/b", "role": "viewer"}`,
		`{"email": "ANN@example.com", "application": "..", "role": "viewer"}`,
		`{"email": "ann@example.com", "application": "..", "role": "admin"}`,
		`{"email": "ann@example.com", "application": "..", "role": "admin"}`, // again: nothing
		`{"email": "bob@example.com", "application": "..", "role": "viewer"}`,
	} {
		h.want(204, h.ask("PUT", "/admin/v1/grants", g), nil)
	}
	annAB := adminapi.Grant{Email: "ann@example.com", Application: "a/b", Role: "viewer"}
	annDots := adminapi.Grant{Email: "ann@example.com", Application: "..", Role: "admin"}
	bobDots := adminapi.Grant{Email: "bob@example.com", Application: "..", Role: "viewer"}
	h.wantGrants("application=..", annDots, bobDots)
	h.wantGrants("application=a%2fb", annAB)
	h.wantGrants("application=acme")
	h.wantGrants("email=Ann@example.com", annDots, annAB)
	h.want(204, h.ask("DELETE", "/admin/v1/grants?email=Ann@example.com&application=..", ""), nil)
	h.wantProblem(404, "NOT_FOUND", h.ask("DELETE", "/admin/v1/grants?email=ann@example.com&application=..", ""))
	h.wantGrants("application=..", bobDots)
}

func (h *host) wantGrants(query string, want ...adminapi.Grant) {
	h.t.Helper()
	var got adminapi.GrantList
	h.want(200, h.ask("GET", "/admin/v1/grants?"+query, ""), &got)
	if got.Grants == nil || len(got.Grants) != len(want) || len(want) > 0 && cmp.Diff(want, got.Grants) != "" {
		h.t.Errorf("grants of %s: %+v, want %+v", query, got.Grants, want)
	}
}

func TestBadUsers(t *testing.T) {
	h := newHost(t)
	h.apply()
	h.addUser("ann@example.com", false)
	for _, c := range []struct {
		name, method, target, body string
		status                     int
	}{
		{"no email", "POST", "/admin/v1/users", `{"password": "correct horse battery"}`, 400},
		{"an email that is none", "POST", "/admin/v1/users", `{"email": "Ann <ann@example.com>"}`, 400},
		{"an email of two lines", "POST", "/admin/v1/users", `{"email": "ann@example.com\nBcc: x@example.com"}`, 400},
		{"an email of 255 bytes", "POST", "/admin/v1/users", `{"email": "` + strings.Repeat("a", 243) + `@example.com"}`, 400},
		{"a password of 11 characters", "POST", "/admin/v1/users", `{"email": "bob@example.com", "password": "elevenchars"}`, 400},
		{"a password of 1,025 bytes", "POST", "/admin/v1/users", `{"email": "bob@example.com", "password": "` + strings.Repeat("x", 1025) + `"}`, 400},
		{"an unknown field", "POST", "/admin/v1/users", `{"email": "bob@example.com", "operater": true}`, 400},
		{"no new password", "PUT", "/admin/v1/users/password", `{"email": "ann@example.com"}`, 400},
		{"a short new password", "PUT", "/admin/v1/users/password", `{"email": "ann@example.com", "password": "elevenchars"}`, 400},
		{"nobody's password", "PUT", "/admin/v1/users/password", `{"email": "bob@example.com", "password": "correct horse battery"}`, 404},
		{"no operator", "PUT", "/admin/v1/users/operator", `{"email": "ann@example.com"}`, 400},
		{"nobody as operator", "PUT", "/admin/v1/users/operator", `{"email": "bob@example.com", "operator": true}`, 404},
		{"removing no email", "DELETE", "/admin/v1/users", "", 400},
		{"removing what is no email", "DELETE", "/admin/v1/users?email=ann", "", 400},
		{"a page of none", "GET", "/admin/v1/users?limit=0", "", 400},
		{"a page of 1,001", "GET", "/admin/v1/users?limit=1001", "", 400},
		{"a page after no email", "GET", "/admin/v1/users?after=x", "", 400},
		{"no role", "PUT", "/admin/v1/grants", `{"email": "ann@example.com", "application": "acme"}`, 400},
		{"another role", "PUT", "/admin/v1/grants", `{"email": "ann@example.com", "application": "acme", "role": "owner"}`, 400},
		{"a grant for nobody", "PUT", "/admin/v1/grants", `{"email": "bob@example.com", "application": "acme", "role": "admin"}`, 404},
		{"a grant of nothing", "PUT", "/admin/v1/grants", `{"email": "ann@example.com", "application": "nothing", "role": "admin"}`, 404},
		{"an application with a newline", "PUT", "/admin/v1/grants", `{"email": "ann@example.com", "application": "a\nb", "role": "admin"}`, 400},
		{"grants of neither", "GET", "/admin/v1/grants", "", 400},
		{"grants of both", "GET", "/admin/v1/grants?email=ann@example.com&application=acme", "", 400},
		{"grants of nobody", "GET", "/admin/v1/grants?email=bob@example.com", "", 404},
		{"the team of nothing", "GET", "/admin/v1/grants?application=nothing", "", 404},
		{"withdrawing half", "DELETE", "/admin/v1/grants?email=ann@example.com", "", 400},
		{"withdrawing what was not granted", "DELETE", "/admin/v1/grants?email=ann@example.com&application=acme", "", 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := *h
			h.t = t
			detail := h.wantProblem(c.status, map[int]string{400: "BAD_REQUEST", 404: "NOT_FOUND"}[c.status], h.ask(c.method, c.target, c.body))
			if strings.Contains(detail, "elevenchars") || strings.Contains(detail, "correct horse") {
				t.Errorf("the answer repeats the password: %s", detail)
			}
		})
	}
	h.wantGrants("application=acme")
}
