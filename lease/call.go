package lease

import (
	"time"

	"github.com/perdiem/perdiem/quota"
)

// Call is a request to be decided: who makes it, to what, and the limits that hold for it.
type Call struct {
	Application string
	Endpoint    string // an endpoint's id, or "*"
	Member      string // empty: the application acts for itself
	Limits      quota.Limits
	Cost        int64 // calls, 1 to quota.MaxCost
}

// charge returns what the call asks of its two counters.
func (c *Call) charge() quota.Charge {
	return quota.Charge{Limits: c.Limits, Cost: c.Cost, HasMember: c.Member != ""}
}

// Usage is what an application has used of one endpoint today, in calls.
type Usage struct {
	Endpoint         string
	Used             int64     // admitted, and forfeited in crashes
	Refused          int64     // for either limit
	RefusedForMember int64     // those of them for a member's limit
	LastCall         time.Time // of the last admitted or refused call, to the second
}

// MemberUsage is what a member has used of one endpoint through one application today, in calls.
type MemberUsage struct {
	Used    int64 // admitted, and forfeited in crashes
	Refused int64 // for the member's own limit
}
