package portal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

// look is a page as somebody sees it, with the gallery's data.
type look struct {
	name          string
	page          string // its folder in pages
	site          string // used unless told
	email         string // empty: nobody is signed in
	path          string
	script, until string // run on the page, and what is to be seen after that; empty: nothing is
}

// The gallery's sites: one whose applications call much, little and nothing, one that operators have changed much, and one that has nothing.
const (
	used     = ""
	operated = "operated"
	empty    = "empty"
)

const (
	asViewer = "viewer@acme.example"
	asAdmin  = "admin@acme.example"
)

// looks are all pages, with much, little and no data. TestLooks fails where a page is missing.
var looks = []look{
	// Whoever is to sign in, and what everybody may see.
	{name: "signin", page: "signin", path: "/signin"},
	{name: "signin-issuer", page: "signin", path: "/signin/callback"},
	{name: "signin-next", page: "signin", path: "/apps"},
	{name: "notfound", page: "problem", email: asViewer, path: "/apps/none/analytics"},
	{name: "apps", page: "apps", email: asViewer, path: "/apps"},
	{name: "apps-many", page: "apps", email: operatorEmail, path: "/apps"},
	{name: "apps-search-none", page: "apps", email: operatorEmail, path: "/apps?q=nothing"},
	{name: "analytics-none", page: "analytics", email: asViewer, path: "/apps/idle/analytics"},
	{name: "analytics", page: "analytics", email: asViewer, path: "/apps/acme/analytics?sort=-share"},
	{name: "analytics-member", page: "analytics", email: asViewer, path: "/apps/acme/analytics?member=m-1"},
	{name: "analytics-much", page: "analytics", email: operatorEmail, path: "/apps/much/analytics?sort=-used"},
	{name: "call", page: "call", email: asAdmin, path: "/apps/acme/call?endpoint=posts.find"},
	{name: "call-wrong", page: "call", email: operatorEmail, path: "/apps/much/call?endpoint=organizations.resources07.list", script: fill("p0", ".."), until: "#p0-problem"},
	{name: "call-made", page: "call", email: operatorEmail, path: "/apps/much/call?endpoint=organizations.resources07.list", script: fill("p0", "12 34"), until: "#result-title"},
	{name: "call-curl", page: "call", email: asAdmin, path: "/apps/acme/call?endpoint=posts.create"},
	{name: "credentials-none", page: "credentials", email: asViewer, path: "/apps/idle/credentials"},
	{name: "credentials-issued", page: "credentials", email: asAdmin, path: "/apps/acme/credentials", script: `document.querySelector('#lifetime').form.submit()`, until: "#secret"},
	{name: "credentials-revoke", page: "confirm", email: operatorEmail, path: "/apps/much/credentials", script: `document.querySelector('[name=token]').form.submit()`, until: ".confirm"},
	{name: "credentials-much", page: "credentials", email: operatorEmail, path: "/apps/much/credentials"},
	{name: "alerts-none", page: "alerts", email: asViewer, path: "/apps/idle/alerts"},
	{name: "alerts-viewer", page: "alerts", email: asViewer, path: "/apps/acme/alerts"},
	{name: "alerts-much", page: "alerts", email: operatorEmail, path: "/apps/much/alerts"},
	{name: "alerts-wrong", page: "alerts", email: asAdmin, path: "/apps/acme/alerts", script: fill("thresholds", "30", "mail", "nobody", "url", "hooks.example"), until: "#url-problem"},
	{name: "alerts-secret", page: "alerts", email: asAdmin, path: "/apps/acme/alerts", script: fill("url", "https://hooks.example/perdiem"), until: "#secret"},
	{name: "team-none", page: "team", email: operatorEmail, path: "/apps/partner-01/team"},
	{name: "team", page: "team", email: asAdmin, path: "/apps/acme/team"},
	{name: "team-last", page: "confirm", email: asAdmin, path: "/apps/acme/team", script: `document.querySelector('[data-email="admin@acme.example"] form').submit()`, until: ".confirm"},
	{name: "team-wrong", page: "team", email: asAdmin, path: "/apps/acme/team", script: fill("email", "nobody@acme.example"), until: "#email-problem"},
	{name: "team-much", page: "team", email: operatorEmail, path: "/apps/much/team"},
	{name: "settings", page: "settings", email: asViewer, path: "/apps/acme/settings"},
	{name: "settings-much", page: "settings", email: operatorEmail, path: "/apps/much/settings"},
	{name: "settings-none", page: "settings", email: asViewer, path: "/apps/idle/settings"},

	// Operators.
	{name: "operator-apps", page: "operator-apps", site: operated, email: operatorEmail, path: "/operator/apps"},
	{name: "operator-apps-search-none", page: "operator-apps", site: operated, email: operatorEmail, path: "/operator/apps?q=nothing"},
	{name: "operator-apps-none", page: "operator-apps", site: empty, email: operatorEmail, path: "/operator/apps"},
	{name: "operator-app", page: "operator-app", site: operated, email: operatorEmail, path: "/operator/apps/acme?saved"},
	{name: "operator-app-plain", page: "operator-app", site: operated, email: operatorEmail, path: "/operator/apps/much"},
	{name: "operator-endpoints", page: "operator-endpoints", site: operated, email: operatorEmail, path: "/operator/endpoints"},
	{name: "operator-endpoints-none", page: "operator-endpoints", site: empty, email: operatorEmail, path: "/operator/endpoints"},
	{name: "operator-endpoint", page: "operator-endpoint", site: operated, email: operatorEmail, path: "/operator/endpoints/posts.create"},
	{name: "operator-endpoint-own", page: "operator-endpoint", site: operated, email: operatorEmail, path: "/operator/endpoints/likes.find"},
	{name: "operator-endpoint-wrong", page: "operator-endpoint", site: operated, email: operatorEmail, path: "/operator/endpoints/posts.find", script: send("#set", `f.member.value = "many"`), until: "[aria-invalid]"},
	{name: "operator-preview", page: "operator-preview", site: operated, email: operatorEmail, path: "/operator/endpoints/posts.create", script: send("#set", `f.application.value = "750"; f.member.value = "25"`), until: "#preview"},
	{name: "operator-preview-cost", page: "operator-preview", site: operated, email: operatorEmail, path: "/operator/endpoints/posts.create", script: send("#set", `f.cost.value = "3"; f.shadow.value = "false"`), until: "#preview"},
	{name: "operator-preview-suspend", page: "operator-preview", site: operated, email: operatorEmail, path: "/operator/apps/acme", script: send("form:has([value=suspend])", ""), until: "#preview"},
	{name: "operator-preview-remove", page: "operator-preview", site: operated, email: operatorEmail, path: "/operator/endpoints/likes.find", script: send("form:has([value=remove])", ""), until: "#preview"},
	{name: "operator-tiers", page: "operator-tiers", site: operated, email: operatorEmail, path: "/operator/tiers"},
	{name: "operator-tiers-none", page: "operator-tiers", site: empty, email: operatorEmail, path: "/operator/tiers"},
	{name: "operator-tier", page: "operator-tier", site: operated, email: operatorEmail, path: "/operator/tiers/development"},
	{name: "operator-tier-plain", page: "operator-tier", site: operated, email: operatorEmail, path: "/operator/tiers/partner"},
	{name: "operator-nearest", page: "operator-nearest", site: operated, email: operatorEmail, path: "/operator/nearest"},
	{name: "operator-nearest-none", page: "operator-nearest", site: empty, email: operatorEmail, path: "/operator/nearest"},
	{name: "operator-audit", page: "operator-audit", site: operated, email: operatorEmail, path: "/operator/audit"},
	{name: "operator-audit-none", page: "operator-audit", site: empty, email: operatorEmail, path: "/operator/audit?before=1"},
	{name: "operator-health", page: "operator-health", site: operated, email: operatorEmail, path: "/operator/health"},
	{name: "operator-health-ill", page: "operator-health", site: empty, email: operatorEmail, path: "/operator/health"},
	{name: "operator-accounts", page: "operator-accounts", site: operated, email: operatorEmail, path: "/operator/accounts"},
	{name: "operator-accounts-wrong", page: "operator-accounts", site: operated, email: operatorEmail, path: "/operator/accounts", script: send("#add", `f.email.value = "new@example.com"; f.password.value = "short"`), until: "[aria-invalid]"},
	{name: "operator-accounts-remove", page: "confirm", site: operated, email: operatorEmail, path: "/operator/accounts", script: send("form:has([value=remove])", ""), until: ".confirm"},
}

