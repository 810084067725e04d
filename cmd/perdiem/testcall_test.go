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
