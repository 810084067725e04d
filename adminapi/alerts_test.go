package adminapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

func TestAlerts(t *testing.T) {
	const path = "/admin/v1/alerts"
	h := newHost(t)
	h.apply()
	get := func() adminapi.AlertSettings {
		t.Helper()
		w := h.ask("GET", path+"?application=acme", "")
		if strings.Contains(w.Body.String(), "whsec_") {
			t.Errorf("a secret is told again: %s", w.Body)
		}
		var s adminapi.AlertSettings
		h.want(200, w, &s)
		return s
	}
	put := func(body string) adminapi.KeptAlertSettings {
		t.Helper()
		var s adminapi.KeptAlertSettings
		h.want(200, h.ask("PUT", path, body), &s)
		return s
	}
	secret := func() string {
		t.Helper()
		s, err := h.registry.AlertSettings(t.Context(), "acme")
		check(t, err)
		return s.WebhookSecret
	}

	standard := adminapi.AlertSettings{Application: "acme", Thresholds: []int{75, 90, 100}}
	if diff := cmp.Diff(standard, get()); diff != "" {
		t.Errorf("of an application whose were never set (-want +got):\n%s", diff)
	}
	const whole = `{"application": "acme", "thresholds": [50, 100], "mail": ["ops@acme.example"], "webhookUrl": "https://hooks.example/1"}`
	want := adminapi.AlertSettings{Application: "acme", Thresholds: []int{50, 100}, Mail: []string{"ops@acme.example"}, WebhookURL: "https://hooks.example/1"}
	made := put(whole).WebhookSecret
	if made == "" || made != secret() {
		t.Errorf("the secret %q was told, and %q is kept", made, secret())
	}
	if diff := cmp.Diff(want, get()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	entries := h.audit()
	if again := put(whole); again.WebhookSecret != "" || secret() != made || len(h.audit()) != len(entries) {
		t.Errorf("the same again changed something: %+v", again)
	}
	if elsewhere := put(strings.Replace(whole, "hooks.example/1", "hooks.example/2", 1)); elsewhere.WebhookSecret != "" || secret() != made {
		t.Error("another address of the webhook changed its secret")
	}
	const own = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	if told := put(strings.Replace(whole, `"webhookUrl"`, `"webhookSecret": "`+own+`", "webhookUrl"`, 1)); told.WebhookSecret != "" || secret() != own {
		t.Errorf("a secret that was given: told %q, kept %q", told.WebhookSecret, secret())
	}
	if put(`{"application": "acme"}`); secret() != "" {
		t.Error("a webhook's secret outlives it")
	}
	if diff := cmp.Diff(standard, get()); diff != "" {
		t.Errorf("set back (-want +got):\n%s", diff)
	}
	if renewed := put(whole).WebhookSecret; renewed == "" || renewed == made {
		t.Errorf("a webhook that is set again has the secret %q, and had %q", renewed, made)
	}

	before := secret()
	for body, status := range map[string]int{
		`{"application": "nobody", "webhookUrl": "https://hooks.example/1"}`:                                404,
		`{"application": "acme", "webhookUrl": "ftp://hooks.example/1"}`:                                    400,
		`{"application": "acme", "webhookUrl": "https://ann:pw@hooks.example/1"}`:                           400,
		`{"application": "acme", "webhookSecret": "` + own + `"}`:                                           400, // without a webhook
		`{"application": "acme", "webhookUrl": "https://hooks.example", "webhookSecret": "whsec_c2hvcnQ="}`: 400,
		`{"application": "acme", "thresholds": [90, 75]}`:                                                   400,
		`{"application": "acme", "thresholds": [20]}`:                                                       400,
		`{"application": "acme", "mail": ["ann@example.com\r\nBcc: all@example.com"]}`:                      400,
		`{"application": "acme", "mail": ["ann@example.com", "ann@example.com"]}`:                           400,
	} {
		detail := h.wantProblem(status, map[int]string{400: "BAD_REQUEST", 404: "NOT_FOUND"}[status], h.ask("PUT", path, body))
		if strings.Contains(detail, own) || strings.Contains(detail, "c2hvcnQ") {
			t.Errorf("the answer repeats the secret: %s", detail)
		}
	}
	h.wantProblem(404, "NOT_FOUND", h.ask("GET", path+"?application=nobody", ""))
	if diff := cmp.Diff(want, get()); diff != "" || secret() != before {
		t.Errorf("what was refused changed something (-want +got):\n%s", diff)
	}
	var renewed adminapi.KeptAlertSettings
	h.want(200, h.ask("POST", path+"/secret", `{"application": "acme"}`), &renewed)
	if renewed.WebhookSecret == before || renewed.WebhookSecret != secret() || renewed.WebhookURL != want.WebhookURL {
		t.Errorf("renewed: %+v, and %q is kept", renewed, secret())
	}
	var test adminapi.AlertTest
	if h.want(200, h.ask("POST", path+"/test", `{"application": "acme"}`), &test); test.Messages != 2 {
		t.Errorf("a test is on its way by %d messages, want 2", test.Messages)
	}
	h.wantProblem(404, "NOT_FOUND", h.ask("POST", path+"/secret", `{"application": "nobody"}`))
	h.wantProblem(404, "NOT_FOUND", h.ask("POST", path+"/test", `{"application": "nobody"}`))
	h.wantProblem(409, "CONFLICT", h.ask("POST", path+"/secret", `{"application": "a/b"}`))
	put(strings.Replace(whole, "hooks.example/1", "elsewhere.example/1", 1))
	if e := h.audit()[0]; !strings.Contains(e.Before, "webhook to hooks.example") || !strings.Contains(e.After, "webhook to elsewhere.example") {
		t.Errorf("of a webhook that leads elsewhere the audit says %+v", e)
	}
	for _, e := range h.audit() {
		if strings.Contains(e.Before+e.After, "whsec_") || strings.Contains(e.Before+e.After, ".example/") {
			t.Errorf("the audit tells what is secret: %+v", e)
		}
	}
}

func (h *host) audit() []registry.AuditEntry {
	h.t.Helper()
	entries, err := h.registry.Audit(h.t.Context(), 0, 1000)
	check(h.t, err)
	return entries
}

// newest returns the newest entry of the audit.
func (h *host) newest() registry.AuditEntry {
	h.t.Helper()
	entries, err := h.registry.Audit(h.t.Context(), 0, 1)
	check(h.t, err)
	return entries[0]
}

// What became of the last alerts is told, of a webhook by its host alone.
func TestAlertDeliveries(t *testing.T) {
	const path = "/admin/v1/alerts/deliveries?application="
	h := newHost(t)
	h.apply()
	if w := h.ask("GET", path+"nobody", ""); w.Code != 404 {
		t.Errorf("of an unknown application: %d", w.Code)
	}
	deliveries := func() (told adminapi.AlertDeliveries) {
		t.Helper()
		h.want(200, h.ask("GET", path+"acme", ""), &told)
		return told
	}
	if got := deliveries(); got.Deliveries == nil || len(got.Deliveries) != 0 {
		t.Errorf("before anything was sent: %+v", got)
	}
	h.want(200, h.ask("PUT", "/admin/v1/alerts", `{"application": "acme", "mail": ["ops@acme.example"], "webhookUrl": "https://hooks.example/hidden"}`), &adminapi.KeptAlertSettings{})
	at := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	again := at.Add(time.Minute)
	for _, d := range []usage.Delivery{
		{Channel: usage.ByMail("ops@acme.example"), At: at},
		{Channel: usage.ByWebhook, At: at, Problem: "It answered with status 500.", Again: again},
	} {
		check(t, h.registry.NoteDelivery(t.Context(), usage.AlertMessage{ID: "msg_1", Application: "acme", Channel: d.Channel}, d))
	}
	want := adminapi.AlertDeliveries{Deliveries: []adminapi.AlertDelivery{
		{To: "ops@acme.example", Way: "mail", At: at},
		{To: "hooks.example", Way: "webhook", At: at, Problem: "It answered with status 500.", Again: &again},
	}}
	if diff := cmp.Diff(want, deliveries()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSignOut(t *testing.T) {
	h := newHost(t)
	h.want(201, h.ask("POST", "/admin/v1/users", `{"email": "ann@example.com"}`), nil)
	before, err := h.registry.Account(t.Context(), "ann@example.com")
	check(t, err)
	s := registry.Session{Hash: registry.Hash{1}, Email: before.Email, Stamp: before.Stamp, Expires: h.Day().End}
	check(t, h.registry.KeepSession(t.Context(), s))
	h.want(204, h.ask("DELETE", "/admin/v1/users/sessions?email=Ann@example.com", ""), nil)
	if _, err := h.registry.Session(t.Context(), s.Hash); err == nil {
		t.Error("a session goes on")
	}
	if err := h.registry.KeepSession(t.Context(), s); err == nil {
		t.Error("a session that was about to be kept goes on")
	}
	if e := h.newest(); e.Actor != h.actor() || e.Action != registry.ActionEndSessions || e.Subject != "account ann@example.com" {
		t.Errorf("the audit ends with %+v", e)
	}
	h.wantProblem(404, "NOT_FOUND", h.ask("DELETE", "/admin/v1/users/sessions?email=bob@example.com", ""))
	h.wantProblem(400, "BAD_REQUEST", h.ask("DELETE", "/admin/v1/users/sessions?email=nobody", ""))
}