// fill returns a script that sends the form of fields with values, whatever the browser thinks of them.
func fill(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "document.getElementById(%q).value = %q;", pairs[i], pairs[i+1])
	}
	return b.String() + fmt.Sprintf("document.getElementById(%q).form.submit()", pairs[0])
}

// send returns a script that sends a form once it is filled in.
func send(form, fill string) string {
	return fmt.Sprintf("(() => { const f = document.querySelector(%q); %s; f.submit(); return {} })()", form, fill)
}

// gallery is the sites with data for all looks, and a browser in which they are looked at.
type gallery struct {
	sites    map[string]*site
	browser  context.Context
	sessions map[[2]string]string // cookies of those who look, by site and email
}

func openGallery(t *testing.T) *gallery {
	t.Helper()
	s := openSite(t, manyEndpoints(), func(o *Options) {
		// An issuer that nobody asks: the page of signing in shows its button.
		oidc, err := identity.NewOIDC(identity.OIDCOptions{
			Issuer: "https://id.example", ClientID: "portal", ClientSecret: "secret", Redirect: o.URL.String() + OIDCCallback, Label: "Acme ID", Accounts: o.Accounts,
		})
		if err != nil {
			t.Fatal(err)
		}
		o.OIDC = oidc
	})
	s.fillHistory("acme")
	s.fillHistory("much")
	s.counts.set("acme", called()...)
	s.counts.set("much", s.calledMuch()...)
	s.counts.members["m-1"] = map[string]usage.MemberCounts{"posts.create": {Used: 45, Refused: 3}, "posts.find": {Used: 12}}
	if err := s.registry.Grant(t.Context(), registry.Grant{Email: asViewer, Application: "idle", Role: registry.Viewer}, ""); err != nil {
		t.Fatal(err)
	}
	s.fillTabs("much")
	s.comeNear("m-9", 45)
	s.comeNear("urn:li:person:a-rather-long-member-id", 50)
	g := &gallery{
		sites:   map[string]*site{used: s, operated: openSite(t, manyEndpoints()), empty: openSite(t, "catch_all: {application: 1000, member: 100}\n", ill)},
		browser: testkit.Chromium(t), sessions: map[[2]string]string{},
	}
	g.sites[operated].operated()
	for _, l := range looks {
		who := [2]string{l.site, l.email}
		if l.email == "" || g.sessions[who] != "" {
			continue
		}
		b := g.sites[l.site].browser(l.email)
		g.sessions[who] = b.client.Jar.Cookies(b.request("GET", "/", nil).URL)[0].Value
	}
	return g
}

