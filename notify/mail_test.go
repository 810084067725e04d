package notify

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/perdiem/perdiem/internal/testkit"
	"github.com/perdiem/perdiem/usage"
)

// mailServer is a mail server on a free port, which keeps what it gets.
type mailServer struct {
	port  int
	roots *x509.CertPool
	mu    sync.Mutex
	got   []letter // guarded by mu
}

// letter is what the server got: the envelope, how it came, and the message itself.
type letter struct {
	from string
	to   []string
	user string
	tls  bool
	data string
}

// serveMail starts a mail server, which offers STARTTLS where it is told to, and asks for a password.
func serveMail(t *testing.T, encrypted, implicit bool) *mailServer {
	t.Helper()
	s := &mailServer{roots: x509.NewCertPool()}
	certificate, key, err := testkit.Certificate(time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	s.roots.AppendCertsFromPEM(certificate)
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &mailSession{server: s, conn: c}, nil }))
	server.Domain = "localhost"
	server.ErrorLog = discard{}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	if encrypted {
		server.TLSConfig = config
	}
	if implicit {
		l = tls.NewListener(l, config)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(l); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = server.Close(); serving.Wait() })
	return s
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

// mailSession is one client's.
type mailSession struct {
	server *mailServer
	conn   *smtp.Conn
	letter letter
}

func (s *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "right" {
			return smtp.ErrAuthFailed
		}
		s.letter.user = user
		return nil
	}), nil
}

func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error { s.letter.from = from; return nil }

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &smtp.SMTPError{Code: 550, Message: "No such user"}
	}
	s.letter.to = append(s.letter.to, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.letter.data = string(data)
	_, s.letter.tls = s.conn.TLSConnectionState()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.got = append(s.server.got, s.letter)
	return nil
}

func (s *mailSession) Reset()        { s.letter = letter{user: s.letter.user} }
func (s *mailSession) Logout() error { return nil }

