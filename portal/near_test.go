package portal

import (
	"fmt"
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

// Of one endpoint that is chosen all are listed, and the list of all endpoints says how to come to them.
func TestNearMembersOfOneEndpoint(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser("viewer@acme.example")
	for i := range usage.MaxNear {
		s.comeNear(fmt.Sprintf("m-%03d", i), 49)
	}
	s.counts.set("acme", usage.Counts{Endpoint: "posts.create", Used: 5000, LastCall: at}, usage.Counts{Endpoint: "posts.search", Used: 100, LastCall: at})
	for i := range 30 { // they have 1,000, and are all behind
		member := fmt.Sprintf("n-%03d", i)
		s.counts.mu.Lock()
		s.counts.members[member] = map[string]usage.MemberCounts{"posts.search": {Used: 800}}
		s.counts.mu.Unlock()
		s.near.Note(usage.Near{Day: s.counts.Day().Date, Application: "acme", Endpoint: "posts.search", Member: member, Percent: 80})
	}
	page := b.get("/apps/acme/analytics")
	if rows := nearRows(t, page); len(rows) != maxNearRows || !strings.HasPrefix(page.one(t, "near-more"), "30 more are not listed: choose an endpoint") {
		t.Errorf("%d members, and %q", len(rows), page.one(t, "near-more"))
	}
	if picked := page.one(t, "hours-title"); picked == "" || !strings.Contains(page.body, "<option>posts.search</option>") {
		t.Errorf("no endpoint can be chosen: %s", page.body)
	}
	for endpoint, want := range map[string]struct {
		rows   int
		others string
	}{
		"posts.search": {30, ": 100 more."}, "posts.create": {100, ": 30 more."}, "posts.find": {0, ": 130 more."},
	} {
		page := b.get("/apps/acme/analytics?endpoint=" + endpoint)
		rows := nearRows(t, page)
		for _, row := range rows {
			if of, _ := attribute(row, "data-endpoint"); of != endpoint {
				t.Errorf("%s lists a member near the limit of %s", endpoint, of)
			}
		}
		if len(rows) != want.rows || !strings.HasSuffix(page.one(t, "near-others"), want.others) || strings.Contains(page.body, "near-more") {
			t.Errorf("%s: %d members, and %q", endpoint, len(rows), page.one(t, "near-others"))
		}
		if strings.Contains(page.body, `id="near"`) {
			t.Errorf("%s: what is live replaces its members by those of all endpoints", endpoint)
		}
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
