package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/perdiem/perdiem/usage"
)

const (
	// webhookTime is how long a webhook may take, from the look-up of its name to the end of its answer.
	webhookTime = 15 * time.Second
	// answerRead is how much of an answer is read, so that a connection can be used again. Nothing in it matters.
	answerRead = 4 << 10
)

// Webhooks sends messages to webhooks, signed as Standard Webhooks has it (github.com/standard-webhooks/standard-webhooks,
// spec/standard-webhooks.md, "Webhook headers" and "Signature scheme"). It is safe for concurrent use.
type Webhooks struct {
	client *http.Client
	now    func() time.Time
}

// NewWebhooks returns Webhooks that may be sent to the public internet, and to the ranges of addresses besides.
func NewWebhooks(mayReach []netip.Prefix, now func() time.Time) *Webhooks {
	dialer := &net.Dialer{Timeout: webhookTime, Control: reach{mayReach}.control}
	return &Webhooks{now: now, client: &http.Client{
		Timeout: webhookTime,
		// An answer that leads elsewhere is none: what it names was not checked when the webhook was set.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// No proxy: it would do the dialling, and reach what it likes.
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    webhookTime,
			MaxResponseHeaderBytes: 16 << 10,
			MaxIdleConns:           16,
			MaxConnsPerHost:        16,
			IdleConnTimeout:        30 * time.Second,
			DisableCompression:     true,
		},
	}}
}

// Send sends a message to the webhook of the settings. It was taken where the answer's status is 2xx. The error says nothing of the
// webhook's address but the host's, since its path may be a secret.
func (w *Webhooks) Send(ctx context.Context, s usage.AlertSettings, m usage.AlertMessage) error {
	key, err := s.WebhookKey()
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.WebhookURL, strings.NewReader(m.Body))
	if err != nil {
		return errors.New("the webhook's address cannot be read")
	}
	at := strconv.FormatInt(w.now().Unix(), 10)
	// Go would write these names as Webhook-Id; the names of headers have no case.
	r.Header.Set("Webhook-Id", m.ID)
	r.Header.Set("Webhook-Timestamp", at)
	r.Header.Set("Webhook-Signature", "v1,"+sign(key, m.ID, at, m.Body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "perdiem")
	answer, err := w.client.Do(r)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // without the address
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.URL.Host, err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, answerRead) // what is longer costs the connection
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return &statusError{r.URL.Host, answer.StatusCode}
	}
	return nil
}

// sign returns the signature of a message in base64.
func sign(key []byte, id, at, body string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + at + "." + body)) // a hash never fails
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
