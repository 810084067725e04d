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
	name  string
	page  string // its folder in pages
	email string // empty: nobody is signed in
	path  string
}

// looks are all pages, with much, little and no data. TestLooks fails where a page is missing.
var looks = []look{
	{"signin", "signin", "", "/signin"},
	{"signin-issuer", "signin", "", "/signin/callback"},
	{"signin-next", "signin", "", "/apps"},
	{"notfound", "problem", "viewer@acme.example", "/apps/none/analytics"},
	{"apps", "apps", "viewer@acme.example", "/apps"},
	{"apps-many", "apps", "operator@example.com", "/apps"},
	{"apps-search-none", "apps", "operator@example.com", "/apps?q=nothing"},
	{"analytics-none", "analytics", "viewer@acme.example", "/apps/idle/analytics"},
	{"analytics", "analytics", "viewer@acme.example", "/apps/acme/analytics?sort=-share"},
	{"analytics-member", "analytics", "viewer@acme.example", "/apps/acme/analytics?member=m-1"},
	{"analytics-much", "analytics", "operator@example.com", "/apps/much/analytics?sort=-used"},
}

// gallery is a site with data for all looks, and a browser in which they are looked at.
type gallery struct {
	*site
	browser  context.Context
	sessions map[string]string // cookies of those who look, by email
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
	if err := s.registry.Grant(t.Context(), registry.Grant{Email: "viewer@acme.example", Application: "idle", Role: registry.Viewer}, ""); err != nil {
		t.Fatal(err)
	}
	g := &gallery{site: s, browser: testkit.Chromium(t), sessions: map[string]string{}}
	for _, l := range looks {
		if l.email == "" || g.sessions[l.email] != "" {
			continue
		}
		b := s.browser(l.email)
		g.sessions[l.email] = b.client.Jar.Cookies(b.request("GET", "/", nil).URL)[0].Value
	}
	return g
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
	maxPicture = 150 << 10
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
	if _, err := chromedp.Call(ctx, network.ClearBrowserCookies, cdp.Empty{}); err != nil {
		return err
	}
	if session := g.sessions[l.email]; session != "" {
		if _, err := chromedp.Call(ctx, network.SetCookie, network.SetCookieParams{Name: "perdiem", Value: session, URL: g.server.URL}); err != nil {
			return err
		}
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		return err
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(s.width, s.height), chromedp.Navigate(g.server.URL+l.path), chromedp.WaitVisible("#content")); err != nil {
		return fmt.Errorf("opening: %w", err)
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
