package portal

import (
	"fmt"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/usage"
)

func TestNearestIsShown(t *testing.T) {
	s := openSite(t, strings.Replace(sample, "{id: beta}", "{id: beta, shadow: true}", 1))
	b := s.browser(operatorEmail)
	s.counts.set("acme", usage.Counts{Endpoint: "posts.create", Used: 400, Refused: 8}, usage.Counts{Endpoint: "posts.find", Used: 8000})
	s.counts.set("beta", usage.Counts{Endpoint: "posts.create", Used: 50, Refused: 12, RefusedForMember: 5})
	page := b.get("/operator/nearest")
	if got := page.one(t, "nearest"); !strings.Contains(got, "Acme Scheduler posts.create 400 400 8 ■ At the limit until 00:00 UTC Acme Scheduler posts.find 8,000 10,000 0 ◐ 80 % used beta") {
		t.Errorf("nearest: %s", got)
	}
	if got := page.one(t, "shadow"); !strings.HasSuffix(got, "beta posts.create 12 7 5") {
		t.Errorf("shadow: %s", got)
	}
	var text strings.Builder
	text.WriteString("catch_all: {application: 100, member: 1, shadow: true}\napplications:\n")
	for i := range 60 {
		fmt.Fprintf(&text, "  - {id: app-%03d}\n", i)
	}
	many := openSite(t, text.String())
	for i, a := range many.snapshot.Applications() {
		many.counts.set(a.ID, usage.Counts{Endpoint: "*", Used: int64(i + 1), Refused: int64(i + 1)})
	}
	full := many.browser(operatorEmail).get("/operator/nearest")
	for _, id := range []string{"nearest", "shadow"} {
		if got := full.one(t, id); strings.Count(got, "app-") != shownNearest || !strings.Contains(got, "app-059") || strings.Contains(got, "app-034") {
			t.Errorf("%s: %s", id, got)
		}
	}
	if strings.Count(full.body, "The first 25.") != 2 || !strings.Contains(full.one(t, "content"), "1,830 today") {
		t.Errorf("%s", full.one(t, "content"))
	}
	none := openSite(t, sample).browser(operatorEmail).get("/operator/nearest")
	if none.one(t, "no-nearest") == "" || none.one(t, "no-shadow") == "" {
		t.Errorf("%s", none.one(t, "content"))
	}
}
