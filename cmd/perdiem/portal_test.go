package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/registry"
)

const portalCatalog = `
endpoints:
  - {id: posts.find, match: GET /rest/posts, application: 3, member: 50}
  - {id: posts.create, match: POST /rest/posts, application: 10, member: 5}
catch_all: {application: 1000, member: 100}
applications: [{id: acme, name: Acme Scheduler}, {id: beta}]
`

const portalPassword = "a long enough password"

// portalStage is a node with a portal, a browser, and somebody who calls the gateway.
type portalStage struct {
	*testing.T
	node    *node
	later   atomic.Int64 // by how many nanoseconds the node's clock is ahead
	browser context.Context
	token   string
}

func openPortalStage(t *testing.T) *portalStage {
	s := &portalStage{T: t}
	upstream := newUpstream()
	t.Cleanup(upstream.Close)
	folder := t.TempDir()
	reset := time.Now().UTC().Add(time.Hour).Format("15:04:05")
	writeFile(t, folder, "perdiem.yaml", fmt.Sprintf(`listen: {gateway: "127.0.0.1:0", portal: "127.0.0.1:0", admin: "127.0.0.1:0", ops: "127.0.0.1:0"}
upstream: %s
catalog: catalog.yaml
identity: [{tokens: {}}, {headers: {application: X-App-Id, member: X-Member-Id, from: [127.0.0.0/8]}}]
day: {starts: %q}
`, upstream.URL, reset))
	writeFile(t, folder, "catalog.yaml", portalCatalog)
	c, err := readConfig(filepath.Join(folder, "perdiem.yaml"), getenv)
	s.must(err)
	now := func() time.Time { return time.Now().Add(time.Duration(s.later.Load())) }
	s.node, err = startNode(t.Context(), c, nodeOptions{Log: slog.New(slog.DiscardHandler), Now: now})
	s.must(err)
	t.Cleanup(func() {
		began := time.Now()
		s.must(s.node.stop(context.Background()))
		if took := time.Since(began); took > 10*time.Second { // the browser's page is live
			t.Errorf("the node took %v to stop", took)
		}
	})
	hash, err := s.node.passwords.Hash(t.Context(), portalPassword)
	s.must(err)
	for email, application := range map[string]string{"dana@acme.example": "acme", "eve@beta.example": "beta"} {
		_, err := s.node.registry.AddAccount(t.Context(), registry.NewAccount{Email: email, Password: hash}, "")
		s.must(err)
		s.must(s.node.registry.Grant(t.Context(), registry.Grant{Email: email, Application: application, Role: registry.Viewer}, ""))
	}
	secret, tokenHash := s.node.tokenKey.NewToken()
	_, err = s.node.registry.IssueToken(t.Context(), registry.NewToken{Hash: tokenHash, Application: "acme", Member: "m-1"})
	s.must(err)
	s.token = secret
	return s
}

func (s *portalStage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *portalStage) url(path string) string { return "http://" + s.node.address.Portal + path }

// call makes a call through the gateway, and returns its status.
func (s *portalStage) call() int {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+s.node.address.Gateway+"/rest/posts", nil)
	s.must(err)
	r.Header.Set("Authorization", "Bearer "+s.token)
	answer, err := http.DefaultClient.Do(r)
	s.must(err)
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	s.must(err)
	return answer.StatusCode
}

// do does something in the browser, within its patience.
func (s *portalStage) do(steps ...chromedp.Action[chromedp.Void]) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.browser, testkit.BrowserPatience)
	defer cancel()
	s.must(chromedp.Do(ctx, steps...))
}

// is returns what an expression is on the page.
func is[T any](s *portalStage, expression string) T {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.browser, testkit.BrowserPatience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	s.must(err)
	return value
}

// field is what a cell of the table #usage has for programs, of the endpoint posts.find; "none" where it is not there.
func field(name string) string {
	return fmt.Sprintf(`(document.querySelector('#usage tr[data-endpoint="posts.find"] [data-field="%s"]')?.dataset.value ?? "none")`, name)
}

// await waits until an expression is true on the page, which reads again where it is not live.
func (s *portalStage) await(live bool, expression string) {
	s.Helper()
	for began := time.Now(); !is[bool](s, expression); {
		if time.Since(began) > patience {
			s.Fatalf("in vain: %s\n%s", expression, is[string](s, "document.querySelector('main').innerText"))
		}
		if !live {
			s.do(chromedp.Reload())
		}
	}
}

