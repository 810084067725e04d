package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/registry"
)

// TestTestCall makes the portal's test call at a gateway, with TLS and without, and where it answers for some hosts alone.
func TestTestCall(t *testing.T) {
	for name, extra := range map[string]string{
		"plain": "",
		"TLS":   "tls: {gateway: {cert: gw.pem, key: gw.key}}\n",
		"hosts": "hosts: [\"*.api.example:8443\"]\n",
	} {
		t.Run(name, func(t *testing.T) {
			upstream := newUpstream()
			t.Cleanup(upstream.Close)
			folder := t.TempDir()
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			text, key, err := testkit.Certificate(time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
			must(err)
			must(os.WriteFile(filepath.Join(folder, "gw.pem"), text, 0o600))
			must(os.WriteFile(filepath.Join(folder, "gw.key"), key, 0o600))
			writeFile(t, folder, "perdiem.yaml", fmt.Sprintf("listen: {gateway: \"127.0.0.1:0\", portal: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", ops: \"127.0.0.1:0\"}\nupstream: %s\ncatalog: catalog.yaml\n%s", upstream.URL, extra))
			writeFile(t, folder, "catalog.yaml", portalCatalog)
			c, err := readConfig(filepath.Join(folder, "perdiem.yaml"), getenv)
			must(err)
			n, err := startNode(t.Context(), c, nodeOptions{Log: slog.New(slog.DiscardHandler), Now: time.Now})
			must(err)
			t.Cleanup(func() { must(n.stop(context.Background())) })
			secret, hash := n.tokenKey.NewToken()
			_, err = n.registry.IssueToken(t.Context(), registry.NewToken{Hash: hash, Application: "acme"})
			must(err)
			call := n.testCall()
			for i, want := range []int{200, 200, 200, 429} { // of posts.find the application has three
				status, header, err := call(t.Context(), "GET", "/rest/posts", secret)
				if err != nil || status != want || header.Get("RateLimit") == "" {
					t.Fatalf("call %d: %d %v, %v", i+1, status, header, err)
				}
			}
			report, err := n.usage.Today(t.Context(), "acme", "")
			must(err)
			if len(report.Endpoints) != 1 || report.Endpoints[0].Application.Used != 3 {
				t.Errorf("counted: %+v", report.Endpoints)
			}
			if name != "TLS" {
				return
			}
			// Something else that listens there gets no token: its certificate is another.
			other, otherKey, err := testkit.Certificate(time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
			must(err)
			must(os.WriteFile(filepath.Join(folder, "gw.pem"), other, 0o600))
			must(os.WriteFile(filepath.Join(folder, "gw.key"), otherKey, 0o600))
			held := n.pairs["gateway"]
			pairs, err := c.openPairs()
			must(err)
			n.pairs["gateway"] = pairs["gateway"]
			impostor := n.testCall()
			n.pairs["gateway"] = held
			if _, _, err := impostor(t.Context(), "GET", "/rest/posts", secret); err == nil || !strings.Contains(err.Error(), "another certificate") {
				t.Errorf("a gateway with another certificate: %v", err)
			}
		})
	}
}

// Without a gateway, or one that believes perdiem's tokens, there is no test call.
func TestNoTestCall(t *testing.T) {
	if call := (&node{}).testCall(); call != nil {
		t.Error("a call without a gateway")
	}
}

// TestPortalCredentials is an admin's way in a real browser, with scripts and without: a token is issued, calls, and is revoked; the portal makes a
// test call; each is counted where it is admitted.
func TestPortalCredentials(t *testing.T) {
	for _, scripts := range []bool{true, false} {
		t.Run(fmt.Sprintf("scripts=%v", scripts), func(t *testing.T) {
			s := openPortalStage(t)
			s.must(s.node.registry.Grant(t.Context(), registry.Grant{Email: "dana@acme.example", Application: "acme", Role: registry.Admin}, ""))
			s.browser = testkit.Chromium(t)
			_, err := chromedp.Call(s.browser, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !scripts})
			s.must(err)
			s.do(
				chromedp.Navigate(s.url("/apps/acme/credentials")), chromedp.WaitVisible("#password"),
				chromedp.SendKeys("#email", "dana@acme.example"), chromedp.SendKeys("#password", portalPassword), chromedp.Submit("#password"),
				chromedp.WaitVisible("#lifetime"), chromedp.Submit("#lifetime"), chromedp.WaitVisible("#secret"),
			)
			if copies := is[int](s, `document.querySelectorAll(".secret button").length`); (copies == 1) != scripts {
				t.Errorf("%d buttons that copy", copies)
			}
			s.token = is[string](s, `document.getElementById("secret").textContent`)
			if status := s.call(); status != 200 {
				t.Fatalf("a call with the token: %d", status)
			}

			s.do(
				chromedp.Navigate(s.url("/apps/acme/call?endpoint=posts.find")), chromedp.WaitVisible("button:not(.plain):not(.quiet)"),
				chromedp.Click("button:not(.plain):not(.quiet)"), chromedp.WaitVisible("#result-title"),
			)
			if says := is[string](s, `document.getElementById("result-title").textContent`); says != "200 OK" {
				t.Errorf("the test call: %s", says)
			}
			s.do(chromedp.Navigate(s.url("/apps/acme/analytics")), chromedp.WaitVisible("#usage"))
			s.await(scripts, field("application-used")+` === "2"`)

			// The newest token is the test call's.
			s.do(chromedp.Navigate(s.url("/apps/acme/credentials")), chromedp.WaitVisible("#tokens"))
			s.do(chromedp.Click(`#tokens tr:nth-child(2) button`), chromedp.WaitVisible(".confirm"), chromedp.Click("button.danger"), chromedp.WaitVisible(".done"))
			if status := s.call(); status != 401 {
				t.Errorf("a call with the revoked token: %d", status)
			}
		})
	}
}
