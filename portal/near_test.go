package portal

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/perdiem/perdiem/usage"
)

// comeNear has a member of acme use calls of posts.create, of which it has 50.
func (s *site) comeNear(member string, used int64) {
	s.counts.mu.Lock()
	s.counts.members[member] = map[string]usage.MemberCounts{"posts.create": {Used: used}}
	s.counts.mu.Unlock()
	s.near.Note(usage.Near{Day: s.counts.Day().Date, Application: "acme", Endpoint: "posts.create", Member: member, Percent: int(used * 2)})
}

func nearRows(t *testing.T, r reply) (rows []*html.Node) {
	t.Helper()
	for _, table := range all(r.document(t), having("id", "near-usage")) {
		rows = append(rows, all(table, having("data-member", ""))...)
	}
	return rows
}

func TestNearMembers(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser("viewer@acme.example")
	if page := b.get("/apps/acme/analytics"); len(nearRows(t, page)) != 0 || strings.Contains(page.body, "Members over") {
		t.Errorf("nobody is near: %s", page.body)
	}
	s = openSite(t, sample)
	b = s.browser("viewer@acme.example")
	s.comeNear("m-1", 45)
	s.comeNear("<m&2>", 50)
	s.comeNear("m-3", 37) // of 50: less than 75 %
	page := b.get("/apps/acme/analytics")
	rows := nearRows(t, page)
	if len(rows) != 2 {
		t.Fatalf("%d members: %s", len(rows), page.body)
	}
	if diff := cmp.Diff(map[string]string{"member-used": "50", "member-limit": "50"}, fields(rows[0])); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if id, _ := attribute(rows[0], "data-member"); id != "<m&2>" || !strings.Contains(page.body, "◐ 90 % used") || !strings.Contains(page.body, `href="?member=%3Cm%262%3E#member-title"`) {
		t.Errorf("the nearest is %q: %s", id, page.body)
	}
	for range 20 {
		b.get("/apps/acme/analytics")
	}
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	if s.counts.nearReads != 1 {
		t.Errorf("%d viewers read the members %d times", 21, s.counts.nearReads)
	}
}

// Pages that are live hear who comes near.
func TestNearMembersLive(t *testing.T) {
	s := openSite(t, sample)
	now := at
	s.portal.Now = func() time.Time { return now }
	first := s.portal.look(t.Context(), "acme", nil)
	s.comeNear("m-1", 45)
	if again := s.portal.look(t.Context(), "acme", first); again != first {
		t.Error("the members are read again at once")
	}
	now = at.Add(nearEvery)
	second := s.portal.look(t.Context(), "acme", first)
	if second == first || !strings.Contains(string(second.change), `near-usage`) || !strings.Contains(string(second.whole()), `near-usage`) {
		t.Errorf("somebody came near: %s", second.change)
	}
	if third := s.portal.look(t.Context(), "acme", second); third != second {
		t.Error("an event without anything new")
	}
}

// An application that nobody looks at any more is forgotten.
func TestNearMembersAreForgotten(t *testing.T) {
	s := openSite(t, sample)
	var n nearMembers
	for i, app := range []string{"acme", "beta", ".."} {
		if _, err := n.of(t.Context(), app, at.Add(time.Duration(i)*nearEvery), s.portal.Usage.MembersNear); err != nil {
			t.Fatal(err)
		}
	}
	var kept []string
	for app := range n.kept {
		kept = append(kept, app)
	}
	if !slices.Equal(kept, []string{".."}) {
		t.Errorf("kept: %v", kept)
	}
}