// TestPortalJourney is a developer's way from sign-in to the reset, in a real browser; live, and without scripts.
func TestPortalJourney(t *testing.T) {
	for _, live := range []bool{true, false} {
		t.Run(fmt.Sprintf("scripts=%v", live), func(t *testing.T) {
			s := openPortalStage(t)
			s.browser = testkit.Chromium(t)
			_, err := chromedp.Call(s.browser, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !live})
			s.must(err)
			s.do(
				chromedp.Navigate(s.url("/")), chromedp.WaitVisible("#password"),
				chromedp.SendKeys("#email", "dana@acme.example"), chromedp.SendKeys("#password", portalPassword), chromedp.Submit("#password"),
				chromedp.WaitVisible("#applications"),
			)
			if apps := is[[]string](s, `[...document.querySelectorAll("[data-application]")].map(row => row.dataset.application)`); strings.Join(apps, " ") != "acme" {
				t.Fatalf("the list has %v", apps)
			}
			s.do(chromedp.Click(`[data-application="acme"] a`), chromedp.WaitVisible("#no-usage"))
			if rows := is[int](s, `document.querySelectorAll("#usage [data-endpoint]").length`); rows != 0 {
				t.Fatalf("%d rows before any call", rows)
			}
			if live {
				s.await(live, `document.getElementById("state").textContent === "Live"`)
				is[int](s, `window.stayed = 1`)
			}

			if status := s.call(); status != http.StatusOK {
				t.Fatalf("the call: %d", status)
			}
			began := time.Now()
			s.await(live, field("application-used")+` === "1"`)
			if took := time.Since(began); live && took > 2*time.Second {
				t.Errorf("the row appeared after %v", took)
			}
			check := func() {
				t.Helper()
				for name, want := range map[string]string{
					"application-used": "1", "application-limit": "3", "application-remaining": "2", "member-limit": "50", "refused": "0",
				} {
					if got := is[string](s, field(name)); got != want {
						t.Errorf("%s is %s, want %s", name, got, want)
					}
				}
				if ids := is[[]string](s, `[...document.querySelectorAll("#usage [data-endpoint]")].map(row => row.dataset.endpoint)`); strings.Join(ids, " ") != "posts.find" {
					t.Errorf("the table has %v", ids)
				}
				if is[bool](s, `document.getElementById("no-usage") !== null`) {
					t.Error("the page says that nothing was called")
				}
			}
			check()
			if live && is[int](s, `window.stayed ?? 0`) != 1 {
				t.Error("the page was loaded again meanwhile")
			}
			s.do(chromedp.Reload(), chromedp.WaitVisible("#usage"))
			check()

			for range 10 {
				if s.call() == http.StatusTooManyRequests {
					break
				}
			}
			s.await(live, field("refused")+` === "1" && `+field("application-remaining")+` === "0"`)
			if says := is[string](s, `document.querySelector('#usage [data-field="share"]').innerText`); !strings.Contains(says, "■ At the limit") {
				t.Errorf("at the limit the page says %q", says)
			}

			s.later.Store(int64(time.Hour + time.Second))
			s.await(live, `document.querySelectorAll("#usage [data-endpoint]").length === 0 && document.getElementById("no-usage") !== null`)
		})
	}
}

// TestPortalWithoutBrowser asks for an application that was granted to somebody else, and for usage with a token.
func TestPortalWithoutBrowser(t *testing.T) {
	s := openPortalStage(t)
	jar, err := cookiejar.New(nil)
	s.must(err)
	client := &http.Client{Jar: jar}
	answer, err := client.PostForm(s.url("/signin"), url.Values{"email": {"eve@beta.example"}, "password": {portalPassword}})
	s.must(err)
	answer.Body.Close()
	s.call()
	for _, c := range []struct {
		path, header, value string
		status              int
		says                string
	}{
		{"/apps/beta/analytics", "", "", 200, "No calls today"},
		{"/apps/acme/analytics", "", "", 404, "Not found"},
		{"/apps/acme/live", "", "", 404, ""},
		{"/v1/usage", "Authorization", "Bearer " + s.token, 200, `"member":{"id":"m-1","limit":50,"used":1,"remaining":49,"refused":0}`},
		{"/v1/usage", "X-App-Id", "acme", 401, ""},
		{"/v1/usage?member=m-2", "Authorization", "Bearer " + s.token, 403, ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url(c.path), nil)
		s.must(err)
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		answer, err := client.Do(r)
		s.must(err)
		body, err := io.ReadAll(answer.Body)
		s.must(err)
		answer.Body.Close()
		if answer.StatusCode != c.status || !strings.Contains(string(body), c.says) {
			t.Errorf("%s: %d %s", c.path, answer.StatusCode, body)
		}
	}
}

// What the portal's commands call is told, or else follows from where the gateway and the portal are.
func TestGatewayURL(t *testing.T) {
	for _, c := range []struct{ config, listens, want string }{
		{"", "127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"", "0.0.0.0:8080", "http://127.0.0.1:8080"},
		{"", "", ""},
		{"portal_url: https://developers.example/portal", "0.0.0.0:8080", "http://developers.example:8080"},
		{"portal_url: https://developers.example:8443", "[::]:8080", "http://developers.example:8080"},
		{"portal_url: 'https://[2001:db8::1]'", "[::]:8080", "http://[2001:db8::1]:8080"},
		{"portal_url: https://developers.example", "192.0.2.1:8080", "http://192.0.2.1:8080"},
		{"portal_url: https://developers.example", "127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"portal_url: https://developers.example", "", ""},
		{"portal_url: https://developers.example\ngateway_url: https://api.example/v1/", "0.0.0.0:8080", "https://api.example/v1"},
		{"gateway_url: https://api.example", "127.0.0.1:8080", "https://api.example"},
		{"gateway_url: https://api.example", "", "https://api.example"}, // another node's
		{"gateway_url: \"https://api.example/it's\"", "127.0.0.1:8080", "https://api.example/it%27s"},
		{"gateway_url: https://api.example\nidentity: [{headers: {application: X-App-Id, from: [127.0.0.0/8]}}]", "127.0.0.1:8080", ""},
	} {
		config, err := parseConfig("perdiem.yaml", []byte(c.config), getenv)
		if err != nil {
			t.Fatal(err)
		}
		n := &node{config: config, address: addresses{Gateway: c.listens}}
		if got := n.gatewayURL(); got != c.want {
			t.Errorf("%q, listening at %s: %q, want %q", c.config, c.listens, got, c.want)
		}
	}
}
