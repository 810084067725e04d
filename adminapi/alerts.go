package adminapi

import (
	"context"
	"net/http"

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

type (
	alertsInput struct {
		Application string `query:"application" required:"true" minLength:"1" maxLength:"256" doc:"The application's id."`
	}
	alertsOutput       struct{ Body AlertSettings }
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
	set := a.operation("set-alerts", http.MethodPut, "alerts", "Set when and how the people of an application are warned", http.StatusNotFound, http.StatusRequestEntityTooLarge)
	set.Description = "It replaces all settings but a webhook's secret. The first webhook without one gets a secret, which the answer tells; the same request again changes nothing."
	huma.Register(api, set, func(ctx context.Context, in *setAlertsInput) (*alertsChangeOutput, error) {
		kept, err := a.setAlerts(ctx, in.Body)
		if err != nil {
			return nil, a.fail(ctx, set.OperationID, err)
		}
		return &alertsChangeOutput{Body: kept}, nil
	})
}

func (a *API) setAlerts(ctx context.Context, n NewAlertSettings) (kept KeptAlertSettings, err error) {
	s := usage.AlertSettings{Thresholds: n.Thresholds, Mail: n.Mail, WebhookURL: n.WebhookURL, WebhookSecret: n.WebhookSecret}
	var made string
	if s.WebhookURL != "" && s.WebhookSecret == "" {
		before, err := a.Alerts.AlertSettings(ctx, n.Application)
		if err != nil {
			return kept, err
		}
		if s.WebhookSecret = before.WebhookSecret; s.WebhookSecret == "" {
			made = usage.NewWebhookSecret()
			s.WebhookSecret = made
		}
	}
	if err := a.Alerts.SetAlertSettings(ctx, n.Application, s, actor(ctx)); err != nil {
		return kept, err
	}
	return KeptAlertSettings{AlertSettings: newAlertSettings(n.Application, s), WebhookSecret: made}, nil
}

func newAlertSettings(application string, s usage.AlertSettings) AlertSettings {
	return AlertSettings{Application: application, Thresholds: s.At(), Mail: s.Mail, WebhookURL: s.WebhookURL}
}
