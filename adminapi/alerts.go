package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/usage"
)

// AlertSettings say when and how the people of an application are warned. Without an address and a webhook nobody is.
type AlertSettings struct {
	Application string   `json:"application" minLength:"1" maxLength:"256" doc:"The application's id."`
	Thresholds  []int    `json:"thresholds,omitempty" nullable:"false" maxItems:"10" doc:"Percent of a limit, ascending, each from 50 to 100; left out: 75, 90 and 100."`
	Mail        []string `json:"mail,omitempty" nullable:"false" maxItems:"10" doc:"Addresses of mail, each as name@host.example."`
	WebhookURL  string   `json:"webhookUrl,omitempty" maxLength:"2000" doc:"Where alerts are posted to, by HTTPS or HTTP, without a user in it; left out: nowhere."`
}

// NewAlertSettings are alert settings as they are set.
type NewAlertSettings struct {
	AlertSettings
	WebhookSecret string `json:"webhookSecret,omitempty" maxLength:"100" doc:"What the webhook's messages are signed with: whsec_ and 24 to 64 bytes in base64. Left out: the one that was set before, or a new one."`
}

// KeptAlertSettings are alert settings as they are kept.
type KeptAlertSettings struct {
	AlertSettings
	WebhookSecret string `json:"webhookSecret,omitempty" doc:"The secret that was made for the webhook: it is told this once."`
}

// AlertsOf says whose alerts.
type AlertsOf struct {
	Application string `json:"application" minLength:"1" maxLength:"256" doc:"The application's id."`
}

// AlertTest is what became of a test of alerts.
type AlertTest struct {
	Messages int `json:"messages" doc:"How many messages are on their way: one to each address, and one to the webhook; 0 where the settings have none by which this node can deliver."`
}

// AlertDeliveries are the last deliveries of an application's alerts.
type AlertDeliveries struct {
	Deliveries []AlertDelivery `json:"deliveries" nullable:"false" doc:"One for each address, and for the webhook, to which an alert or a test was sent since it was set."`
}

// AlertDelivery is what became of the last attempt to deliver an alert.
type AlertDelivery struct {
	To      string     `json:"to" doc:"An address of mail, or the webhook's host."`
	Way     string     `json:"way" enum:"mail,webhook" doc:"By mail, or by the webhook."`
	At      time.Time  `json:"at" doc:"When it was tried."`
	Problem string     `json:"problem,omitempty" doc:"Why it was not taken; left out: it was."`
	Again   *time.Time `json:"again,omitempty" doc:"When it is, or was, to be tried again; left out: it was taken."`
}

type (
	alertsInput struct {
		Application string `query:"application" required:"true" minLength:"1" maxLength:"256" doc:"The application's id."`
	}
	alertsOfInput      struct{ Body AlertsOf }
	alertsOutput       struct{ Body AlertSettings }
	alertsTestOutput   struct{ Body AlertTest }
	deliveriesOutput   struct{ Body AlertDeliveries }
	setAlertsInput     struct{ Body NewAlertSettings }
	alertsChangeOutput struct{ Body KeptAlertSettings }
)

