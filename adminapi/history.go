package adminapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

// Calls are what became of an application's calls in a time.
type Calls struct {
	Admitted         int64 `json:"admitted" doc:"Calls charged."`
	Refused          int64 `json:"refused" doc:"Calls refused, for either limit."`
	RefusedForMember int64 `json:"refusedForMember" doc:"Those of them for a member's."`
}

// HourOfCalls is an hour of a day.
type HourOfCalls struct {
	Start time.Time `json:"start" doc:"In UTC. Hours are counted from the start of the day."`
	Calls
}

// DayOfCalls is a day.
type DayOfCalls struct {
	Day string `json:"day" format:"date"`
	Calls
}

// HistoryByHour is a day's calls by the hour.
type HistoryByHour struct {
	Day   string        `json:"day" format:"date"`
	Hours []HourOfCalls `json:"hours" nullable:"false" doc:"In order: of the running day all that have begun, of one that has passed those in which something was called."`
}

// HistoryByDay is the last days' calls.
type HistoryByDay struct {
	Days []DayOfCalls `json:"days" nullable:"false" doc:"In order, the running day the last of them."`
}

// HistoryInput is whose history is asked for.
type HistoryInput struct {
	Application string `query:"application" required:"true" minLength:"1" maxLength:"256" doc:"The application's id."`
	Endpoint    string `query:"endpoint" maxLength:"256" doc:"The endpoint's id; left out: all of them together."`
}

type (
	hoursInput struct {
		HistoryInput
		Day string `query:"day" format:"date" maxLength:"10" doc:"Which; left out: the one that is running."`
	}
	hoursOutput struct{ Body HistoryByHour }
	daysInput   struct {
		HistoryInput
		Days int `query:"days" minimum:"1" maximum:"400" default:"30" doc:"How many."`
	}
	daysOutput struct{ Body HistoryByDay }
)

func (a *API) registerHistory(api huma.API) {
	byHour := a.operation("get-history-by-hour", http.MethodGet, "history/hours", "Tell an application's calls by the hour of a day", http.StatusNotFound)
	byHour.Description = "An application, or an endpoint, that has left the catalog has its history for history_days."
	huma.Register(api, byHour, func(ctx context.Context, in *hoursInput) (*hoursOutput, error) {
		out, err := a.historyByHour(ctx, in)
		if err != nil {
			return nil, a.fail(ctx, byHour.OperationID, err)
		}
		return &hoursOutput{Body: out}, nil
	})
	byDay := a.operation("get-history-by-day", http.MethodGet, "history/days", "Tell an application's calls of the last days", http.StatusNotFound)
	byDay.Description = byHour.Description
	huma.Register(api, byDay, func(ctx context.Context, in *daysInput) (*daysOutput, error) {
		out, err := a.historyByDay(ctx, in)
		if err != nil {
			return nil, a.fail(ctx, byDay.OperationID, err)
		}
		return &daysOutput{Body: out}, nil
	})
}

func (a *API) historyByHour(ctx context.Context, in *hoursInput) (out HistoryByHour, err error) {
	var day quota.Date
	if in.Day == "" {
		day = a.History.Today()
	} else {
		at, err := time.Parse(time.DateOnly, in.Day)
		if err != nil {
			return out, fault.New(fault.Invalid, "day %.64q: give a date such as 2026-11-23.", in.Day)
		}
		day = quota.DateOf(at)
	}
	buckets, err := a.History.HoursOn(ctx, in.Application, in.Endpoint, day)
	if err == nil {
		err = a.known(in.HistoryInput, buckets)
	}
	if err != nil {
		return out, err
	}
	out = HistoryByHour{Day: day.String(), Hours: make([]HourOfCalls, len(buckets))}
	for i, b := range buckets {
		out.Hours[i] = HourOfCalls{Start: b.Start, Calls: Calls(b.Calls)}
	}
	return out, nil
}

func (a *API) historyByDay(ctx context.Context, in *daysInput) (out HistoryByDay, err error) {
	buckets, err := a.History.Days(ctx, in.Application, in.Endpoint, in.Days)
	if err == nil {
		err = a.known(in.HistoryInput, buckets)
	}
	if err != nil {
		return out, err
	}
	out.Days = make([]DayOfCalls, len(buckets))
	for i, b := range buckets {
		out.Days[i] = DayOfCalls{Day: b.Day.String(), Calls: Calls(b.Calls)}
	}
	return out, nil
}

// known returns why nothing can be told of what was asked for: neither the catalog nor its history has it.
func (a *API) known(in HistoryInput, buckets []usage.Bucket) error {
	if slices.ContainsFunc(buckets, func(b usage.Bucket) bool { return b.Calls != (usage.Calls{}) }) {
		return nil
	}
	return a.inCatalog(in.Application, in.Endpoint)
}

// inCatalog returns an error of kind [fault.NotFound] unless the catalog has an application and, where it is told, an endpoint.
func (a *API) inCatalog(application, endpoint string) error {
	snapshot := a.Catalog()
	if _, ok := snapshot.Application(application); !ok {
		return fault.New(fault.NotFound, "There is no application %.64q.", application)
	}
	if endpoint == "" {
		return nil
	}
	if _, ok := snapshot.Endpoint(endpoint); !ok {
		return fault.New(fault.NotFound, "There is no endpoint %.64q.", endpoint)
	}
	return nil
}
