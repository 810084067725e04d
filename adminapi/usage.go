package adminapi

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

type usageInput struct {
	Application string `query:"application" required:"true" minLength:"1" maxLength:"256" doc:"The application's id."`
	Member      string `query:"member" maxLength:"256" doc:"A member whose usage is wanted as well."`
}

type usageOutput struct {
	Body report
}

// report is a usage.Report with a description: a member's part of it has two forms.
type report struct{ report *usage.Report }

// MarshalJSON writes the report.
func (r report) MarshalJSON() ([]byte, error) { return json.Marshal(r.report) }

// Schema implements [huma.SchemaProvider].
func (report) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[usageDescription](), true, "Usage")
}

// usageDescription describes the JSON of a usage.Report.
type usageDescription struct {
	Application    string                `json:"application"`
	Day            string                `json:"day" format:"date"`
	ResetsAt       time.Time             `json:"resetsAt"`
	SecondsToReset int64                 `json:"secondsToReset"`
	Endpoints      []endpointDescription `json:"endpoints" nullable:"false" doc:"Those called at least once today, in order of id."`
}

type endpointDescription struct {
	ID          string    `json:"id"`
	Match       string    `json:"match"`
	LastCall    time.Time `json:"lastCall"`
	Application struct {
		Limit            *int64 `json:"limit" nullable:"true" doc:"null: unlimited."`
		Used             int64  `json:"used"`
		Remaining        *int64 `json:"remaining" nullable:"true" doc:"null: unlimited."`
		Refused          int64  `json:"refused" doc:"For either limit."`
		RefusedForMember int64  `json:"refusedForMember"`
	} `json:"application"`
	Member struct {
		ID        string `json:"id,omitempty" doc:"Left out where no member was asked for; then there is only the limit."`
		Limit     *int64 `json:"limit" nullable:"true" doc:"null: unlimited."`
		Used      int64  `json:"used,omitempty"`
		Remaining *int64 `json:"remaining,omitempty" nullable:"true" doc:"null: unlimited."`
		Refused   int64  `json:"refused,omitempty"`
	} `json:"member"`
}

func (a *API) registerUsage(api huma.API) {
	op := a.operation("get-usage", http.MethodGet, "usage", "Tell what an application has used today", http.StatusNotFound)
	huma.Register(api, op, func(ctx context.Context, in *usageInput) (*usageOutput, error) {
		member := in.Member
		if member != "" && !registry.ValidID(member) {
			return nil, a.problem(fault.New(fault.Invalid, "member must be 1 to 256 bytes of UTF-8 without control characters."))
		}
		if member == in.Application {
			member = "" // an application is no member of itself
		}
		r, err := a.Usage.Today(ctx, in.Application, member)
		if err != nil {
			return nil, a.fail(ctx, op.OperationID, err)
		}
		return &usageOutput{Body: report{r}}, nil
	})
}