// ill makes a site that of a node in trouble.
func ill(o *Options) {
	day := o.Operators.Health().Day
	o.Operators.Health = func() Health {
		return Health{
			Reason: "the ledger takes nothing: the disk has less than 256 MiB left", Version: "v1.2.3", Day: day, Ledger: LedgerHealth{Reason: "the disk has less than 256 MiB left", Durability: "disk", WhenDown: "refuse"},
			Protection: &ProtectionHealth{Limiting: true, Limit: 4, InFlight: 4, Refused: 31000, Latency: 2 * time.Second, UsualLatency: 15 * time.Millisecond},
			Restored:   &Restored{Backup: at.Add(-time.Hour), At: at, Incomplete: true},
			Listeners:  []Listener{{"portal", "127.0.0.1:8081"}, {"admin", "127.0.0.1:8082"}},
		}
	}
}

// rest has nobody wait for the pace of forms, which one look would else keep the next from.
func (p *Portal) rest() {
	for _, all := range []*paces{p.forms, p.calls, p.alertTests} {
		all.mu.Lock()
		clear(all.rested)
		all.mu.Unlock()
	}
}

// size is a window's, in pixels.
type size struct{ width, height int64 }

var (
	wide   = size{1280, 800}
	narrow = size{390, 844}
	themes = []string{"light", "dark"}
)

// TestLooks fails where a page of the portal is in no look: it would be looked at by nobody.
func TestLooks(t *testing.T) {
	s := openSite(t, sample)
	for name := range s.portal.pages {
		if !slices.ContainsFunc(looks, func(l look) bool { return l.page == name }) {
			t.Errorf("the page %s is in none of looks", name)
		}
	}
}

// picture is the one that the README shows, and how large it may be, in bytes.
const (
	picture    = "analytics"
	maxPicture = 160 << 10
)

