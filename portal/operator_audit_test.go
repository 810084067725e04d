package portal

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestAuditIsRead(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	for i := range 60 {
		if err := s.registry.SetSetting(t.Context(), fmt.Sprintf("key-%02d", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	var seqs []string
	path := "/operator/audit"
	for pages := 0; path != ""; pages++ {
		page := b.get(path)
		if page.status != 200 || pages > 3 {
			t.Fatalf("%s: %d", path, page.status)
		}
		for _, row := range all(page.document(t), having("data-seq", "")) {
			seq, _ := attribute(row, "data-seq")
			seqs = append(seqs, seq)
		}
		path = ""
		for _, link := range all(page.document(t), having("rel", "next")) {
			path, _ = attribute(link, "href")
		}
	}
	entries, err := s.registry.Audit(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range entries {
		want = append(want, fmt.Sprint(e.Seq))
	}
	if !slices.Equal(seqs, want) {
		t.Errorf("read %v, want %v", seqs, want)
	}
	b.save("/operator/endpoints/posts.create", url.Values{"do": {"set"}, "application": {"9"}, "member": {"50"}, "cost": {"1"}, "shadow": {"false"}})
	if got := b.get("/operator/audit").one(t, "audit"); !strings.Contains(got, operatorEmail+" Set endpoint posts.create application 500 9") {
		t.Errorf("the audit: %.300s", got)
	}
	for _, odd := range []string{"x", "-5", "99999999999999999999"} {
		if got := b.get("/operator/audit?before=" + odd); got.status != 200 || got.one(t, "audit") == "" {
			t.Errorf("before %s: %d", odd, got.status)
		}
	}
	if got := b.get("/operator/audit?before=1"); got.one(t, "no-audit") != "These were all. Newest" {
		t.Errorf("%s", got.one(t, "content"))
	}
}
