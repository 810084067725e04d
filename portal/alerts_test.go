package portal

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

// alerts returns the settings of acme.
func (s *site) alerts() usage.AlertSettings {
	s.Helper()
	settings, err := s.registry.AlertSettings(s.Context(), "acme")
	if err != nil {
		s.Fatal(err)
	}
	return settings
}

// setAlerts sets an application's settings.
func (s *site) setAlerts(application string, to usage.AlertSettings) error {
	_, err := s.registry.EditAlertSettings(s.Context(), application, func(usage.AlertSettings) (usage.AlertSettings, error) { return to, nil }, "")
	return err
}

func TestAlerts(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser("admin@acme.example")
	if page := b.get("/apps/acme/alerts"); !strings.Contains(page.body, `value="75, 90, 100"`) || strings.Contains(page.body, "Make a new secret") {
		t.Errorf("unless told: %s", page.body)
	}
	const hook = "https://hooks.example/T0P/secret-path"
	form := url.Values{"thresholds": {"90%, 60 90"}, "mail": {"ann@acme.example\r\n bob@acme.example \r\n"}, "url": {hook}}
	page, _ := b.follow("/apps/acme/alerts", form)
	first := secretOn(page)
	got := s.alerts()
	if !slices.Equal(got.Thresholds, []int{60, 90}) || !slices.Equal(got.Mail, []string{"ann@acme.example", "bob@acme.example"}) || got.WebhookURL != hook || got.WebhookSecret != first || !strings.HasPrefix(first, "whsec_") {
		t.Errorf("saved: %+v, and shown %q", got, first)
	}
	if e := s.audited(); e.Actor != "admin@acme.example" || e.Action != registry.ActionSetAlerts || strings.Contains(e.After, first) {
		t.Errorf("the audit says %+v", e)
	}
	if again := b.get("/apps/acme/alerts"); strings.Contains(again.body, first) || !strings.Contains(again.body, "Make a new secret") {
		t.Errorf("the secret is shown again: %s", again.body)
	}

	// What is saved again keeps the secret, also with another address.
	form.Set("url", "https://hooks.example/other")
	if page, _ := b.follow("/apps/acme/alerts", form); !strings.Contains(page.body, "Saved") || s.alerts().WebhookSecret != first {
		t.Errorf("saved again: %+v", s.alerts())
	}
	if asked := b.post("/apps/acme/alerts/secret", nil); asked.status != 200 || s.alerts().WebhookSecret != first {
		t.Errorf("before it is sure: %d, %+v", asked.status, s.alerts())
	}
	renewed, _ := b.follow("/apps/acme/alerts/secret", url.Values{"sure": {"yes"}})
	if second := secretOn(renewed); second == first || second == "" || s.alerts().WebhookSecret != second {
		t.Errorf("renewed: %q", second)
	}

	viewer := s.browser("viewer@acme.example").get("/apps/acme/alerts")
	if !strings.Contains(viewer.body, "60, 90 %") || !strings.Contains(viewer.body, "hooks.example") || strings.Contains(viewer.body, "hooks.example/") || strings.Contains(viewer.body, "<textarea") {
		t.Errorf("a viewer sees %s", viewer.body)
	}

	b.follow("/apps/acme/alerts", url.Values{"thresholds": {"75, 90, 100"}, "mail": {""}, "url": {""}})
	if got := s.alerts(); len(got.Thresholds)+len(got.Mail) != 0 || got.WebhookURL+got.WebhookSecret != "" {
		t.Errorf("emptied: %+v", got)
	}
}

func TestAlertTest(t *testing.T) {
	s := openSite(t, sample)
	now := at
	s.portal.Now = func() time.Time { return now }
	b := s.browser("admin@acme.example")
	if page, _ := b.follow("/apps/acme/alerts/test", nil); !strings.Contains(page.body, "nobody to send a test to") {
		t.Errorf("a test to nobody: %s", page.body)
	}
	for range 2 { // one to nobody was none
		if page, _ := b.follow("/apps/acme/alerts/test", nil); !strings.Contains(page.body, "on its way") {
			t.Errorf("a test: %s", page.body)
		}
		if got := b.post("/apps/acme/alerts/test", nil); got.status != 429 || !strings.Contains(got.body, "One test of alerts in ten minutes") {
			t.Errorf("another at once: %d %s", got.status, got.body)
		}
		now = now.Add(testEvery)
	}
	if s.tested.Load() != 3 {
		t.Errorf("%d tests were sent", s.tested.Load())
	}
}

