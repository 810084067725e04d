package portal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

// TestScreenshotsOfOperatorPages is [TestScreenshots] of the operators' pages.
func TestScreenshotsOfOperatorPages(t *testing.T) {
	folder := os.Getenv("PERDIEM_SCREENSHOTS")
	if folder == "" {
		t.Skip("PERDIEM_SCREENSHOTS names no folder")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	much := openSite(t, manyEndpoints())
	much.operated()
	none := openSite(t, "catch_all: {application: 1000, member: 100}\n", func(o *Options) {
		o.Operators.Health = func() Health {
			return Health{
				Reason: "the ledger takes nothing: the disk has less than 256 MiB left", Version: "v1.2.3", Ledger: LedgerHealth{Reason: "the disk has less than 256 MiB left", Durability: "disk", WhenDown: "refuse"},
				Protection: &ProtectionHealth{Limiting: true, Limit: 4, InFlight: 4, Refused: 31000, Latency: 2 * time.Second, UsualLatency: 15 * time.Millisecond},
				Restored:   &Restored{Backup: at.Add(-time.Hour), At: at, Incomplete: true},
				Listeners:  []Listener{{"portal", "127.0.0.1:8081"}, {"admin", "127.0.0.1:8082"}},
			}
		}
	})
	browser := testkit.Chromium(t)
	sessions := map[*site]string{}
	for _, s := range []*site{much, none} {
		b := s.browser(operatorEmail)
		sessions[s] = b.client.Jar.Cookies(b.request("GET", "/", nil).URL)[0].Value
	}
	look := func(context.Context) error { return nil }
	// send fills a form in, sends it, and waits for what follows.
	send := func(form, fill, follows string) func(context.Context) error {
		script := fmt.Sprintf("(() => { const f = document.querySelector(%q); %s; f.submit(); return {} })()", form, fill)
		return func(ctx context.Context) error {
			return chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](script), chromedp.WaitVisible(follows))
		}
	}
	for _, shot := range []struct {
		name string
		site *site
		path string
		then func(context.Context) error
	}{
		{"apps", much, "/operator/apps", look},
		{"apps-search-none", much, "/operator/apps?q=nothing", look},
		{"apps-none", none, "/operator/apps", look},
		{"app", much, "/operator/apps/acme?saved", look},
		{"app-plain", much, "/operator/apps/much", look},
		{"endpoints", much, "/operator/endpoints", look},
		{"endpoints-none", none, "/operator/endpoints", look},
		{"endpoint", much, "/operator/endpoints/posts.create", look},
		{"endpoint-own", much, "/operator/endpoints/likes.find", look},
		{"endpoint-wrong", much, "/operator/endpoints/posts.find", send("#set", `f.member.value = "many"`, "[aria-invalid]")},
		{"preview", much, "/operator/endpoints/posts.create", send("#set", `f.application.value = "750"; f.member.value = "25"`, "#preview")},
		{"preview-suspend", much, "/operator/apps/acme", send("form:has([value=suspend])", "", "#preview")},
		{"preview-remove", much, "/operator/endpoints/likes.find", send("form:has([value=remove])", "", "#preview")},
		{"tiers", much, "/operator/tiers", look},
		{"tiers-none", none, "/operator/tiers", look},
		{"tier", much, "/operator/tiers/development", look},
		{"tier-plain", much, "/operator/tiers/partner", look},
		{"nearest", much, "/operator/nearest", look},
		{"nearest-none", none, "/operator/nearest", look},
		{"audit", much, "/operator/audit", look},
		{"audit-none", none, "/operator/audit?before=1", look},
		{"health", much, "/operator/health", look},
		{"health-ill", none, "/operator/health", look},
		{"accounts", much, "/operator/accounts", look},
		{"accounts-remove", much, "/operator/accounts?remove=viewer%40acme.example", look},
	} {
		t.Run(shot.name, func(t *testing.T) {
			for _, size := range [][2]int64{{1280, 800}, {390, 844}} {
				for _, theme := range []string{"light", "dark"} {
					name := fmt.Sprintf("operator-%s-%d-%s.png", shot.name, size[0], theme)
					picture, wider, err := screenshot(browser, shot.site.server.URL, shot.path, sessions[shot.site], theme, size[0], size[1], shot.then)
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if wider {
						t.Errorf("%s: the page is wider than the window", name)
					}
					if err := os.WriteFile(filepath.Join(folder, name), picture, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// operated has operators change much, and applications use much.
func (s *site) operated() {
	s.Helper()
	limit := func(n quota.Limit) *quota.Limit { return &n }
	for _, e := range []registry.Edit{
		registry.PutEndpoint{ID: "posts.create", Limits: catalog.PartialLimits{Application: limit(650)}, Shadow: new(true)},
		registry.PutEndpoint{
			ID: "likes.find", Match: "GET /rest/likes", When: &catalog.Conditions{Header: map[string]string{"X-RestLi-Method": "FINDER"}, Query: map[string]string{"q": "*"}},
			Limits: catalog.PartialLimits{Application: limit(90000), Member: limit(250)},
		},
		registry.PutTier{Name: "partner"},
		registry.PutTier{Name: "development", Limits: map[string]catalog.PartialLimits{"posts.find": {Application: limit(2000)}, "organizations.resources03.list": {Member: limit(9)}}},
		registry.PutApplication{ID: "acme", Name: new("Acme Scheduler for teams"), Shadow: new(true)},
		registry.PutOverride{Application: "acme", Endpoint: "posts.find", Limits: catalog.PartialLimits{Application: limit(quota.Unlimited), Member: limit(40)}},
		registry.PutOverride{Application: "acme", Endpoint: "*", Limits: catalog.PartialLimits{Application: limit(0)}},
		registry.PutApplication{ID: "met-today", Tier: new("development")},
		registry.PutApplication{ID: "partner-07", Suspended: new(true)},
	} {
		if _, err := s.registry.Edit(s.Context(), e, registry.EditOptions{Actor: operatorEmail}); err != nil {
			s.Fatal(err)
		}
	}
	if err := s.refresh(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.counts.set("acme", called()...)
	s.counts.set("much", s.calledMuch()...)
	for i, a := range s.now.Load().Applications() {
		if i%4 == 0 {
			s.counts.set(a.ID, usage.Counts{Endpoint: "posts.create", Used: int64(30*i) % 400, Refused: int64(i % 3 * 40), RefusedForMember: int64(i % 3 * 7)})
		}
	}
}
