package adminapi_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

func TestHistory(t *testing.T) {
	h := newHost(t)
	h.apply()
	today := h.Day()
	yesterday := quota.Day{Date: today.Date - 1, Start: today.Start.AddDate(0, 0, -1), End: today.Start, Zone: "UTC"}
	row := func(endpoint string, day quota.Day, hour int, c usage.Calls) usage.HistoryRow {
		return usage.HistoryRow{Application: "acme", Endpoint: endpoint, Bucket: usage.Bucket{Day: day.Date, Start: day.Start.Add(time.Duration(hour) * time.Hour), Calls: c}}
	}
	check(t, h.registry.AddHistory(context.Background(), usage.HistoryBatch{Writer: "earlier", Number: 1, Rows: []usage.HistoryRow{
		row("gone", yesterday, 3, usage.Calls{Admitted: 5}), row("", yesterday, 3, usage.Calls{Admitted: 5}),
		row("*", yesterday, 23, usage.Calls{Refused: 2, RefusedForMember: 1}), row("", yesterday, 23, usage.Calls{Refused: 2, RefusedForMember: 1}),
		row("*", today, 4, usage.Calls{Admitted: 7}), row("", today, 4, usage.Calls{Admitted: 7}),
	}}))
	h.decided = []usage.Decided{{Day: today, Application: "acme", Endpoint: "*", Calls: usage.Calls{Admitted: 3, Refused: 1}}}

	var hours adminapi.HistoryByHour
	h.want(200, h.ask("GET", "/admin/v1/history/hours?application=acme", ""), &hours)
	if len(hours.Hours) != 13 || hours.Day != "2026-11-23" {
		t.Fatalf("at noon the day has %d hours: %+v", len(hours.Hours), hours)
	}
	for i, hour := range hours.Hours {
		want := adminapi.HourOfCalls{Start: today.Start.Add(time.Duration(i) * time.Hour)}
		switch i {
		case 4:
			want.Admitted = 7
		case 12:
			want.Calls = adminapi.Calls{Admitted: 3, Refused: 1}
		}
		if diff := cmp.Diff(want, hour); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for _, c := range []struct {
		query string
		want  []adminapi.HourOfCalls
	}{
		{"", []adminapi.HourOfCalls{
			{Start: yesterday.Start.Add(3 * time.Hour), Calls: adminapi.Calls{Admitted: 5}},
			{Start: yesterday.Start.Add(23 * time.Hour), Calls: adminapi.Calls{Refused: 2, RefusedForMember: 1}},
		}},
		{"&endpoint=gone", []adminapi.HourOfCalls{{Start: yesterday.Start.Add(3 * time.Hour), Calls: adminapi.Calls{Admitted: 5}}}},
		{"&endpoint=posts.create", []adminapi.HourOfCalls{}},
	} {
		var hours adminapi.HistoryByHour
		h.want(200, h.ask("GET", "/admin/v1/history/hours?application=acme&day=2026-11-22"+c.query, ""), &hours)
		if diff := cmp.Diff(adminapi.HistoryByHour{Day: "2026-11-22", Hours: c.want}, hours); diff != "" {
			t.Errorf("yesterday's hours, %q (-want +got):\n%s", c.query, diff)
		}
	}

	var days adminapi.HistoryByDay
	h.want(200, h.ask("GET", "/admin/v1/history/days?application=acme&days=3", ""), &days)
	want := adminapi.HistoryByDay{Days: []adminapi.DayOfCalls{
		{Day: "2026-11-21"},
		{Day: "2026-11-22", Calls: adminapi.Calls{Admitted: 5, Refused: 2, RefusedForMember: 1}},
		{Day: "2026-11-23", Calls: adminapi.Calls{Admitted: 10, Refused: 1}},
	}}
	if diff := cmp.Diff(want, days); diff != "" {
		t.Errorf("the days (-want +got):\n%s", diff)
	}
	days = adminapi.HistoryByDay{}
	h.want(200, h.ask("GET", "/admin/v1/history/days?application=acme&endpoint=*", ""), &days)
	if len(days.Days) != 30 || days.Days[29].Admitted != 10 || days.Days[28].Admitted != 0 || days.Days[28].Refused != 2 {
		t.Errorf("thirty days of the catch-all: %+v", days)
	}

	for _, query := range []string{"application=nobody", "application=acme&endpoint=nothing"} {
		h.wantProblem(404, "NOT_FOUND", h.ask("GET", "/admin/v1/history/hours?"+query, ""))
		h.wantProblem(404, "NOT_FOUND", h.ask("GET", "/admin/v1/history/days?"+query, ""))
	}
	for _, target := range []string{"hours?application=acme&day=2026-02-30", "hours?application=acme&day=yesterday", "hours?day=2026-11-22", "days?application=acme&days=0", "days?application=acme&days=401"} {
		h.wantProblem(400, "BAD_REQUEST", h.ask("GET", "/admin/v1/history/"+target, ""))
	}
}

func TestNearMembers(t *testing.T) {
	h := newHost(t)
	h.apply() // posts.create allows a member 150
	h.members = map[string]usage.MemberCounts{"m-1": {Used: 120}, "m-2": {Used: 150, Refused: 4}, "m-3": {Used: 90}}
	for id := range h.members {
		h.near.Note(usage.Near{Day: h.Day().Date, Application: "acme", Endpoint: "posts.create", Member: id, Percent: 60})
	}
	first := adminapi.NearMember{Endpoint: "posts.create", ID: "m-2", Percent: 100, Limit: 150, Used: 150, Refused: 4}
	second := adminapi.NearMember{Endpoint: "posts.create", ID: "m-1", Percent: 80, Limit: 150, Used: 120, Remaining: 30}
	for query, want := range map[string]adminapi.NearMembers{
		"application=acme":                       {Members: []adminapi.NearMember{first, second}, Total: 2},
		"application=acme&endpoint=posts.create": {Members: []adminapi.NearMember{first, second}, Total: 2},
		"application=acme&limit=1":               {Members: []adminapi.NearMember{first}, Total: 2},
		"application=acme&endpoint=*":            {Members: []adminapi.NearMember{}},
		"application=a/b":                        {Members: []adminapi.NearMember{}},
	} {
		var got adminapi.NearMembers
		h.want(200, h.ask("GET", "/admin/v1/members/near?"+query, ""), &got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	for _, query := range []string{"application=nobody", "application=acme&endpoint=nothing"} {
		h.wantProblem(404, "NOT_FOUND", h.ask("GET", "/admin/v1/members/near?"+query, ""))
	}
}
