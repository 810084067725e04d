package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Protection is how infrastructure protection is.
type Protection struct {
	Enabled      bool    `json:"enabled" doc:"Calls to the upstream are watched. Where it is false, as it is on a node without a gateway, the rest is 0."`
	Limiting     bool    `json:"limiting" doc:"The upstream is in trouble: calls beyond the limit are refused. It ends by itself."`
	Limit        int     `json:"limit" doc:"Calls that may wait for the upstream at a time."`
	InFlight     int     `json:"inFlight" doc:"Calls that wait for the first byte of their answer."`
	Admitted     int64   `json:"admitted" doc:"Calls let in since the node was started; a limit may have refused them afterwards."`
	Refused      int64   `json:"refused" doc:"Calls refused since the node was started; they are charged to nobody."`
	Latency      float64 `json:"latency" doc:"Mean time to the first byte of the upstream's last few answers, in seconds."`
	UsualLatency float64 `json:"usualLatency" doc:"What three of four answers of the same endpoints stay below when all is well, in seconds."`
	Min          int     `json:"minConcurrency" doc:"The limit is never below."`
	Max          int     `json:"maxConcurrency" doc:"The limit is never above, also while all is well."`
}

type protectionOutput struct {
	Body Protection
}

func (a *API) registerProtection(api huma.API) {
	huma.Register(api, a.operation("get-protection", http.MethodGet, "protection", "Tell how infrastructure protection is"),
		func(context.Context, *struct{}) (*protectionOutput, error) {
			return &protectionOutput{Body: a.Protection()}, nil
		})
}
