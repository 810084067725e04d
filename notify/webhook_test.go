package notify

import (
	"context"
	"encoding/base64"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdiem/perdiem/usage"
)

var (
	loopback = prefixes("127.0.0.0/8", "::1/128")
	secret   = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret of twenty-four."))
)

func now() time.Time { return time.Unix(1_700_000_000, 0) }

// send sends a message to a webhook at u, from where loopback may be reached.
func send(t *testing.T, u string) error {
	t.Helper()
	return NewWebhooks(loopback, now).Send(t.Context(), usage.AlertSettings{WebhookURL: u, WebhookSecret: secret}, usage.AlertMessage{ID: "msg_1", Body: `{"a": "日"}`})
}

func TestWebhook(t *testing.T) {
	var got *http.Request
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got, body = r, string(data)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	if err := send(t, server.URL+"/hook?a=b"); err != nil {
		t.Fatal(err)
	}
	if got.Method != http.MethodPost || got.URL.String() != "/hook?a=b" || body != `{"a": "日"}` || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s %q %v", got.Method, got.URL, body, got.Header)
	}
	for name, want := range map[string]string{
		"webhook-id":        "msg_1",
		"webhook-timestamp": "1700000000",
		// printf 'msg_1.1700000000.{"a": "日"}' | openssl dgst -sha256 -hmac 'a secret of twenty-four.' -binary | base64
		"webhook-signature": "v1,xCfg/tGdC1P4RSaRHms5jwPFkqmXBbtepB2w5kNfMm4=",
	} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
}

func TestWebhookThatTakesNothing(t *testing.T) {
	var reached atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		case "/long-header":
			w.Header().Set("X-Long", strings.Repeat("a", 64<<10))
		case "/cut":
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	for path, want := range map[string]struct{ failure, problem string }{
		"/broken?token=hidden": {"status 500", "It answered with status 500."},
		"/moved":               {"status 307", "It answered with status 307."},
		"/long-header":         {"exceeded", "It could not be reached."},
		"/cut":                 {"EOF", "It could not be reached."},
	} {
		err := send(t, server.URL+path)
		if got := problem(usage.WebhookWay, err); got != want.problem {
			t.Errorf("%s: people are told %q, want %q", path, got, want.problem)
		}
		if err == nil || !strings.Contains(err.Error(), want.failure) || !strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "/cut") {
			t.Errorf("%s: %v, want %q", path, err, want.failure)
		}
	}
	if reached.Load() {
		t.Error("a redirection was followed")
	}
}

// An answer without an end is not read to its end.
func TestWebhookWithAnEndlessAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	if err := send(t, server.URL); err != nil {
		t.Error(err)
	}
}

// A webhook that does not answer is given up with its context.
func TestWebhookThatHangs(t *testing.T) {
	arrived, done := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(arrived); <-done }))
	defer server.Close()
	defer close(done)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	err := NewWebhooks(loopback, now).Send(ctx, usage.AlertSettings{WebhookURL: server.URL, WebhookSecret: secret}, usage.AlertMessage{ID: "msg_1"})
	if err == nil {
		t.Error("it was taken")
	}
}

// Whoever trusts nobody's certificate is told that it is the certificate.
func TestWebhookWithoutAValidCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	err := send(t, server.URL)
	if got := problem(usage.WebhookWay, err); got != "Its certificate is not valid." {
		t.Errorf("people are told %q: %v", got, err)
	}
}

func TestWebhookThatTakesTooLong(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	err := NewWebhooks(loopback, now).Send(ctx, usage.AlertSettings{WebhookURL: server.URL, WebhookSecret: secret}, usage.AlertMessage{ID: "msg_1"})
	if got := problem(usage.WebhookWay, err); got != "It did not answer in time." {
		t.Errorf("people are told %q: %v", got, err)
	}
}

// Nothing listens, or is asked, where webhooks must not reach: by address, in any spelling, or by name.
func TestWebhookThatMustNotBeReached(t *testing.T) {
	var reached atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "169.254.169.254", "[::ffff:10.0.0.1]", "[::ffff:127.0.0.1]", "[::1]", "[64:ff9b::7f00:1]", "0.0.0.0", "[::]", "10.0.0.1", "100.64.0.1", "2130706433", "0x7f000001", "127.1"} {
		address := "http://" + net.JoinHostPort(strings.Trim(host, "[]"), u.Port())
		err := NewWebhooks(nil, now).Send(t.Context(), usage.AlertSettings{WebhookURL: address, WebhookSecret: secret}, usage.AlertMessage{ID: "msg_1"})
		if err == nil {
			t.Errorf("%s was reached", address)
		} else if netip.MustParsePrefix("::/0").Contains(parse(host)) || parse(host).Is4() || host == "localhost" {
			if !strings.Contains(err.Error(), "not an address of the public internet") {
				t.Errorf("%s: %v", address, err)
			}
			if got := problem(usage.WebhookWay, err); got != nowhere {
				t.Errorf("%s: people are told %q", address, got)
			}
		}
	}
	if reached.Load() {
		t.Error("it was reached")
	}
	// A name that nobody has is told of as one that leads to where webhooks must not go: which names the node finds is not for others to know.
	err = NewWebhooks(nil, now).Send(t.Context(), usage.AlertSettings{WebhookURL: "http://nobody.invalid", WebhookSecret: secret}, usage.AlertMessage{ID: "msg_1"})
	if got := problem(usage.WebhookWay, err); got != nowhere {
		t.Errorf("of a name that is not found people are told %q: %v", got, err)
	}
}

const nowhere = "Its name is not found, or leads to no address on the public internet."

func parse(host string) netip.Addr {
	a, _ := netip.ParseAddr(strings.Trim(host, "[]"))
	return a
}

func TestWebhookOfNoUse(t *testing.T) {
	for _, s := range []usage.AlertSettings{{}, {WebhookURL: "http://127.0.0.1", WebhookSecret: "x"}, {WebhookURL: "http://%zz", WebhookSecret: secret}} {
		if err := NewWebhooks(loopback, now).Send(t.Context(), s, usage.AlertMessage{}); err == nil {
			t.Errorf("%+v was sent to", s)
		}
	}
}
