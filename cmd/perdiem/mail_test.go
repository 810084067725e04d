package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/usage"
)

// TestAlertsReachMailboxes has calls through the gateway come to limits, and finds what a real mail server gets of it within 5 s.
func TestAlertsReachMailboxes(t *testing.T) {
	for name, c := range map[string]struct {
		server testkit.MailpitOptions
		smtp   string // besides host, port and from
		portal string // a line of the configuration
		link   string // at the end of the text
	}{
		"STARTTLS, a password and a portal": {
			server: testkit.MailpitOptions{StartTLS: true, User: "gw", Password: "right"}, smtp: `user: gw, password: "file:smtp.secret", ca: mail.pem`,
			portal: "portal_url: https://developers.example/p\n", link: "https://developers.example/p/apps/acme/analytics\n",
		},
		"TLS from the start": {server: testkit.MailpitOptions{ImplicitTLS: true}, smtp: "tls: implicit, ca: mail.pem"},
		"without encryption": {smtp: "tls: none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testkit.StartMailpit(t, c.server)
			upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			defer upstream.Close()
			folder := t.TempDir()
			writeFile(t, folder, "smtp.secret", "right\n")
			writeFile(t, folder, "mail.pem", string(server.Certificate))
			writeFile(t, folder, "catalog.yaml", "catch_all: {application: 100, member: 4}\napplications: [{id: acme}]\n")
			writeFile(t, folder, "perdiem.yaml", fmt.Sprintf(`
listen: {gateway: "127.0.0.1:0", portal: "127.0.0.1:0", admin: "127.0.0.1:0", ops: "127.0.0.1:0"}
upstream: %s
catalog: catalog.yaml
identity: [headers: {application: X-App, member: X-Member, from: [127.0.0.1]}]
smtp: {host: localhost, port: %d, from: perdiem@gw.example, %s}
`, upstream.URL, server.Port, c.smtp)+c.portal)
			n, err := startHere(t, folder)
			if err != nil {
				t.Fatal(err)
			}
			addresses := []string{"dev@acme.example", "ops@acme.example"}
			set := func(usage.AlertSettings) (usage.AlertSettings, error) {
				return usage.AlertSettings{Mail: addresses}, nil
			}
			if _, err := n.registry.EditAlertSettings(t.Context(), "acme", set, "ann"); err != nil {
				t.Fatal(err)
			}
			call := func(count int, member string) {
				t.Helper()
				for range count {
					r, err := http.NewRequest(http.MethodGet, "http://"+n.address.Gateway+"/x", http.NoBody)
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("X-App", "acme")
					if member != "" {
						r.Header.Set("X-Member", member)
					}
					answer, err := http.DefaultClient.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					answer.Body.Close()
					if answer.StatusCode != http.StatusOK {
						t.Fatal(answer.Status)
					}
				}
			}
			told := 0
			hear := func(text string) {
				t.Helper()
				letters := server.Await(t, told+len(addresses), 5*time.Second)
				if len(letters) != told+len(addresses) {
					t.Fatalf("after 5 s %d letters came, want %d: %+v", len(letters), told+len(addresses), letters)
				}
				var to []string
				for _, l := range letters[told:] {
					if l.From.Address != "perdiem@gw.example" || len(l.To) != 1 || len(l.Bcc) != 0 || l.Subject != "Application acme is near a limit" || l.Username != c.server.User {
						t.Errorf("%+v", l)
					}
					to = append(to, l.To[0].Address)
					got := strings.ReplaceAll(l.Text, "\r\n", "\n")
					day := n.book.Day()
					want := fmt.Sprintf("Calls of application acme on %s have come near to these limits:\n\n%s\nThe limits reset at %s UTC. Calls beyond a limit are refused with status 429 until then.\n%s",
						day.Date, text, day.End.UTC().Format(time.DateTime), c.link)
					if got != want {
						t.Errorf("to %s:\n%s\nwant\n%s", l.To[0].Address, got, want)
					}
				}
				if slices.Sort(to); !slices.Equal(to, addresses) {
					t.Errorf("told %v, want %v", to, addresses)
				}
				told = len(letters)
			}
			call(3, "m-1")
			hear("*: members have used 75 % or more of their limit:\n  m-1 (75 %)\n")
			call(72, "")
			hear("*: 75 of the application's 100 calls are used (alert at 75 %).\n")

			// Further members are summed up, in a minute or by the node that starts next.
			call(3, "m-2")
			call(3, "m-3")
			if err := n.stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n, err = startHere(t, folder); err != nil {
				t.Fatal(err)
			}
			hear("*: members have used 75 % or more of their limit:\n  m-2 (75 %)\n  m-3 (75 %)\n")
			if err := n.stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if letters := server.Letters(t); len(letters) != told {
				t.Errorf("%d letters came, want %d", len(letters), told)
			}
		})
	}
}
