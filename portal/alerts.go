package portal

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/usage"
)

// AlertSettings is what the portal needs of a [usage.AlertStore], as that has it.
type AlertSettings interface {
	AlertSettings(ctx context.Context, application string) (usage.AlertSettings, error)
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
	Thresholds field
	Mail       field
	URL        field
	NewSecret  string // the path of making a new secret
	Test       string // the path of sending a test; empty: there is nobody to send it to
}

// alerts shows the tab Alerts: when the people of the application are warned, and how.
func (p *Portal) alerts(v *visit) error {
	s, err := p.Alerts.AlertSettings(v.r.Context(), v.app.ID)
	if err != nil {
		return err
	}
	return p.showAlerts(v, http.StatusOK, s, alertsForm{
		thresholds: field{Value: percentages(s.At())}, mail: field{Value: strings.Join(s.Mail, "\n")}, url: field{Value: s.WebhookURL},
	})
}

// alertsForm is what the form holds.
type alertsForm struct{ thresholds, mail, url field }

func (f alertsForm) isWrong() bool { return f.thresholds.Problem+f.mail.Problem+f.url.Problem != "" }

// showAlerts shows the tab with the settings s, and in the form what f says.
func (p *Portal) showAlerts(v *visit, status int, s usage.AlertSettings, f alertsForm) error {
	body := alertsBody{
		App: v.application("alerts"), MayChange: v.mayChange(), At: percentages(s.At()), To: s.Mail, HasWebhook: s.WebhookURL != "",
		NewSecret: p.applicationPath(v.app.ID, "alerts/secret"),
	}
	if len(s.Channels()) > 0 {
		body.Test = p.applicationPath(v.app.ID, "alerts/test")
	}
	if u, err := url.Parse(s.WebhookURL); err == nil {
		body.Webhook = u.Host
	}
	if body.MayChange {
		body.Thresholds, body.Mail, body.URL = f.thresholds, f.mail, f.url
	}
	shown := page{Title: "Alerts · " + displayName(v.app)}
	switch query := v.r.URL.Query(); {
	case query.Has("saved"):
		body.Done = "Saved. Alerts go by it from the next call on that comes to a threshold."
	case query.Get("tested") == "0":
		body.Done = "There is nobody to send a test to: neither address nor webhook is saved, or whoever runs this API has no mail server for alerts."
	case query.Has("tested"):
		body.Done = "A test is on its way, and is tried again for a day where it is not taken."
	case query.Has("secret"):
		var ok bool
		if body.Secret, ok = p.once.take(*v.session, query.Get("secret"), p.Now()).(string); !ok {
			body.Done = "The webhook's secret was shown once, and cannot be shown again. If nobody has kept it, make a new one."
			break
		}
		shown.Script = "copy.js"
	}
	shown.Body = body
	return v.show(status, "alerts", shown)
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
	was, err := p.Alerts.AlertSettings(v.r.Context(), v.app.ID)
	if err != nil {
		return err
	}
	f := alertsForm{field{Value: form.Get("thresholds")}, field{Value: form.Get("mail")}, field{Value: strings.TrimSpace(form.Get("url"))}}
	s := f.read()
	if f.isWrong() {
		return p.showAlerts(v, http.StatusUnprocessableEntity, was, f)
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

// read returns what the form says, but for the webhook's secret, and notes beside each field what is wrong with it.
func (f *alertsForm) read() (s usage.AlertSettings) {
	for word := range strings.FieldsFuncSeq(f.thresholds.Value, func(r rune) bool { return strings.ContainsRune(" ,;%\t\r\n", r) }) {
		t, err := strconv.Atoi(word)
		if err != nil {
			f.thresholds.Problem = fmt.Sprintf("%.20q is no whole number.", word)
			return s
		}
		s.Thresholds = append(s.Thresholds, t)
	}
	slices.Sort(s.Thresholds)
	s.Thresholds = slices.Compact(s.Thresholds)
	f.thresholds.Problem = wrong(usage.AlertSettings{Thresholds: s.Thresholds}.Validate())
	if slices.Equal(s.Thresholds, (usage.AlertSettings{}).At()) {
		s.Thresholds = nil // what holds unless told
	}
	s.Mail = strings.FieldsFunc(f.mail.Value, func(r rune) bool { return strings.ContainsRune(" ,;\t\r\n", r) })
	f.mail.Problem = wrong(usage.AlertSettings{Mail: s.Mail}.Validate())
	if s.WebhookURL = f.url.Value; s.WebhookURL != "" {
		f.url.Problem = wrong(usage.AlertSettings{WebhookURL: s.WebhookURL, WebhookSecret: usage.NewWebhookSecret()}.Validate())
	}
	return s
}

// testAlert has an alert delivered that tells of no limit, so that people see whether alerts arrive.
func (p *Portal) testAlert(v *visit) error {
	if !p.alertTests.take(v.app.ID, testEvery, p.Now()) {
		return fault.New(fault.Exhausted, "One test of alerts in ten minutes is sent for each application, since its mail may go to people who have not asked for it.")
	}
	sent, err := p.TestAlert(v.r.Context(), v.app.ID)
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