// What became of the last attempts is told, of a webhook by its host alone.
func TestAlertDeliveries(t *testing.T) {
	s := openSite(t, sample)
	if page := s.browser("admin@acme.example").get("/apps/acme/alerts"); strings.Contains(page.body, "deliveries") {
		t.Errorf("before anything was sent: %s", page.body)
	}
	if err := s.setAlerts("acme", usage.AlertSettings{Mail: []string{"ann@acme.example"}, WebhookURL: "https://hooks.example/hidden", WebhookSecret: usage.NewWebhookSecret()}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []usage.Delivery{
		{Channel: usage.ByMail("ann@acme.example"), At: at.Add(-time.Hour), Problem: "The mail server refused it, with code 550.", Again: at.Add(-time.Minute)},
		{Channel: usage.ByWebhook, At: at.Add(-time.Minute), Problem: "It answered with status 500.", Again: at.Add(20 * time.Minute)},
	} {
		if err := s.registry.NoteDelivery(t.Context(), usage.AlertMessage{ID: "msg_1", Application: "acme", Channel: d.Channel}, d); err != nil {
			t.Fatal(err)
		}
	}
	for _, email := range []string{"admin@acme.example", "viewer@acme.example"} {
		got := s.browser(email).get("/apps/acme/alerts").one(t, "deliveries")
		for _, want := range []string{"ann@acme.example", "code 550", "hooks.example", "status 500", "Tried again at " + at.Add(20*time.Minute).UTC().Format("15:04:05")} {
			if !strings.Contains(got, want) {
				t.Errorf("%s is not told %q: %s", email, want, got)
			}
		}
		if strings.Contains(got, "hidden") || strings.Count(got, "Tried again") != 1 {
			t.Errorf("%s is told: %s", email, got)
		}
	}
	taken := usage.Delivery{Channel: usage.ByWebhook, At: at}
	if err := s.registry.NoteDelivery(t.Context(), usage.AlertMessage{ID: "msg_1", Application: "acme", Channel: taken.Channel}, taken); err != nil {
		t.Fatal(err)
	}
	if got := s.browser("admin@acme.example").get("/apps/acme/alerts").one(t, "deliveries"); !strings.Contains(got, "● Taken") || strings.Contains(got, "500") {
		t.Errorf("when it was taken: %s", got)
	}
}

func TestAlertErrors(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser("admin@acme.example")
	before := s.alerts()
	for _, c := range []struct{ field, value string }{
		{"thresholds", "49"},
		{"thresholds", "101"},
		{"thresholds", "75.5"},
		{"thresholds", "many"},
		{"thresholds", "50 51 52 53 54 55 56 57 58 59 60"},
		{"mail", "nobody"},
		{"mail", "a@b.example a@b.example"},
		{"mail", strings.Repeat("a@b.example\n", 11)},
		{"mail", "Ann <ann@acme.example>"},
		{"url", "hooks.example"},
		{"url", "ftp://hooks.example"},
		{"url", "https://user:pw@hooks.example/"},
		{"url", "javascript:alert(1)"},
		{"url", "https://" + strings.Repeat("a", 2000) + ".example"},
	} {
		got := b.post("/apps/acme/alerts", url.Values{c.field: {c.value}})
		problems := all(got.document(t), having("class", "error"))
		if got.status != 422 || len(problems) != 1 {
			t.Errorf("%s %q: %d, %d problems", c.field, c.value, got.status, len(problems))
			continue
		}
		if id, _ := attribute(problems[0], "id"); id != c.field+"-problem" {
			t.Errorf("%s %q: the problem is %s", c.field, c.value, id)
		}
	}
	if got := s.alerts(); len(got.Channels()) != len(before.Channels()) || len(got.Thresholds) != 0 {
		t.Errorf("something was saved: %+v", got)
	}
}

// Where there is no mail server, it is said beside the addresses, of what was saved, and of a test.
func TestAlertsWithoutMail(t *testing.T) {
	const says = "whoever runs this API has not set up a mail server"
	without := openSite(t, sample, func(o *Options) { o.MailsAlerts = false })
	b := without.browser("admin@acme.example")
	if page := b.get("/apps/acme/alerts"); !strings.Contains(page.one(t, "mail-help"), says) {
		t.Errorf("the form: %s", page.one(t, "mail-help"))
	}
	form := url.Values{"mail": {"ann@acme.example"}, "url": {""}}
	if page, _ := b.follow("/apps/acme/alerts", form); !strings.Contains(page.notice(t), "Saved") || !strings.Contains(page.notice(t), says) {
		t.Errorf("saved: %s", page.notice(t))
	}
	if page, _ := b.follow("/apps/acme/alerts/test", nil); !strings.Contains(page.notice(t), says) {
		t.Errorf("tested: %s", page.notice(t))
	}
	form.Set("mail", "")
	if page, _ := b.follow("/apps/acme/alerts", form); strings.Contains(page.notice(t), says) {
		t.Errorf("saved without an address: %s", page.notice(t))
	}
	b = openSite(t, sample).browser("admin@acme.example")
	form.Set("mail", "ann@acme.example")
	if page, _ := b.follow("/apps/acme/alerts", form); strings.Contains(page.body, says) {
		t.Errorf("with a mail server: %s", page.body)
	}
}

// notice returns the words about what was done.
func (r reply) notice(t *testing.T) string {
	t.Helper()
	var said []string
	for _, n := range all(r.document(t), having("role", "status")) {
		said = append(said, words(n))
	}
	return strings.Join(said, " ")
}