// alertTo returns a message to an address.
func alertTo(t *testing.T, address, application, member string) usage.AlertMessage {
	t.Helper()
	at := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	body, err := json.Marshal(usage.Alert{Type: usage.AlertType, Timestamp: at, Data: usage.AlertData{
		Application: application, Day: "2026-11-23", ResetsAt: at.Add(6 * time.Hour), Limits: []usage.AlertLimit{
			{Kind: "application", Endpoint: "posts.create", Threshold: 75, Limit: 500, Used: 380},
			{Kind: "member", Endpoint: "posts.find", Threshold: 90, Members: []usage.NearMember{{ID: member, Percent: 92}}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return usage.AlertMessage{ID: "msg_1", Application: application, Channel: usage.ByMail(address), Body: string(body)}
}

func page(application string) string {
	return "https://portal.example/p/apps/" + url.PathEscape(application) + "/analytics"
}

func mailTo(t *testing.T, s *mailServer, change func(*MailOptions)) *Mail {
	t.Helper()
	o := MailOptions{Host: "127.0.0.1", Port: s.port, User: "gw", Password: "right", From: "perdiem@gw.example", Page: page}
	change(&o)
	m, err := NewMail(o)
	if err != nil {
		t.Fatal(err)
	}
	m.roots = s.roots
	return m
}

// read returns a letter's header and text.
func read(t *testing.T, data string) (mail.Header, string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(data))
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
	return m.Header, strings.ReplaceAll(string(raw), "\r\n", "\n")
}

func TestMail(t *testing.T) {
	s := serveMail(t, true, false)
	m := mailTo(t, s, func(*MailOptions) {})
	if err := m.Send(t.Context(), usage.AlertSettings{}, alertTo(t, "ops@acme.example", "acmé", "m-日")); err != nil {
		t.Fatal(err)
	}
	if len(s.got) != 1 {
		t.Fatalf("%d letters came", len(s.got))
	}
	l := s.got[0]
	if l.from != "perdiem@gw.example" || len(l.to) != 1 || l.to[0] != "ops@acme.example" || l.user != "gw" || !l.tls {
		t.Errorf("the envelope is %+v", l)
	}
	header, text := read(t, l.data)
	for name, want := range map[string]string{
		"From": "<perdiem@gw.example>", "To": "<ops@acme.example>", "Message-Id": "<msg_1@gw.example>", "Date": "Mon, 23 Nov 2026 18:00:00 +0000", "Auto-Submitted": "auto-generated",
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

The limits reset at 2026-11-24 00:00:00 UTC. Calls beyond a limit are refused with status 429 until then.
https://portal.example/p/apps/acm%C3%A9/analytics
`
	if strings.TrimSpace(text) != strings.TrimSpace(want) {
		t.Errorf("text:\n%s", text)
	}
}

func TestMailOfATest(t *testing.T) {
	s := serveMail(t, true, false)
	m := mailTo(t, s, func(*MailOptions) {})
	message := alertTo(t, "ops@acme.example", "acme\r\nBcc: x@y.example", "m-1")
	message.Body = strings.Replace(message.Body, usage.AlertType, usage.TestAlertType, 1)
	if err := m.Send(t.Context(), usage.AlertSettings{}, message); err != nil {
		t.Fatal(err)
	}
	header, text := read(t, s.got[0].data)
	subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
	if err != nil || !strings.HasPrefix(subject, "Test of the alerts of application acme") || header.Get("Bcc") != "" || !strings.Contains(text, "No limit is near.") || strings.Contains(text, "come near") {
		t.Errorf("%v\n%s", header, text)
	}
}

// Names that come from outside end no line, neither of a header nor of the text.
func TestMailTakesNoOrders(t *testing.T) {
	s := serveMail(t, true, false)
	m := mailTo(t, s, func(*MailOptions) {})
	bad := "a\r\nBcc: all@acme.example\r\n\r\n.\r\nRSET\u2028\u202e"
	if err := m.Send(t.Context(), usage.AlertSettings{}, alertTo(t, "ops@acme.example", bad, bad)); err != nil {
		t.Fatal(err)
	}
	if len(s.got) != 1 || len(s.got[0].to) != 1 {
		t.Fatalf("got %+v", s.got)
	}
	header, text := read(t, s.got[0].data)
	if header.Get("Bcc") != "" || strings.Contains(text, "\nBcc") || strings.Contains(text, "\n.") || strings.ContainsAny(text, "\u2028\u202e") || !strings.Contains(text, "have come near") {
		t.Errorf("%v\n%s", header, text)
	}
	for _, address := range []string{"a@b.example\r\nBcc: c@d.example", "a@b.example, c@d.example", "", "a@b.example>\r\nRCPT TO:<c@d.example"} {
		if err := m.Send(t.Context(), usage.AlertSettings{}, alertTo(t, address, "acme", "m")); err == nil {
			t.Errorf("sent to %q", address)
		}
	}
	if len(s.got) != 1 {
		t.Errorf("%d letters came", len(s.got))
	}
}

func TestMailEncryption(t *testing.T) {
	anonymous := func(o *MailOptions) { o.User, o.Password = "", "" }
	for _, test := range []struct {
		name                string
		encrypted, implicit bool // the server
		change              func(*MailOptions)
		sent, tls           bool
	}{
		{"required, and there", true, false, func(*MailOptions) {}, true, true},
		{"required, and not there", false, false, anonymous, false, false},
		{"implicit", false, true, func(o *MailOptions) { o.Encryption = ImplicitTLS; anonymous(o) }, true, true},
		{"implicit, and not there", true, false, func(o *MailOptions) { o.Encryption = ImplicitTLS }, false, false},
		{"opportunistic, and there", true, false, func(o *MailOptions) { o.Encryption = Opportunistic }, true, true},
		{"opportunistic, and not there", false, false, func(o *MailOptions) { o.Encryption = Opportunistic; anonymous(o) }, true, false},
		{"none", true, false, func(o *MailOptions) { o.Encryption = Unencrypted; anonymous(o) }, true, false},
		{"a wrong password", true, false, func(o *MailOptions) { o.Password = "wrong" }, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serveMail(t, test.encrypted, test.implicit)
			err := mailTo(t, s, test.change).Send(t.Context(), usage.AlertSettings{}, alertTo(t, "ops@acme.example", "acme", "m"))
			if (err == nil) != test.sent || test.sent && len(s.got) != 1 {
				t.Fatalf("%v, got %+v", err, s.got)
			}
			if err != nil && (strings.Contains(err.Error(), "right") || strings.Contains(err.Error(), "wrong")) {
				t.Errorf("the error tells the password: %v", err)
			}
			if test.sent && s.got[0].tls != (test.tls && !test.implicit) && !test.implicit {
				t.Errorf("encrypted: %t", s.got[0].tls)
			}
		})
	}
	t.Run("a stranger's certificate", func(t *testing.T) {
		s := serveMail(t, true, false)
		m := mailTo(t, s, func(*MailOptions) {})
		m.roots = x509.NewCertPool()
		if err := m.Send(t.Context(), usage.AlertSettings{}, alertTo(t, "ops@acme.example", "acme", "m")); err == nil {
			t.Error("it was believed")
		}
	})
}

func TestMailThatIsNotTaken(t *testing.T) {
	s := serveMail(t, true, false)
	m := mailTo(t, s, func(*MailOptions) {})
	if err := m.Send(t.Context(), usage.AlertSettings{}, alertTo(t, "nobody@acme.example", "acme", "m")); err == nil || len(s.got) != 0 {
		t.Errorf("%v, got %+v", err, s.got)
	}
	for _, o := range []MailOptions{{}, {Host: "h"}, {Host: "h", From: "nobody"}, {Host: "h", Port: 25, From: "a@b.example", User: "u", Password: "p", Encryption: Unencrypted}} {
		if _, err := NewMail(o); err == nil {
			t.Errorf("%+v are taken", o)
		}
	}
}