// TestScreenshots makes pictures of every look into the folder that PERDIEM_SCREENSHOTS names, wide and narrow, light and dark, and that of the README into the
// file that PERDIEM_PICTURE names (make screenshots). A page wider than the window fails.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("PERDIEM_SCREENSHOTS")
	if folder == "" {
		t.Skip("PERDIEM_SCREENSHOTS names no folder")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	g := openGallery(t)
	write := func(file string, data []byte) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range looks {
		for _, s := range []size{wide, narrow} {
			for _, theme := range themes {
				name := fmt.Sprintf("%s-%d-%s.png", l.name, s.width, theme)
				shot, wider, err := g.screenshot(l, theme, s)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if wider {
					t.Errorf("%s: the page is wider than the window", name)
				}
				write(filepath.Join(folder, name), shot)
				if file := os.Getenv("PERDIEM_PICTURE"); file != "" && l.name == picture && s == wide && theme == "light" {
					if len(shot) > maxPicture {
						t.Errorf("%s would have %d bytes; at most %d are wanted", file, len(shot), maxPicture)
					}
					write(file, shot)
				}
			}
		}
	}
}

// open opens a look, and waits until what is live on it is.
func (g *gallery) open(ctx context.Context, l look, theme string, s size) error {
	g.sites[used].emptyAlerts()
	g.sites[used].portal.rest()
	if _, err := chromedp.Call(ctx, network.ClearBrowserCookies, cdp.Empty{}); err != nil {
		return err
	}
	on := g.sites[l.site]
	if session := g.sessions[[2]string{l.site, l.email}]; session != "" {
		if _, err := chromedp.Call(ctx, network.SetCookie, network.SetCookieParams{Name: "perdiem", Value: session, URL: on.server.URL}); err != nil {
			return err
		}
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		return err
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(s.width, s.height), chromedp.Navigate(on.server.URL+l.path), chromedp.WaitVisible("#content")); err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	if l.script != "" {
		if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](l.script), chromedp.WaitVisible(l.until)); err != nil {
			return fmt.Errorf("after opening: %w", err)
		}
	}
	for live := false; !live; { // where a page has something live
		var err error
		live, err = chromedp.Run(ctx, chromedp.Evaluate[bool](`(document.getElementById("state")?.textContent ?? "Live") === "Live"`))
		if err != nil {
			says, _ := chromedp.Run(g.browser, chromedp.Evaluate[string](`document.body.innerText`))
			return fmt.Errorf("%w: %s", err, says)
		}
	}
	return nil
}

// screenshot returns a picture of a look, and whether it is wider than the window.
func (g *gallery) screenshot(l look, theme string, s size) (shot []byte, wider bool, err error) {
	ctx, cancel := context.WithTimeout(g.browser, testkit.BrowserPatience)
	defer cancel()
	if err := g.open(ctx, l, theme, s); err != nil {
		return nil, false, err
	}
	wider, err = chromedp.Run(ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`))
	if err != nil {
		return nil, false, err
	}
	shot, err = chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		return nil, false, fmt.Errorf("taking the picture: %w", err)
	}
	return shot, wider, nil
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

// emptyAlerts puts acme's alerts back to where its pictures begin.
func (s *site) emptyAlerts() {
	s.Helper()
	if err := s.setAlerts("acme", usage.AlertSettings{Mail: []string{"ann@acme.example"}}); err != nil {
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
	for i := range perPage + 5 {
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
	must(s.setAlerts(application, usage.AlertSettings{
		Thresholds: []int{50, 60, 75, 90, 100}, Mail: []string{"on-call@developers.partner.example", "somebody.with.a.long.name@developers.partner.example"},
		WebhookURL: "https://hooks.partner.example/services/T024BE7LD/B01ABCDEF/a-rather-long-path", WebhookSecret: usage.NewWebhookSecret(),
	}))
	for _, d := range []usage.Delivery{
		{Channel: usage.ByWebhook, At: at.Add(-time.Minute), Problem: "It answered with status 500.", Again: at.Add(20 * time.Minute)},
		{Channel: usage.ByMail("on-call@developers.partner.example"), At: at.Add(-time.Hour)},
	} {
		must(s.registry.NoteDelivery(s.Context(), usage.AlertMessage{ID: "msg_1", Application: application, Channel: d.Channel}, d))
	}
}
