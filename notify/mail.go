package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode"

	"github.com/wneessen/go-mail"

	"github.com/perdiem/perdiem/usage"
)

// mailTime is how long a message may take to be handed to the mail server.
const mailTime = 15 * time.Second

// Encryption says how the connection to the mail server is kept from others.
type Encryption int

// The ways to encrypt. The zero value is the safe one.
const (
	StartTLS      Encryption = iota // STARTTLS, or no mail is sent
	ImplicitTLS                     // TLS from the start
	Opportunistic                   // STARTTLS where the server offers it
	Unencrypted                     // not at all
)

// MailOptions are what [NewMail] needs. Host, Port and From are required.
type MailOptions struct {
	Host       string
	Port       int
	Encryption Encryption
	User       string // empty: the server asks for none
	Password   string
	From       string         // the address that mail comes from
	Roots      *x509.CertPool // whom to believe of the server; nil: whom the machine believes
	// Page returns where browsers find the page of an application; nil: mail names none.
	Page func(application string) string
}

// Mail hands messages to a mail server. It is safe for concurrent use.
type Mail struct {
	o      MailOptions
	domain string // of From
}

// NewMail returns Mail, or an error that says what is wrong with the options.
func NewMail(o MailOptions) (*Mail, error) {
	_, domain, ok := strings.Cut(o.From, "@")
	if o.Host == "" || !ok {
		return nil, errors.New("notify: MailOptions need a Host and an address that mail is From")
	}
	if o.User != "" && o.Encryption == Unencrypted {
		return nil, errors.New("notify: a password is not sent without encryption")
	}
	m := &Mail{o: o, domain: domain}
	_, err := m.client(m.dial)
	return m, err
}

func (m *Mail) client(dial mail.DialContextFunc) (*mail.Client, error) {
	options := []mail.Option{mail.WithPort(m.o.Port), mail.WithTimeout(mailTime), mail.WithTLSConfig(m.tls()), mail.WithDialContextFunc(dial)}
	switch m.o.Encryption {
	case Opportunistic, ImplicitTLS: // inside TLS no server offers STARTTLS (RFC 3207, section 4.2)
		options = append(options, mail.WithTLSPolicy(mail.TLSOpportunistic))
	case Unencrypted:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if m.o.User != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.o.User), mail.WithPassword(m.o.Password))
	}
	return mail.NewClient(m.o.Host, options...)
}

func (m *Mail) tls() *tls.Config {
	return &tls.Config{ServerName: m.o.Host, MinVersion: tls.VersionTLS12, RootCAs: m.o.Roots}
}

// dial connects to the mail server.
func (m *Mail) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if m.o.Encryption == ImplicitTLS {
		return (&tls.Dialer{Config: m.tls()}).DialContext(ctx, network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Send hands a message to the mail server, for the address of its channel.
func (m *Mail) Send(ctx context.Context, _ usage.AlertSettings, message usage.AlertMessage) error {
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	var alert usage.Alert
	if err := json.Unmarshal([]byte(message.Body), &alert); err != nil {
		return err
	}
	letter := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(letter.From(m.o.From), letter.To(message.Channel.Address())); err != nil {
		return err
	}
	subject, text := "Application "+alert.Data.Application+" is near a limit", m.text(alert.Data)
	if alert.Type == usage.TestAlertType {
		subject = "Test of the alerts of application " + alert.Data.Application
		text = oneLine("Somebody asked on the Developer Portal for a test of the alerts of application "+alert.Data.Application+". No limit is near.") + "\n"
	}
	letter.Subject(oneLine(subject))
	letter.SetDateWithValue(alert.Timestamp)
	letter.SetMessageIDWithValue(message.ID + "@" + m.domain)
	letter.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 5: nothing answers it by itself
	letter.SetBodyString(mail.TypeTextPlain, text)
	// go-mail leaves a connection open whose encryption or sign-in fails.
	var connection net.Conn
	defer func() {
		if connection != nil {
			_ = connection.Close()
		}
	}()
	client, err := m.client(func(ctx context.Context, network, address string) (_ net.Conn, err error) {
		connection, err = m.dial(ctx, network, address)
		return connection, err
	})
	if err != nil {
		return err
	}
	return client.DialAndSendWithContext(ctx, letter)
}

// text says in words what an alert says.
func (m *Mail) text(d usage.AlertData) string {
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString(oneLine(fmt.Sprintf(format, args...)) + "\n") }
	line("Calls of application %s on %s have come near to these limits:", d.Application, d.Day)
	for _, l := range d.Limits {
		b.WriteString("\n")
		if len(l.Members) == 0 {
			line("%s: %d of the application's %d calls are used (alert at %d %%).", l.Endpoint, l.Used, l.Limit, l.Threshold)
			continue
		}
		line("%s: members have used %d %% or more of their limit:", l.Endpoint, l.Threshold)
		for _, member := range l.Members {
			line("  %s (%d %%)", member.ID, member.Percent)
		}
	}
	if d.MoreMembers > 0 {
		b.WriteString("\n")
		line("%d more limits of members are near, less so than these.", d.MoreMembers)
	}
	b.WriteString("\n")
	line("The limits reset at %s. Calls beyond a limit are refused with status 429 until then.", d.ResetsAt.Format("2006-01-02 15:04:05 MST"))
	if m.o.Page != nil {
		line("%s", m.o.Page(d.Application))
	}
	return b.String()
}

// oneLine takes out of a text whatever could end its line or turn it around: names come from outside.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Cf) {
			return '\uFFFD'
		}
		return r
	}, text)
}
