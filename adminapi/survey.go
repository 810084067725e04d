package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/perdiem/perdiem/usage"
)

// Survey is today's usage of all applications, as far as operators have to look at it.
type Survey struct {
	At           time.Time `json:"at" doc:"When the counters were read: some seconds ago; with tens of thousands of applications, up to a minute or so."`
	Day          string    `json:"day" format:"date"`
	ResetsAt     time.Time `json:"resetsAt"`
	Applications int       `json:"applications" doc:"How many were read."`
	Nearest      []Near    `json:"nearest" nullable:"false" doc:"The applications and endpoints that are nearest to the application's limit, the nearest first."`
	Shadow       []Shadow  `json:"shadow" nullable:"false" doc:"The applications and endpoints in shadow mode for which most would have been refused, the most first."`
	WouldRefuse  int64     `json:"wouldRefuse" doc:"How many calls shadow mode has let pass in all."`
}

// Near is an application that is near its limit for an endpoint.
type Near struct {
	Application string `json:"application"`
	Endpoint    string `json:"endpoint"`
	Limit       int64  `json:"limit"`
	Used        int64  `json:"used"`
	Refused     int64  `json:"refused" doc:"For either limit."`
}

// Shadow is what would have been refused of an application for an endpoint.
type Shadow struct {
	Application      string `json:"application"`
	Endpoint         string `json:"endpoint"`
	Refused          int64  `json:"refused" doc:"For either limit; let pass in shadow mode, or refused before the mode was set today."`
	RefusedForMember int64  `json:"refusedForMember" doc:"Those of them for a member's."`
}

type (
	surveyInput struct {
		Limit int `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"How many entries each list has at most."`
	}
	surveyOutput struct{ Body Survey }
)

func (a *API) registerSurvey(api huma.API) {
	op := a.operation("get-survey", http.MethodGet, "survey", "Tell which applications are nearest to their limits, and what shadow mode would have refused")
	huma.Register(api, op, func(ctx context.Context, in *surveyInput) (*surveyOutput, error) {
		s, err := a.Usage.Survey(ctx)
		if err != nil {
			return nil, a.fail(ctx, op.OperationID, err)
		}
		return &surveyOutput{Body: newSurvey(s, in.Limit)}, nil
	})
}

func newSurvey(s *usage.Survey, most int) Survey {
	out := Survey{
		At: s.At.UTC(), Day: s.Day.Date.String(), ResetsAt: s.Day.End.UTC(), Applications: s.Applications,
		Nearest: make([]Near, min(most, len(s.Nearest))), Shadow: make([]Shadow, min(most, len(s.Shadow))), WouldRefuse: s.WouldRefuse,
	}
	for i := range out.Nearest {
		n := s.Nearest[i]
		out.Nearest[i] = Near{Application: n.Application, Endpoint: n.Endpoint, Limit: int64(n.Limit), Used: n.Used, Refused: n.Refused}
	}
	for i := range out.Shadow {
		out.Shadow[i] = Shadow(s.Shadow[i])
	}
	return out
}
