package usage

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

// AlertSettings say when and how the people of an application are warned before a wall. Without an address and a webhook nobody is.
type AlertSettings struct {
	Thresholds    []int    `json:"thresholds,omitempty"`    // percent of a limit, ascending, each from 50 to 100, up to 10; none: 75, 90 and 100
	Mail          []string `json:"mail,omitempty"`          // addresses, up to 10
	WebhookURL    string   `json:"webhookUrl,omitempty"`    // empty: none
	WebhookSecret string   `json:"webhookSecret,omitempty"` // "whsec_" and the base64 of 24 to 64 bytes, as Standard Webhooks has it
}

const (
	leastThreshold = 50 // of what lies below, nobody tells: see [Near]
	maxThresholds  = 10
	maxAddresses   = 10
	maxAddressSize = 254 // RFC 5321 4.5.3.1.3, less the angle brackets
	maxURLSize     = 2000
	secretPrefix   = "whsec_"
)

var defaultThresholds = []int{75, 90, 100}

// At returns the thresholds that hold.
func (s AlertSettings) At() []int {
	if len(s.Thresholds) == 0 {
		return defaultThresholds
	}
	return s.Thresholds
}

// Channels returns by which ways somebody is to be warned.
func (s AlertSettings) Channels() (channels []AlertChannel) {
	if s.WebhookURL != "" {
		channels = append(channels, ByWebhook)
	}
	for _, address := range s.Mail {
		channels = append(channels, ByMail(address))
	}
	return channels
}

// Validate reports, as [fault.Invalid], what is wrong with the settings first. Whether a webhook may be reached is known when it is called.
func (s AlertSettings) Validate() error {
	switch {
	case len(s.Thresholds) > maxThresholds:
		return fault.New(fault.Invalid, "%d thresholds: give up to %d", len(s.Thresholds), maxThresholds)
	case len(s.Mail) > maxAddresses:
		return fault.New(fault.Invalid, "%d addresses: give up to %d", len(s.Mail), maxAddresses)
	case (s.WebhookURL == "") != (s.WebhookSecret == ""):
		return fault.New(fault.Invalid, "a webhook has an address and a secret: give both or neither")
	}
	for i, t := range s.Thresholds {
		if t < leastThreshold || t > 100 || i > 0 && t <= s.Thresholds[i-1] {
			return fault.New(fault.Invalid, "threshold %d: give percentages from %d to 100, each higher than the one before", t, leastThreshold)
		}
	}
	for i, address := range s.Mail {
		if !validAddress(address) {
			return fault.New(fault.Invalid, "address %.64q: give it as name@host.example, without the name of a person", address)
		}
		if slices.Contains(s.Mail[:i], address) {
			return fault.New(fault.Invalid, "address %.64q is given twice", address)
		}
	}
	if s.WebhookURL == "" {
		return nil
	}
	if u, err := url.Parse(s.WebhookURL); err != nil || len(s.WebhookURL) > maxURLSize || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return fault.New(fault.Invalid, "webhook %.64q: give an address as https://host.example/path, or http://, without a user", s.WebhookURL)
	}
	if key, err := s.WebhookKey(); err != nil || len(key) < 24 || len(key) > 64 {
		return fault.New(fault.Invalid, "the webhook's secret: give %s and 24 to 64 bytes in base64", secretPrefix)
	}
	return nil
}

// WithSecret returns the settings with a secret for their webhook where they have a webhook and none: that of the settings before, or a fresh
// one, which made tells.
func (s AlertSettings) WithSecret(before AlertSettings) (_ AlertSettings, made bool) {
	if s.WebhookURL == "" || s.WebhookSecret != "" {
		return s, false
	}
	if s.WebhookSecret = before.WebhookSecret; s.WebhookSecret == "" {
		s.WebhookSecret, made = NewWebhookSecret(), true
	}
	return s, made
}

// RenewSecret returns the settings with a fresh secret for their webhook; [fault.Conflict] where they have none.
func (s AlertSettings) RenewSecret() (AlertSettings, error) {
	if s.WebhookURL == "" {
		return s, fault.New(fault.Conflict, "The application has no webhook, and so no secret of one.")
	}
	s.WebhookSecret = NewWebhookSecret()
	return s, nil
}

// WebhookHost returns the host of the webhook, with its port where one is told; empty where there is none. Its path may be a secret.
func (s AlertSettings) WebhookHost() string {
	if u, err := url.Parse(s.WebhookURL); err == nil {
		return u.Host
	}
	return ""
}

// Recipient returns to whom a channel of the settings leads, as it may be shown: an address, or the webhook's host.
func (s AlertSettings) Recipient(c AlertChannel) string {
	if c == ByWebhook {
		return s.WebhookHost()
	}
	return c.Address()
}

// NewWebhookSecret returns a fresh secret for a webhook: 32 random bytes.
func NewWebhookSecret() string {
	var key [32]byte
	rand.Read(key[:]) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key[:])
}

// WebhookKey returns the bytes that the webhook's messages are signed with.
func (s AlertSettings) WebhookKey() ([]byte, error) {
	text, ok := strings.CutPrefix(s.WebhookSecret, secretPrefix)
	if !ok {
		return nil, fault.New(fault.Invalid, "the webhook's secret does not begin with %s", secretPrefix)
	}
	return base64.StdEncoding.Strict().DecodeString(text)
}

