package portal

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
	"github.com/perdiem/perdiem/usage"
)

// AlertSettings is what the portal needs of a [usage.AlertStore], as that has it.
type AlertSettings interface {
	AlertSettings(ctx context.Context, application string) (usage.AlertSettings, error)
	Deliveries(ctx context.Context, application string) ([]usage.Delivery, error)
	EditAlertSettings(ctx context.Context, application string, edit func(was usage.AlertSettings) (usage.AlertSettings, error), actor string) (usage.AlertSettings, error)
}

// testEvery is how often an application's alerts are tested at the most.
const testEvery = 10 * time.Minute

// alertsBody is what the tab Alerts is told.
type alertsBody struct {
	App        application
	MayChange  bool
	Done       string
	Secret     string // of the webhook, shown this once
	At         string // the thresholds that hold, for a viewer
	To         []string
	Webhook    string // the host of it, for a viewer: its path may be a secret
	HasWebhook bool
	Deliveries []delivery
	Form       form
	NewSecret  string // the path of making a new secret
	Test       string // the path of sending a test; empty: there is nobody to send it to
}

// delivery is what became of the last attempt to warn somebody.
type delivery struct {
	To      string // an address, or the webhook's host
	At      time.Time
	Problem string    // empty: it was taken
	Again   time.Time // when it is tried again; zero: it is not
}

// deliveries returns the last attempt by each channel of the settings.
func (p *Portal) deliveries(ctx context.Context, application string, set usage.AlertSettings) (all []delivery, err error) {
	last, err := p.Alerts.Deliveries(ctx, application)
	for _, d := range last {
		if !d.Again.After(p.Now()) {
			d.Again = time.Time{} // it is on its way, or was given up
		}
		all = append(all, delivery{To: set.Recipient(d.Channel), At: d.At, Problem: d.Problem, Again: d.Again})
	}
	return all, err
}

// alerts shows the tab Alerts: when the people of the application are warned, and how.
func (p *Portal) alerts(v *visit) error { return p.showAlerts(v, nil) }

func (p *Portal) showAlerts(v *visit, s *sent) error {
	set, err := p.Alerts.AlertSettings(v.r.Context(), v.app.ID)
	if err != nil {
		return err
	}
	body := alertsBody{
		App: v.application("alerts"), MayChange: v.mayChange(), At: percentages(set.At()), To: set.Mail, HasWebhook: set.WebhookURL != "", Webhook: set.WebhookHost(),
		NewSecret: p.applicationPath(v.app.ID, "alerts/secret"),
	}
	if body.Deliveries, err = p.deliveries(v.r.Context(), v.app.ID, set); err != nil {
		return err
	}
	if len(set.Channels()) > 0 {
		body.Test = p.applicationPath(v.app.ID, "alerts/test")
	}
	if body.MayChange {
		body.Form = s.form(p.alertsForm(v, set))
	}
	shown := page{Title: "Alerts · " + displayName(v.app)}
	switch query := v.r.URL.Query(); {
	case query.Has("saved"):
		body.Done = "Saved, and it holds from now on. Limits that are past a threshold already are told of with their next call, members near theirs at once." + p.unmailed(set)
	case query.Get("tested") == "0":
		body.Done = "There is nobody to send a test to." + p.unmailed(set)
	case query.Has("tested"):
		body.Done = "A test is on its way, and is tried again for a day where it is not taken. This page tells in a few seconds what became of it." + p.unmailed(set)
	case query.Has("secret"):
		var ok bool
		if body.Secret, ok = p.once.take(*v.session, query.Get("secret"), p.Now()).(string); !ok {
			body.Done = "The webhook's secret was shown once, and cannot be shown again. If nobody has kept it, make a new one."
			break
		}
		shown.Script = "copy.js"
	}
	shown.Body = body
	return v.show(s.status(), "alerts", shown)
}

// unmailed says, after what else is said, that mail does not leave; empty: it does, or there is none.
func (p *Portal) unmailed(set usage.AlertSettings) string {
	if p.MailsAlerts || len(set.Mail) == 0 {
		return ""
	}
	return " No mail is sent: whoever runs this API has not set up a mail server."
}

// alertsForm returns the form of the settings, as they are set.
func (p *Portal) alertsForm(v *visit, set usage.AlertSettings) form {
	webhook := "An address on the public internet that takes a POST of JSON, signed as Standard Webhooks has it. "
	if set.WebhookURL != "" {
		webhook += "Left empty: none, and its secret is forgotten."
	} else {
		webhook += "A secret is made when it is saved. Left empty: none."
	}
	mail := "Up to ten, one a line. Left empty: no mail."
	if !p.MailsAlerts {
		mail += " ■ None is sent at the moment: whoever runs this API has not set up a mail server. Use a webhook, or ask them."
	}
	return form{Action: p.applicationPath(v.app.ID, "alerts"), Button: "Save", Fields: []field{
		{Name: "thresholds", Label: "Thresholds in percent", Help: "Up to ten whole numbers from 50 to 100, with commas between them. Left empty: 75, 90, 100.", Value: percentages(set.At()), Most: 200},
		{Name: "mail", Label: "Email addresses", Help: mail, Value: strings.Join(set.Mail, "\n"), Lines: true, Most: 4000},
		{Name: "url", Label: "Webhook", Help: webhook, Value: set.WebhookURL, Type: "url", Placeholder: "https://", Most: 2000},
	}}
}

