package main

import (
	"net/http"
	"testing"
	"time"
)

func TestReadAnswer(t *testing.T) {
	refusal := `{"violated-policies": ["member"], "resetsAt": "2026-11-24T00:00:00Z", "status": 429}`
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		status int
		limits string
		body   string
		want   answer
		wrong  bool
	}{
		{
			name: "admitted", status: 200, limits: `"application";r=488;t=21600, "member";r=47;t=21600`,
			want: answer{status: 200, resetsIn: 21600, left: allowance{488, 47}},
		},
		{name: "no member", status: 200, limits: `"application";r=0;t=1`, want: answer{status: 200, resetsIn: 1, left: allowance{0, -1}}},
		{name: "unlimited", status: 200, want: answer{status: 200, resetsIn: -1, left: allowance{-1, -1}}},
		{
			name: "refused", status: 429, limits: `"application";r=488;t=9, "member";r=0;t=9`, body: refusal,
			want: answer{status: 429, refusedBy: "member", resetsIn: 9, resetsAt: midnight, left: allowance{488, 0}},
		},
		{name: "of the upstream", status: 503, body: "down", want: answer{status: 503, resetsIn: -1, left: allowance{-1, -1}}},
		{name: "a refusal without a body", status: 429, wrong: true},
		{name: "a refusal that names nothing", status: 429, body: `{"resetsAt": "2026-11-24T00:00:00Z"}`, wrong: true},
		{name: "a refusal without a reset", status: 429, body: `{"violated-policies": ["member"]}`, wrong: true},
		{name: "another policy", status: 200, limits: `"tenant";r=1;t=1`, wrong: true},
		{name: "no number", status: 200, limits: `"application";r=x;t=1`, wrong: true},
		{name: "another order", status: 200, limits: `"application";t=1;r=1`, wrong: true},
		{name: "too little", status: 200, limits: `"application";r=1`, wrong: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			response := &http.Response{StatusCode: c.status, Header: http.Header{"Ratelimit": {c.limits}}}
			got, err := readAnswer(response, []byte(c.body))
			switch {
			case c.wrong && err == nil:
				t.Errorf("got %+v, want an error", got)
			case !c.wrong && (err != nil || got != c.want):
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}
