package gateway

import (
	"fmt"
	"time"

	"github.com/perdiem/perdiem/quota"
)

// Observation is what became of a request. It names no member and no token, so that all of it may be shown in metrics and logs.
type Observation struct {
	Outcome  Outcome
	Endpoint string        // the endpoint's id; empty where the request was not decided
	Kind     quota.Kind    // the limit that refused it, or would have but for the shadow
	Status   int           // the HTTP status sent; 499: the client was gone before there was one
	Duration time.Duration // until the answer's last byte; an upgraded connection's whole life
}

// Outcome sorts requests by what became of them.
type Outcome uint8

// The outcomes.
const (
	Rejected    Outcome = iota // neither admitted nor refused by a limit: Status says why
	Refused                    // a limit refused it: Kind says which
	Admitted                   // it went upstream, which answered
	Unreachable                // it went upstream, which could not be reached or broke off
	TimedOut                   // it went upstream, which did not answer in time
	Abandoned                  // it went upstream, and the client left before the answer's end
	UsageRead                  // it was a question for usage
	Preflight                  // it was a browser's question by CORS, which is nobody's call
)

var outcomeNames = [...]string{"rejected", "refused", "admitted", "unreachable", "timed_out", "abandoned", "usage", "preflight"}

// String returns the outcome in lower case, as a metric's label has it.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome_%d", uint8(o))
}

// statusClientGone is what other proxies log for a client that left before there was a status.
const statusClientGone = 499