// validAddress reports whether text is one bare address of mail, in ASCII: nothing in it can end a line of a header or a command.
func validAddress(text string) bool {
	if len(text) > maxAddressSize || strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII || r <= ' ' || r == 0x7f }) {
		return false
	}
	parsed, err := mail.ParseAddress(text)
	return err == nil && parsed.Name == "" && parsed.Address == text
}

// AlertChannel is by which way, and to whom, an alert is delivered: [ByWebhook], or what [ByMail] returns.
type AlertChannel string

// ByWebhook is the channel of an application's webhook.
const ByWebhook AlertChannel = "webhook"

const mailPrefix = "mail:"

// ByMail returns the channel of an address.
func ByMail(address string) AlertChannel { return AlertChannel(mailPrefix + address) }

// AlertWay is a way by which alerts are delivered.
type AlertWay string

// The ways.
const (
	WebhookWay AlertWay = "webhook"
	MailWay    AlertWay = "mail"
)

// Way returns the channel's way.
func (c AlertChannel) Way() AlertWay {
	way, _, _ := strings.Cut(string(c), ":")
	return AlertWay(way)
}

// Address returns the address of a channel of mail.
func (c AlertChannel) Address() string {
	_, address, _ := strings.Cut(string(c), ":")
	return address
}

// Crossing says that a limit has come to a threshold of its application's settings.
type Crossing struct {
	Application string
	Endpoint    string
	Member      string // whose limit it is; empty: the application's
	Threshold   int    // percent: the highest that was crossed
}

// AlertMessage is what is to be delivered by one channel.
type AlertMessage struct {
	ID          string // "msg_" and some random characters: the same however often it is tried
	Application string
	Channel     AlertChannel
	Body        string    // JSON
	Created     time.Time // to the millisecond, as is Due
	Due         time.Time // when it is to be tried next
	Attempts    int       // that failed
}

// Delivery is what became of the last attempt to deliver a message by a channel.
type Delivery struct {
	Channel AlertChannel
	At      time.Time // to the millisecond, as is Again
	Problem string    // why the message was not taken, in a sentence for the application's people; empty: it was
	Again   time.Time // when it is tried again; zero where it was taken
}

const (
	// MaxDueAlerts is the most messages that are read at a time.
	MaxDueAlerts = 256
	// MaxDueAlertsOf is the most of them of one application: those of one whose webhook hangs do not keep those of others from being read.
	MaxDueAlertsOf = 4
)

// AlertStore keeps the settings of alerts, what was told today, and the messages under way, over restarts. With an application that is removed from
// the catalog all that is kept of it goes. Implementations are safe for concurrent use; errors are of package fault. Package registrytest holds what each of them must do.
type AlertStore interface {
	// AlertSettings returns an application's settings: zero where none were set. They hold a secret.
	AlertSettings(ctx context.Context, application string) (AlertSettings, error)
	// AllAlertSettings returns the settings of all applications that have some, and their version, which changes whenever any of them does. Where
	// that is the version that is known already, it returns none. 0 is no version.
	AllAlertSettings(ctx context.Context, known int64) (all map[string]AlertSettings, version int64, err error)
	// EditAlertSettings sets an application's settings to what edit makes of those that are kept, while nobody else changes them; edit must
	// not call the store. It returns what is kept then. The audit tells of a change, without the secret. The error is edit's, [fault.NotFound]
	// where the catalog has no such application, or [fault.Invalid] as in [AlertSettings.Validate]: nothing is changed then.
	EditAlertSettings(ctx context.Context, application string, edit func(was AlertSettings) (AlertSettings, error), actor string) (AlertSettings, error)

	// RaiseAlerts keeps crossings of a day, of each limit the highest threshold, and messages that tell of them: all or nothing. Crossings
	// of earlier days are removed. Of applications that the catalog does not have nothing is kept: they may have been removed a moment ago.
	RaiseAlerts(ctx context.Context, day quota.Date, crossings []Crossing, messages []AlertMessage) error
	// RaisedAlerts returns the crossings of a day.
	RaisedAlerts(ctx context.Context, day quota.Date) ([]Crossing, error)

	// DueAlerts returns up to limit messages to be delivered by a way, 1 to [MaxDueAlerts], that are due at now: those that failed least before
	// others, then those due first. Of each application it returns up to [MaxDueAlertsOf], in that order.
	DueAlerts(ctx context.Context, way AlertWay, now time.Time, limit int) ([]AlertMessage, error)
	// NoteDelivery notes what became of an attempt to deliver a message, by its channel: one that was taken is forgotten, another is tried again at
	// d.Again, one more attempt having failed. There may be no such message. Of a channel that the settings no longer have nothing is kept.
	NoteDelivery(ctx context.Context, m AlertMessage, d Delivery) error
	// Deliveries returns the last delivery by each channel of an application's settings by which one was tried, in order of the channels. Those of a
	// webhook begin anew with each change of its address.
	Deliveries(ctx context.Context, application string) ([]Delivery, error)
	// ForgetAlerts forgets messages, by whichever way they were to be delivered, that were made at upTo or before: up to [MaxDueAlerts] at a time. It
	// returns them.
	ForgetAlerts(ctx context.Context, upTo time.Time) ([]AlertMessage, error)
}
