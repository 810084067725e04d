package main

import (
	"context"
	"sync"
	"time"
)

// usageReport is the answer to GET /perdiem/usage, as far as the proofs read it.
type usageReport struct {
	Day       string    `json:"day"`
	ResetsAt  time.Time `json:"resetsAt"`
	Endpoints []struct {
		ID          string `json:"id"`
		Application struct {
			Used             int64 `json:"used"`
			Refused          int64 `json:"refused"`
			RefusedForMember int64 `json:"refusedForMember"`
		} `json:"application"`
		Member struct {
			ID      string `json:"id"`
			Used    int64  `json:"used"`
			Refused int64  `json:"refused"`
		} `json:"member"`
	} `json:"endpoints"`
}

// figures are what a report says of one endpoint, in calls.
type figures struct {
	used, refused, refusedForMember int64 // of the application
	memberUsed, memberRefused       int64
}

// at returns the figures of an endpoint: zeros when the report does not have it, for then it was not called.
func (r *usageReport) at(endpoint string) figures {
	for _, e := range r.Endpoints {
		if e.ID == endpoint {
			return figures{e.Application.Used, e.Application.Refused, e.Application.RefusedForMember, e.Member.Used, e.Member.Refused}
		}
	}
	return figures{}
}

// readers is how many connections read members' usage at the same time.
const readers = 8

// readUsed returns what a node says that an application and each of its members have used of an endpoint: by member, the
// application's own under "". Each member asks for itself: a credential may ask only ten times a second.
func readUsed(ctx context.Context, address, application, endpoint string, members []string) (map[string]int64, error) {
	used := make(map[string]int64, len(members)+1)
	var mu sync.Mutex // guards used
	err := each(ctx, readers, func(i int) error {
		c, err := dial(address)
		if err != nil {
			return err
		}
		defer c.close()
		if i == 0 {
			report, err := c.usage(application, "")
			if err != nil {
				return err
			}
			mu.Lock()
			used[""] = report.at(endpoint).used
			mu.Unlock()
		}
		for ; i < len(members) && ctx.Err() == nil; i += readers {
			report, err := c.usage(application, members[i])
			if err != nil {
				return err
			}
			mu.Lock()
			used[members[i]] = report.at(endpoint).memberUsed
			mu.Unlock()
		}
		return ctx.Err()
	})
	return used, err
}
