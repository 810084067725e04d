package portal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

// TestScreenshots makes pictures of every page with much, little and no data into the folder that PERDIEM_SCREENSHOTS names, wide and narrow, light
// and dark (make screenshots). A page wider than the window fails.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("PERDIEM_SCREENSHOTS")
	if folder == "" {
		t.Skip("PERDIEM_SCREENSHOTS names no folder")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	s := openSite(t, manyEndpoints())
	s.fillHistory("acme")
	s.fillHistory("much")
	s.counts.set("acme", called()...)
	s.counts.set("much", s.calledMuch()...)
	s.counts.members["m-1"] = map[string]usage.MemberCounts{"posts.create": {Used: 45, Refused: 3}, "posts.find": {Used: 12}}
	if err := s.registry.Grant(t.Context(), registry.Grant{Email: "viewer@acme.example", Application: "idle", Role: registry.Viewer}, ""); err != nil {
		t.Fatal(err)
	}
	s.fillTabs("much")
	s.comeNear("m-9", 45)
	s.comeNear("urn:li:person:a-rather-long-member-id", 50)
	browser := testkit.Chromium(t)
	sessions := map[string]string{}
	for _, email := range []string{"viewer@acme.example", "admin@acme.example", "operator@example.com"} {
		b := s.browser(email)
		at := b.request("GET", "/", nil).URL
		sessions[email] = b.client.Jar.Cookies(at)[0].Value
	}
	const admin, operator, viewer = "admin@acme.example", "operator@example.com", "viewer@acme.example"
	for _, shot := range []struct {
		name, email, path string
		script, until     string // run on the page, and what is to be seen after that; empty: nothing is
	}{
		{name: "signin", path: "/signin"},
		{name: "signin-next", path: "/apps"},
		{name: "notfound", email: viewer, path: "/apps/none/analytics"},
		{name: "apps", email: viewer, path: "/apps"},
		{name: "apps-many", email: operator, path: "/apps"},
		{name: "apps-search-none", email: operator, path: "/apps?q=nothing"},
		{name: "analytics-none", email: viewer, path: "/apps/idle/analytics"},
		{name: "analytics", email: viewer, path: "/apps/acme/analytics?sort=-share"},
		{name: "analytics-member", email: viewer, path: "/apps/acme/analytics?member=m-1"},
		{name: "analytics-much", email: operator, path: "/apps/much/analytics?sort=-used"},
		{name: "call", email: admin, path: "/apps/acme/call?endpoint=posts.find"},
		{name: "call-wrong", email: operator, path: "/apps/much/call?endpoint=organizations.resources07.list", script: fill("p0", ".."), until: "#p0-problem"},
		{name: "call-made", email: operator, path: "/apps/much/call?endpoint=organizations.resources07.list", script: fill("p0", "12 34"), until: "#result-title"},
		{name: "call-curl", email: admin, path: "/apps/acme/call?endpoint=posts.create"},
		{name: "credentials-none", email: viewer, path: "/apps/idle/credentials"},
		{name: "credentials-issued", email: admin, path: "/apps/acme/credentials", script: `document.querySelector('#lifetime').form.submit()`, until: "#secret"},
		{name: "credentials-revoke", email: operator, path: "/apps/much/credentials", script: `document.querySelector('[name=token]').form.submit()`, until: ".confirm"},
		{name: "credentials-much", email: operator, path: "/apps/much/credentials"},
		{name: "alerts-none", email: viewer, path: "/apps/idle/alerts"},
		{name: "alerts-viewer", email: viewer, path: "/apps/acme/alerts"},
		{name: "alerts-much", email: operator, path: "/apps/much/alerts"},
		{name: "alerts-wrong", email: admin, path: "/apps/acme/alerts", script: fill("thresholds", "30", "mail", "nobody", "url", "hooks.example"), until: "#url-problem"},
		{name: "alerts-secret", email: admin, path: "/apps/acme/alerts", script: fill("url", "https://hooks.example/perdiem"), until: "#secret"},
		{name: "team-none", email: operator, path: "/apps/partner-01/team"},
		{name: "team", email: admin, path: "/apps/acme/team"},
		{name: "team-last", email: admin, path: "/apps/acme/team", script: `document.querySelector('[data-email="admin@acme.example"] form').submit()`, until: ".confirm"},
		{name: "team-wrong", email: admin, path: "/apps/acme/team", script: fill("email", "nobody@acme.example"), until: "#email-problem"},
		{name: "team-much", email: operator, path: "/apps/much/team"},
		{name: "settings", email: viewer, path: "/apps/acme/settings"},
		{name: "settings-much", email: operator, path: "/apps/much/settings"},
		{name: "settings-none", email: viewer, path: "/apps/idle/settings"},
	} {
		t.Run(shot.name, func(t *testing.T) {
			for _, size := range []struct {
				width, height int64
			}{{1280, 800}, {390, 844}} {
				for _, theme := range []string{"light", "dark"} {
					name := fmt.Sprintf("%s-%d-%s.png", shot.name, size.width, theme)
					s.emptyAlerts()
					s.portal.calls = paces{} // else one picture's call would keep the next from being made
					picture, wider, err := screenshot(browser, s.server.URL, shot.path, sessions[shot.email], theme, size.width, size.height, func(ctx context.Context) error {
						if shot.script == "" {
							return nil
						}
						return chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](shot.script), chromedp.WaitVisible(shot.until))
					})
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

// fill returns a script that sends the form of fields with values, whatever the browser thinks of them.
func fill(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "document.getElementById(%q).value = %q;", pairs[i], pairs[i+1])
	}
	return b.String() + fmt.Sprintf("document.getElementById(%q).form.submit()", pairs[0])
}

// emptyAlerts puts acme's alerts back to where its pictures begin.
func (s *site) emptyAlerts() {
	s.Helper()
	if err := s.registry.SetAlertSettings(s.Context(), "acme", usage.AlertSettings{Mail: []string{"ann@acme.example"}}, ""); err != nil {
		s.Fatal(err)
	}
}

// fillTabs gives an application many tokens, a large team, and alerts.
func (s *site) fillTabs(application string) {
	s.Helper()
	must := func(err error) {
		s.Helper()
		if err != nil {
			s.Fatal(err)
		}
	}
	for i := range tokensPage + 5 {
		token := registry.NewToken{Hash: registry.Hash{byte(i), 1}, Application: application, Expires: at.Add(time.Duration(i*i) * time.Hour)}
		if i == 0 {
			token.Expires = time.Time{}
		}
		if i%3 == 1 {
			token.Member = fmt.Sprintf("urn:li:person:%s-%d", strings.Repeat("x", i), i)
		}
		_, err := s.registry.IssueToken(s.Context(), token)
		must(err)
	}
	for i := range 12 {
		email := fmt.Sprintf("somebody.with.a.long.name.%02d@developers.partner.example", i)
		_, err := s.registry.AddAccount(s.Context(), registry.NewAccount{Email: email}, "")
		must(err)
		must(s.registry.Grant(s.Context(), registry.Grant{Email: email, Application: application, Role: []registry.Role{registry.Viewer, registry.Admin}[i%2]}, ""))
	}
	must(s.registry.SetAlertSettings(s.Context(), application, usage.AlertSettings{
		Thresholds: []int{50, 60, 75, 90, 100}, Mail: []string{"on-call@developers.partner.example", "somebody.with.a.long.name@developers.partner.example"},
		WebhookURL: "https://hooks.partner.example/services/T024BE7LD/B01ABCDEF/a-rather-long-path", WebhookSecret: newSecret(),
	}, ""))
}

// screenshot returns a picture of a page as somebody sees it, once then has done something on it, and whether it is wider than the window.
func screenshot(browser context.Context, site, path, session, theme string, width, height int64, then func(context.Context) error) (picture []byte, wider bool, err error) {
	ctx, cancel := context.WithTimeout(browser, testkit.BrowserPatience)
	defer cancel()
	if _, err := chromedp.Call(ctx, network.ClearBrowserCookies, cdp.Empty{}); err != nil {
		return nil, false, err
	}
	if session != "" {
		if _, err := chromedp.Call(ctx, network.SetCookie, network.SetCookieParams{Name: "perdiem", Value: session, URL: site}); err != nil {
			return nil, false, err
		}
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		return nil, false, err
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, height), chromedp.Navigate(site+path), chromedp.WaitVisible("#content")); err != nil {
		return nil, false, fmt.Errorf("opening: %w", err)
	}
	if err := then(ctx); err != nil {
		return nil, false, fmt.Errorf("after opening: %w", err)
	}
	for live := false; !live; { // where a page has something live
		live, err = chromedp.Run(ctx, chromedp.Evaluate[bool](`(document.getElementById("state")?.textContent ?? "Live") === "Live"`))
		if err != nil {
			says, _ := chromedp.Run(browser, chromedp.Evaluate[string](`document.body.innerText`))
			return nil, false, fmt.Errorf("%w: %s", err, says)
		}
	}
	wider, err = chromedp.Run(ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`))
	if err != nil {
		return nil, false, err
	}
	picture, err = chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		return nil, false, fmt.Errorf("taking the picture: %w", err)
	}
	return picture, wider, nil
}

// manyEndpoints is the sample's catalog with an application that calls much.
func manyEndpoints() string {
	var endpoints, applications strings.Builder
	for i := range 40 {
		fmt.Fprintf(&endpoints, "  - {id: %q, match: \"GET /rest/v2/organizations/{organization}/resources%02d\", application: %d, member: %d}\n",
			fmt.Sprintf("organizations.resources%02d.list", i), i, 1000*(i+1), 10*(i+1))
		fmt.Fprintf(&applications, "  - {id: partner-%02d, name: \"Partner %02d\", tier: development}\n", i, i)
	}
	text := strings.Replace(sample, "catch_all:", endpoints.String()+"catch_all:", 1)
	return text + applications.String() + "  - {id: idle, name: Idle Importer}\n  - {id: much, name: \"An application with quite a long name, of a partner who likes long names\", tier: development, suspended: true}\n"
}

func (s *site) calledMuch() (of []usage.Counts) {
	for i, e := range s.snapshot.Endpoints() {
		of = append(of, usage.Counts{
			Endpoint: e.ID, Used: int64(i * i * 977 % (1000 * (i + 1))), Refused: int64(i % 5 * 13), RefusedForMember: int64(i % 5), LastCall: at.Add(-time.Duration(i) * time.Minute),
		})
	}
	return of
}

// fillHistory gives an application a history of 40 days.
func (s *site) fillHistory(application string) {
	s.Helper()
	day := s.counts.Day()
	batch := usage.HistoryBatch{Writer: "w-" + application, Number: 1}
	for back := range 40 {
		for hour := range 24 {
			if back == 0 && hour > 18 {
				continue
			}
			calls := usage.Calls{Admitted: int64((hour*hour*31 + back*17) % 1300)}
			if hour > 16 && back < 3 {
				calls.Refused = int64(hour * 9)
			}
			batch.Rows = append(batch.Rows, usage.HistoryRow{Application: application, Bucket: usage.Bucket{
				Day: day.Date - quota.Date(back), Start: day.Start.AddDate(0, 0, -back).Add(time.Duration(hour) * time.Hour), Calls: calls,
			}})
		}
	}
	if err := s.registry.AddHistory(s.Context(), batch); err != nil {
		s.Fatal(err)
	}
}
