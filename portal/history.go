package portal

import (
	"context"
	"time"

	"github.com/perdiem/perdiem/usage"
)

// historyDays is how many days the chart of days has.
const historyDays = 30

// historyBody is what the tab tells of an endpoint, or of all together, over time.
type historyBody struct {
	Endpoint  string // empty: all together
	Endpoints []string
	Sort      string
	Today     *chart // nil: nothing was called
	Days      *chart // nil: nothing was called
}

// readHistory returns how an application's calls to an endpoint are spread over the day of a report, and over the days before it.
func (p *Portal) readHistory(ctx context.Context, report *usage.Report, endpoint string) (*historyBody, error) {
	h := &historyBody{Endpoint: endpoint}
	offered := endpoint == ""
	for _, e := range report.Endpoints {
		h.Endpoints = append(h.Endpoints, e.ID)
		offered = offered || e.ID == endpoint
	}
	if !offered {
		h.Endpoints = append(h.Endpoints, endpoint)
	}
	var err error
	if h.Today, err = p.hoursChart(ctx, report, endpoint); err != nil {
		return nil, err
	}
	h.Days, err = p.daysChart(ctx, report, endpoint)
	return h, err
}

// title says what a chart shows.
func title(endpoint, by string) string {
	if endpoint == "" {
		endpoint = "all endpoints"
	}
	return "Calls to " + endpoint + " by " + by
}

// hoursChart draws the calls of a report's day by the hour; nil where there were none.
func (p *Portal) hoursChart(ctx context.Context, report *usage.Report, endpoint string) (*chart, error) {
	hours, err := p.History.Hours(ctx, report.Application, endpoint)
	if err != nil {
		return nil, err
	}
	spans := newSpans(hours)
	if !isCalled(spans) {
		return nil, nil
	}
	for next := spans[len(spans)-1].Start.Add(time.Hour); next.Before(report.ResetsAt); next = next.Add(time.Hour) {
		spans = append(spans, span{Start: next})
	}
	hour := func(s span) string { return s.Start.Format("15:04") }
	c := newChart(plot{ID: "hours", Title: title(endpoint, "hour"), First: "From (UTC)", Spans: spans, Now: p.Now(), Name: hour, Label: hour})
	return &c, nil
}

// daysChart draws the calls of the last days; nil where there were none.
func (p *Portal) daysChart(ctx context.Context, report *usage.Report, endpoint string) (*chart, error) {
	days, err := p.History.Days(ctx, report.Application, endpoint, historyDays)
	if err != nil {
		return nil, err
	}
	spans := newSpans(days)
	if !isCalled(spans) {
		return nil, nil
	}
	c := newChart(plot{
		ID: "days", Title: title(endpoint, "day"), First: "Day", Spans: spans,
		Name:  func(s span) string { return s.Start.Format("Monday, 2 January 2006") },
		Label: func(s span) string { return s.Start.Format("2 Jan") },
	})
	return &c, nil
}

// newSpans returns buckets as a chart takes them: a day begins with its date.
func newSpans(buckets []usage.Bucket) []span {
	spans := make([]span, len(buckets))
	for i, b := range buckets {
		spans[i] = span{Start: b.Start, Admitted: b.Admitted, Refused: b.Refused}
		if b.Start.IsZero() {
			spans[i].Start, _ = time.Parse(time.DateOnly, b.Day.String()) // it is one
		}
	}
	return spans
}

func isCalled(spans []span) bool {
	for _, s := range spans {
		if s.Admitted > 0 || s.Refused > 0 {
			return true
		}
	}
	return false
}