// percentages writes thresholds as they are typed.
func percentages(all []int) string {
	words := make([]string, len(all))
	for i, t := range all {
		words[i] = strconv.Itoa(t)
	}
	return join(words)
}

// saveAlerts sets when the people of the application are warned, and how. A webhook that is new gets a secret, which is shown once.
func (p *Portal) saveAlerts(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	s, err := readAlerts(form)
	if err != nil {
		return p.showAlerts(v, &sent{values: form, err: err})
	}
	return p.editAlerts(v, func(was usage.AlertSettings) (usage.AlertSettings, bool, error) {
		s, fresh := s.WithSecret(was)
		return s, fresh, nil
	})
}

// editAlerts edits settings, and goes on to the page that says so, and shows a secret that is fresh.
func (p *Portal) editAlerts(v *visit, edit func(was usage.AlertSettings) (s usage.AlertSettings, fresh bool, err error)) error {
	fresh := false
	s, err := p.Alerts.EditAlertSettings(v.r.Context(), v.app.ID, func(was usage.AlertSettings) (s usage.AlertSettings, err error) {
		s, fresh, err = edit(was)
		return s, err
	}, v.account.Email)
	if err != nil {
		return err
	}
	if fresh {
		v.onward("alerts", "secret", p.once.keep(*v.session, s.WebhookSecret, p.Now()))
	} else {
		v.onward("alerts", "saved", "")
	}
	return nil
}

// readAlerts returns what the form says, but for the webhook's secret.
func readAlerts(form url.Values) (s usage.AlertSettings, err error) {
	wrong := fieldErrors{}
	for word := range strings.FieldsFuncSeq(form.Get("thresholds"), func(r rune) bool { return strings.ContainsRune(" ,;%\t\r\n", r) }) {
		t, err := strconv.Atoi(word)
		if err != nil {
			return s, misfilled("thresholds", "%.20q is no whole number.", word)
		}
		s.Thresholds = append(s.Thresholds, t)
	}
	slices.Sort(s.Thresholds)
	s.Thresholds = slices.Compact(s.Thresholds)
	wrong.add("thresholds", usage.AlertSettings{Thresholds: s.Thresholds}.Validate())
	if slices.Equal(s.Thresholds, (usage.AlertSettings{}).At()) {
		s.Thresholds = nil // what holds unless told
	}
	s.Mail = strings.FieldsFunc(form.Get("mail"), func(r rune) bool { return strings.ContainsRune(" ,;\t\r\n", r) })
	wrong.add("mail", usage.AlertSettings{Mail: s.Mail}.Validate())
	if s.WebhookURL = strings.TrimSpace(form.Get("url")); s.WebhookURL != "" {
		wrong.add("url", usage.AlertSettings{WebhookURL: s.WebhookURL, WebhookSecret: usage.NewWebhookSecret()}.Validate())
	}
	return s, wrong.err()
}

// testAlert has an alert delivered that tells of no limit, so that people see whether alerts arrive.
func (p *Portal) testAlert(v *visit) error {
	if wait := p.alertTests.take(v.app.ID, p.Now()); wait > 0 {
		return fault.Wrap(fault.Exhausted, identity.Wait(wait), "One test of alerts in ten minutes is sent for each application, since its mail may go to people who have not asked for it.")
	}
	sent, err := p.TestAlert(v.r.Context(), v.app.ID)
	if err != nil || sent == 0 {
		p.alertTests.giveBack(v.app.ID)
	}
	if err != nil {
		return err
	}
	v.onward("alerts", "tested", strconv.Itoa(sent))
	return nil
}

// renewSecret makes a new secret of the webhook, after it has asked.
func (p *Portal) renewSecret(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	s, err := p.Alerts.AlertSettings(v.r.Context(), v.app.ID)
	if err != nil {
		return err
	}
	if s.WebhookURL == "" {
		return fault.New(fault.Conflict, "The application has no webhook, and so no secret of one.")
	}
	if !isSure(form) {
		return v.ask("alerts", question{
			Heading: "Make a new secret?", Asked: "alerts/secret", Button: "Make a new secret",
			Text: "Alerts to the webhook are signed with the new secret from now on. Whatever checks them by the old one takes no more of them until it has the new one, which is shown once.",
		})
	}
	return p.editAlerts(v, func(was usage.AlertSettings) (usage.AlertSettings, bool, error) {
		s, err := was.RenewSecret()
		return s, true, err
	})
}
