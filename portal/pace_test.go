package portal

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/registry"
)

func TestPaces(t *testing.T) {
	p := newPaces(3, 10*time.Second)
	now := at
	take := func(name string, want time.Duration) {
		t.Helper()
		if got := p.take(name, now); got != want {
			t.Errorf("after %v: %s waits %v, want %v", now.Sub(at), name, got, want)
		}
	}
	for range 3 {
		take("a", 0)
	}
	take("a", 10*time.Second)
	take("b", 0)
	now = at.Add(4 * time.Second)
	take("a", 6*time.Second)
	now = at.Add(10 * time.Second)
	take("a", 0)
	take("a", 10*time.Second)
	now = at.Add(time.Hour) // all who rested are forgotten
	take("c", 0)
	if len(p.rested) != 1 {
		t.Errorf("%d are kept", len(p.rested))
	}
	now = at // the clock was set back
	take("c", 0)
}

// Forms that change something of an application are taken at a pace, by the account, whichever they are. Pages are not, nor is anybody
// else kept waiting, and no operator.
func TestFormsHaveAPace(t *testing.T) {
	s := openSite(t, sample)
	now := at
	s.portal.Now = func() time.Time { return now }
	admin := s.browser("admin@acme.example")
	for i := range formsAtOnce { // each tells whether there is an account
		got := admin.post("/apps/acme/team", url.Values{"email": {"nobody-" + strconv.Itoa(i) + "@acme.example"}, "role": {"viewer"}})
		if got.status != 422 {
			t.Fatalf("form %d: %d", i, got.status)
		}
	}
	for path, form := range s.sent() {
		if !strings.HasPrefix(path, "/apps/") {
			continue
		}
		got := admin.post(path, form)
		if got.status != 429 || got.header.Get("Retry-After") != "2" || !strings.Contains(got.body, "Nothing was done") {
			t.Errorf("%s: %d, Retry-After %q: %s", path, got.status, got.header.Get("Retry-After"), got.body)
		}
	}
	if got := admin.get("/apps/acme/team"); got.status != 200 {
		t.Errorf("a page: %d", got.status)
	}
	grant := url.Values{"email": {"viewer@acme.example"}, "role": {"viewer"}}
	operator := s.browser(operatorEmail)
	for i := range 2 * formsAtOnce {
		if got := operator.post("/apps/acme/team", grant); got.status != 303 {
			t.Fatalf("form %d of an operator: %d", i, got.status)
		}
	}
	if err := s.registry.Grant(t.Context(), registry.Grant{Email: "other@beta.example", Application: "acme", Role: registry.Admin}, ""); err != nil {
		t.Fatal(err)
	}
	if got := s.browser("other@beta.example").post("/apps/acme/team", grant); got.status != 303 {
		t.Errorf("another admin: %d", got.status)
	}
	now = at.Add(formEvery)
	if got := admin.post("/apps/acme/team", grant); got.status != 303 {
		t.Errorf("after %v: %d", formEvery, got.status)
	}
	if got := admin.post("/apps/acme/team", grant); got.status != 429 {
		t.Errorf("a second one then: %d", got.status)
	}
}
