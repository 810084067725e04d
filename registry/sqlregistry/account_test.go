package sqlregistry

import (
	"fmt"
	"testing"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/registrytest"
)

// fill runs a statement that inserts many rows at once.
func fill(t *testing.T, r *Registry, statement string, args ...any) {
	t.Helper()
	if _, err := r.writer.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func TestAccountsAreBounded(t *testing.T) {
	r := openAt(t, file(t), registrytest.NewClock())
	defer closed(t, r)
	fill(t, r, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) "+
		"INSERT INTO accounts ("+accountColumns+") SELECT 'u' || i || '@example.com', 0, '', 0, 1, '', '' FROM n", registry.MaxAccounts-1)
	if _, err := r.AddAccount(t.Context(), registry.NewAccount{Email: "ann@example.com"}, ""); err != nil {
		t.Errorf("the last: %v", err)
	}
	if _, err := r.AddAccount(t.Context(), registry.NewAccount{Email: "bob@example.com"}, ""); fault.KindOf(err) != fault.Conflict {
		t.Errorf("one too many: %v", err)
	}
}

func TestGrantsAreBounded(t *testing.T) {
	r := openAt(t, file(t), registrytest.NewClock())
	defer closed(t, r)
	apply(t, r, registrytest.Catalog())
	for _, email := range []string{"ann@example.com", "bob@example.com", "cy@example.com"} {
		if _, err := r.AddAccount(t.Context(), registry.NewAccount{Email: email}, ""); err != nil {
			t.Fatal(err)
		}
	}
	grant := func(email, application string, role registry.Role) error {
		return r.Grant(t.Context(), registry.Grant{Email: email, Application: application, Role: role}, "")
	}
	numbers := fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) ", registry.MaxGrants-1)
	fill(t, r, numbers+"INSERT INTO grants (email, application, role) SELECT 'ann@example.com', 'application ' || i, 'viewer' FROM n")
	if err := grant("ann@example.com", "acme", registry.Viewer); err != nil {
		t.Errorf("an account's last: %v", err)
	}
	if err := grant("ann@example.com", "beta", registry.Viewer); fault.KindOf(err) != fault.Conflict {
		t.Errorf("an account's one too many: %v", err)
	}
	if err := grant("ann@example.com", "acme", registry.Admin); err != nil {
		t.Errorf("another role: %v", err)
	}
	fill(t, r, numbers+"INSERT INTO accounts ("+accountColumns+") SELECT 'u' || i || '@example.com', 0, '', 0, 1, '', '' FROM n")
	fill(t, r, numbers+"INSERT INTO grants (email, application, role) SELECT 'u' || i || '@example.com', 'beta', 'viewer' FROM n")
	if err := grant("bob@example.com", "beta", registry.Viewer); err != nil {
		t.Errorf("an application's last: %v", err)
	}
	if err := grant("cy@example.com", "beta", registry.Viewer); fault.KindOf(err) != fault.Conflict {
		t.Errorf("an application's one too many: %v", err)
	}
	if err := r.Withdraw(t.Context(), "bob@example.com", "beta", ""); err != nil {
		t.Error(err)
	}
	if err := grant("cy@example.com", "beta", registry.Viewer); err != nil {
		t.Errorf("after one was withdrawn: %v", err)
	}
}
