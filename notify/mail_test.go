package notify

import (
	"crypto/x509"
	"encoding/json"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/usage"
)

// strict is a mail server that takes nothing without STARTTLS and a password.
var strict = testkit.MailpitOptions{StartTLS: true, User: "gw", Password: "right"}

// alertTo returns a message to an address.
func alertTo(t *testing.T, address, application, member string) usage.AlertMessage {
	t.Helper()
	at := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	body, err := json.Marshal(usage.Alert{Type: usage.AlertType, Timestamp: at, Data: usage.AlertData{
		Application: application, Day: "2026-11-23", ResetsAt: at.Add(6 * time.Hour), Limits: []usage.AlertLimit{
			{Kind: "application", Endpoint: "posts.create", Threshold: 75, Limit: 500, Used: 380},
			{Kind: "member", Endpoint: "posts.find", Threshold: 90, Members: []usage.NearMember{{ID: member, Percent: 92}}},
		}, MoreMembers: 7,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return usage.AlertMessage{ID: "msg_1", Application: application, Channel: usage.ByMail(address), Body: string(body)}
}

func page(application string) string {
	return "https://portal.example/p/apps/" + url.PathEscape(application) + "/analytics"
}

func mailTo(t *testing.T, s *testkit.Mailpit, change func(*MailOptions)) *Mail {
	t.Helper()
	o := MailOptions{Host: "127.0.0.1", Port: s.Port, User: "gw", Password: "right", From: "perdiem@gw.example", Page: page}
	if s.Certificate != nil {
		o.Roots = x509.NewCertPool()
		o.Roots.AppendCertsFromPEM(s.Certificate)
	}
	change(&o)
	m, err := NewMail(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// one returns the only letter that came, its header and its text.
func one(t *testing.T, s *testkit.Mailpit) (testkit.Letter, mail.Header, string) {
	t.Helper()
	letters := s.Letters(t)
	if len(letters) != 1 {
		t.Fatalf("%d letters came: %+v", len(letters), letters)
	}
	m, err := mail.ReadMessage(strings.NewReader(string(s.Raw(t, letters[0]))))
	if err != nil {
		t.Fatal(err)
	}
	if encoding := m.Header.Get("Content-Transfer-Encoding"); encoding != "quoted-printable" {
		t.Errorf("the text is encoded by %q", encoding)
	}
	raw, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return letters[0], m.Header, strings.ReplaceAll(string(raw), "\r\n", "\n")
}

func TestMail(t *testing.T) {
	s := testkit.StartMailpit(t, strict)
	m := mailTo(t, s, func(*MailOptions) {})
	if err := m.Send(t.Context(), usage.AlertSettings{}, alertTo(t, "ops@acme.example", "acmé", "m-日")); err != nil {
		t.Fatal(err)
	}
	l, header, text := one(t, s)
	if l.From.Address != "perdiem@gw.example" || len(l.To) != 1 || l.To[0].Address != "ops@acme.example" || len(l.Bcc) != 0 || l.Username != "gw" {
		t.Errorf("it came as %+v", l)
	}
	for name, want := range map[string]string{
		"From": "<perdiem@gw.example>", "To": "<ops@acme.example>", "Message-Id": "<msg_1@gw.example>", "Date": "Mon, 23 Nov 2026 18:00:00 +0000", "Auto-Submitted": "auto-generated",
		"Return-Path": "<perdiem@gw.example>", // of the envelope
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject")); subject != "Application acmé is near a limit" || err != nil {
		t.Errorf("subject %q, %v", subject, err)
	}
	const want = `Calls of application acmé on 2026-11-23 have come near to these limits:

posts.create: 380 of the application's 500 calls are used (alert at 75 %).

posts.find: members have used 90 % or more of their limit:
  m-日 (92 %)

7 more limits of members are near, less so than these.

The limits reset at 2026-11-24 00:00:00 UTC. Calls beyond a limit are refused with status 429 until then.
https://portal.example/p/apps/acm%C3%A9/analytics
`
	if strings.TrimSpace(text) != strings.TrimSpace(want) {
		t.Errorf("text:\n%s", text)
	}
}

func TestMailOfATest(t *testing.T) {
	s := testkit.StartMailpit(t, strict)
	m := mailTo(t, s, func(*MailOptions) {})
	message := alertTo(t, "ops@acme.example", "acme\r\nBcc: x@y.example", "m-1")
	message.Body = strings.Replace(message.Body, usage.AlertType, usage.TestAlertType, 1)
	if err := m.Send(t.Context(), usage.AlertSettings{}, message); err != nil {
		t.Fatal(err)
	}
	_, header, text := one(t, s)
	subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
	if err != nil || !strings.HasPrefix(subject, "Test of the alerts of application acme") || header.Get("Bcc") != "" || !strings.Contains(text, "No limit is near.") || strings.Contains(text, "come near") {
		t.Errorf("%v\n%s", header, text)
	}
}

// Names that come from outside end no line, neither of a header nor of the text, and name nobody else: Mailpit adds a Bcc where the envelope does.
func TestMailTakesNoOrders(t *testing.T) {
	s := testkit.StartMailpit(t, strict)
	m := mailTo(t, s, func(*MailOptions) {})
	bad := "a\r\nBcc: all@acme.example\r\n\r\n.\r\nRSET\u2028\u202e"
	if err := m.Send(t.Context(), usage.AlertSettings{}, alertTo(t, "ops@acme.example", bad, bad)); err != nil {
		t.Fatal(err)
	}
	_, header, text := one(t, s)
	if header.Get("Bcc") != "" || strings.Contains(text, "\nBcc") || strings.Contains(text, "\n.") || strings.ContainsAny(text, "\u2028\u202e") || !strings.Contains(text, "have come near") {
		t.Errorf("%v\n%s", header, text)
	}
	for _, address := range []string{"a@b.example\r\nBcc: c@d.example", "a@b.example, c@d.example", "", "a@b.example>\r\nRCPT TO:<c@d.example"} {
		if err := m.Send(t.Context(), usage.AlertSettings{}, alertTo(t, address, "acme", "m")); err == nil {
			t.Errorf("sent to %q", address)
		}
	}
	if letters := s.Letters(t); len(letters) != 1 {
		t.Errorf("%d letters came", len(letters))
	}
}

func TestMailEncryption(t *testing.T) {
	anonymous := func(o *MailOptions) { o.User, o.Password = "", "" }
	plain, encrypted, implicit := testkit.MailpitOptions{}, testkit.MailpitOptions{StartTLS: true}, testkit.MailpitOptions{ImplicitTLS: true}
	for _, test := range []struct {
		name   string
		server testkit.MailpitOptions // one that has encryption takes nothing without
		change func(*MailOptions)
		sent   bool
	}{
		{"required, and there", encrypted, anonymous, true},
		{"required, and not there", plain, anonymous, false},
		{"implicit, and there", implicit, func(o *MailOptions) { o.Encryption = ImplicitTLS; anonymous(o) }, true},
		{"implicit, and not there", encrypted, func(o *MailOptions) { o.Encryption = ImplicitTLS; anonymous(o) }, false},
		{"opportunistic, and there", encrypted, func(o *MailOptions) { o.Encryption = Opportunistic; anonymous(o) }, true},
		{"opportunistic, and not there", plain, func(o *MailOptions) { o.Encryption = Opportunistic; anonymous(o) }, true},
		{"none", plain, func(o *MailOptions) { o.Encryption = Unencrypted; anonymous(o) }, true},
		{"none, though there is", encrypted, func(o *MailOptions) { o.Encryption = Unencrypted; anonymous(o) }, false},
		{"a stranger's certificate", encrypted, func(o *MailOptions) { o.Roots = x509.NewCertPool(); anonymous(o) }, false},
		{"a password", strict, func(*MailOptions) {}, true},
		{"a wrong password", strict, func(o *MailOptions) { o.Password = "wrong" }, false},
		{"a password, and TLS from the start", testkit.MailpitOptions{ImplicitTLS: true, User: "gw", Password: "right"}, func(o *MailOptions) { o.Encryption = ImplicitTLS }, true},
		{"no password", strict, anonymous, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := testkit.StartMailpit(t, test.server)
			err := mailTo(t, s, test.change).Send(t.Context(), usage.AlertSettings{}, alertTo(t, "ops@acme.example", "acme", "m"))
			letters := s.Letters(t)
			if (err == nil) != test.sent || len(letters) > 1 || (len(letters) == 1) != test.sent {
				t.Fatalf("%v, got %+v", err, letters)
			}
			if err != nil && (strings.Contains(err.Error(), "right") || strings.Contains(err.Error(), "wrong")) {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestMailThatIsNotTaken(t *testing.T) {
	s := testkit.StartMailpit(t, testkit.MailpitOptions{StartTLS: true, User: "gw", Password: "right", Recipients: "^ops@"})
	m := mailTo(t, s, func(*MailOptions) {})
	err := m.Send(t.Context(), usage.AlertSettings{}, alertTo(t, "nobody@acme.example", "acme", "m"))
	if err == nil || len(s.Letters(t)) != 0 {
		t.Errorf("%v, got %+v", err, s.Letters(t))
	}
	if got := problem(usage.MailWay, err); got != "The mail server refused it, with code 550." {
		t.Errorf("people are told %q: %v", got, err)
	}
	err = mailTo(t, s, func(o *MailOptions) { o.Password = "wrong" }).Send(t.Context(), usage.AlertSettings{}, alertTo(t, "ops@acme.example", "acme", "m"))
	if got := problem(usage.MailWay, err); err == nil || strings.Contains(got, "gw") || !strings.HasPrefix(got, "The mail server ") {
		t.Errorf("people are told %q: %v", got, err)
	}
	for _, o := range []MailOptions{{}, {Host: "h"}, {Host: "h", From: "nobody"}, {Host: "h", Port: 25, From: "a@b.example", User: "u", Password: "p", Encryption: Unencrypted}} {
		if _, err := NewMail(o); err == nil {
			t.Errorf("%+v are taken", o)
		}
	}
}