func (a *API) registerAlerts(api huma.API) {
	get := a.operation("get-alerts", http.MethodGet, "alerts", "Tell when and how the people of an application are warned", http.StatusNotFound)
	get.Description = "The secret of the webhook is not told."
	huma.Register(api, get, func(ctx context.Context, in *alertsInput) (*alertsOutput, error) {
		err := a.inCatalog(in.Application, "")
		var s usage.AlertSettings
		if err == nil {
			s, err = a.Alerts.AlertSettings(ctx, in.Application)
		}
		if err != nil {
			return nil, a.fail(ctx, get.OperationID, err)
		}
		return &alertsOutput{Body: newAlertSettings(in.Application, s)}, nil
	})
	deliveries := a.operation("get-alert-deliveries", http.MethodGet, "alerts/deliveries", "Tell what became of the last alerts of an application", http.StatusNotFound)
	huma.Register(api, deliveries, func(ctx context.Context, in *alertsInput) (*deliveriesOutput, error) {
		told, err := a.deliveries(ctx, in.Application)
		if err != nil {
			return nil, a.fail(ctx, deliveries.OperationID, err)
		}
		return &deliveriesOutput{Body: told}, nil
	})
	set := a.operation("set-alerts", http.MethodPut, "alerts", "Set when and how the people of an application are warned", http.StatusNotFound, http.StatusRequestEntityTooLarge)
	set.Description = "It replaces all settings but a webhook's secret. The first webhook without one gets a secret, which the answer tells; the same request again changes nothing."
	huma.Register(api, set, func(ctx context.Context, in *setAlertsInput) (*alertsChangeOutput, error) {
		kept, err := a.setAlerts(ctx, in.Body)
		if err != nil {
			return nil, a.fail(ctx, set.OperationID, err)
		}
		return &alertsChangeOutput{Body: kept}, nil
	})
	renew := a.operation("renew-alerts-secret", http.MethodPost, "alerts/secret", "Make a new secret of an application's webhook",
		http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge)
	renew.Description = "Messages are signed with it from then on. The answer tells it, this once."
	huma.Register(api, renew, func(ctx context.Context, in *alertsOfInput) (*alertsChangeOutput, error) {
		kept, err := a.renewSecret(ctx, in.Body.Application)
		if err != nil {
			return nil, a.fail(ctx, renew.OperationID, err)
		}
		return &alertsChangeOutput{Body: kept}, nil
	})
	test := a.operation("test-alerts", http.MethodPost, "alerts/test", "Send an alert that tells of no limit to the people of an application",
		http.StatusNotFound, http.StatusRequestEntityTooLarge)
	test.Description = "It is delivered as any other alert is, to each address and to the webhook."
	huma.Register(api, test, func(ctx context.Context, in *alertsOfInput) (*alertsTestOutput, error) {
		err := a.inCatalog(in.Body.Application, "")
		out := &alertsTestOutput{}
		if err == nil {
			out.Body.Messages, err = a.TestAlert(ctx, in.Body.Application)
		}
		if err != nil {
			return nil, a.fail(ctx, test.OperationID, err)
		}
		return out, nil
	})
}

func (a *API) deliveries(ctx context.Context, application string) (AlertDeliveries, error) {
	told := AlertDeliveries{Deliveries: []AlertDelivery{}}
	if err := a.inCatalog(application, ""); err != nil {
		return told, err
	}
	set, err := a.Alerts.AlertSettings(ctx, application)
	if err != nil {
		return told, err
	}
	last, err := a.Alerts.Deliveries(ctx, application)
	for _, d := range last {
		t := AlertDelivery{To: set.Recipient(d.Channel), Way: string(d.Channel.Way()), At: d.At, Problem: d.Problem}
		if !d.Again.IsZero() {
			t.Again = &d.Again
		}
		told.Deliveries = append(told.Deliveries, t)
	}
	return told, err
}

func (a *API) setAlerts(ctx context.Context, n NewAlertSettings) (KeptAlertSettings, error) {
	made := false
	s, err := a.Alerts.EditAlertSettings(ctx, n.Application, func(was usage.AlertSettings) (s usage.AlertSettings, _ error) {
		s = usage.AlertSettings{Thresholds: n.Thresholds, Mail: n.Mail, WebhookURL: n.WebhookURL, WebhookSecret: n.WebhookSecret}
		s, made = s.WithSecret(was)
		return s, nil
	}, actor(ctx))
	if err != nil {
		return KeptAlertSettings{}, err
	}
	return keptAlertSettings(n.Application, s, made), nil
}

// renewSecret makes a new secret of an application's webhook.
func (a *API) renewSecret(ctx context.Context, application string) (KeptAlertSettings, error) {
	s, err := a.Alerts.EditAlertSettings(ctx, application, usage.AlertSettings.RenewSecret, actor(ctx))
	if err != nil {
		return KeptAlertSettings{}, err
	}
	return keptAlertSettings(application, s, true), nil
}

// keptAlertSettings tells the secret where it was made just now.
func keptAlertSettings(application string, s usage.AlertSettings, made bool) KeptAlertSettings {
	kept := KeptAlertSettings{AlertSettings: newAlertSettings(application, s)}
	if made {
		kept.WebhookSecret = s.WebhookSecret
	}
	return kept
}

func newAlertSettings(application string, s usage.AlertSettings) AlertSettings {
	return AlertSettings{Application: application, Thresholds: s.At(), Mail: s.Mail, WebhookURL: s.WebhookURL}
}
