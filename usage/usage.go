// Package usage tells what an application and its members have used of their allowances today.
//
// A [Reader] puts together what the counters say ([Counters], which the package owns and the leases implement) and what
// the catalog says of limits. [Reader.Today] serves operators, who may read everything; [Reader.Own] serves a caller that asks with
// its own credential, and holds it to what it may see and how often it may ask. [Reader.Survey] finds among all applications those that operators
// have to look at.
//
// A [History] records what became of calls by the hour, and reads it back by hour and by day. [NearMembers] keeps the members who are near
// their limits by name, until the day ends.
//
// Reading is never charged and changes no counter. A report is of one moment and one day: a reading that runs into the
// reset is begun again.
package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

// Counts is what an application has used of one endpoint today, in calls.
type Counts struct {
	Endpoint         string
	Used             int64     // admitted, and forfeited in crashes
	Refused          int64     // for either limit
	RefusedForMember int64     // those of them for a member's limit
	LastCall         time.Time // of the last admitted or refused call; zero where there was none
}

// MemberCounts is what a member has used of one endpoint through one application today, in calls.
type MemberCounts struct {
	Used    int64 // admitted, and forfeited in crashes
	Refused int64 // for the member's own limit
}

// Counters is what today's usage is read from. It is an interface because the leases, which keep the counters, belong to
// the side that writes. Implementations are safe for concurrent use. Errors are of package fault.
type Counters interface {
	// Day returns the day that is running.
	Day() quota.Day
	// Application returns the counts of the running day, an endpoint once at the most, in any order.
	Application(ctx context.Context, application string) ([]Counts, error)
	// Member returns the counts of a member in the order of endpoints, of which there may be any number.
	Member(ctx context.Context, application, member string, endpoints []string) ([]MemberCounts, error)
}

// Options are what a [Reader] needs. All but Near and ApplicationOnly are required.
type Options struct {
	Catalog         func() *catalog.Snapshot // the catalog that holds now
	Counters        Counters
	Now             func() time.Time
	Near            *NearMembers // who is near a limit; nil: nobody is kept by name
	ApplicationOnly bool         // [Reader.Own] refuses members' tokens
}

// Reader reads today's usage. It is safe for concurrent use.
type Reader struct {
	catalog         func() *catalog.Snapshot
	counters        Counters
	now             func() time.Time
	near            *NearMembers // nil: nobody is kept by name
	applicationOnly bool
	guard           guard
	surveys         surveys
}

// New returns a Reader, or an error that says which option is missing.
func New(o Options) (*Reader, error) {
	switch {
	case o.Catalog == nil:
		return nil, errors.New("usage: no catalog to read limits from")
	case o.Counters == nil:
		return nil, errors.New("usage: no counters to read")
	case o.Now == nil:
		return nil, errors.New("usage: no clock")
	}
	return &Reader{
		catalog: o.Catalog, counters: o.Counters, now: o.Now, near: o.Near, applicationOnly: o.ApplicationOnly,
		guard: newGuard(), surveys: newSurveys(),
	}, nil
}

// Today returns today's report of an application. With a member's id it has that member's usage, without one only the limit that
// holds for each member. The error is [fault.NotFound] where the catalog has no such application, and [fault.Unavailable]
// where the counters cannot be read.
func (r *Reader) Today(ctx context.Context, application, member string) (*Report, error) {
	for {
		day := r.counters.Day()
		report, err := r.read(ctx, day, application, member)
		if err != nil {
			return nil, err
		}
		if r.counters.Day().Date == day.Date {
			return report, nil
		}
		// The reset fell into the reading: some numbers may be of the new day.
	}
}

func (r *Reader) read(ctx context.Context, day quota.Day, application, member string) (*Report, error) {
	snapshot := r.catalog()
	app, known := snapshot.Application(application)
	if !known {
		return nil, fault.New(fault.NotFound, "There is no application %s.", application)
	}
	counts, err := r.counters.Application(ctx, application)
	if err != nil {
		return nil, err
	}
	report := &Report{
		Application:    application,
		Day:            day.Date.String(),
		ResetsAt:       day.End.UTC(),
		SecondsToReset: day.SecondsLeft(r.now()),
		Endpoints:      make([]Endpoint, 0, len(counts)),
	}
	slices.SortFunc(counts, func(a, b Counts) int { return cmp.Compare(a.Endpoint, b.Endpoint) })
	var ids []string
	for _, c := range counts {
		// A counter may exist without a call: calls are borrowed ahead of need. And an endpoint may have left the
		// catalog since it was called: then there is no limit to compare with.
		endpoint, known := snapshot.Endpoint(c.Endpoint)
		if !known || c.LastCall.IsZero() && c.Refused == 0 {
			continue
		}
		limits := snapshot.Limits(app, endpoint)
		report.Endpoints = append(report.Endpoints, Endpoint{
			ID:       c.Endpoint,
			Match:    endpoint.Match(),
			LastCall: c.LastCall.UTC().Truncate(time.Second),
			Application: ApplicationUsage{
				Limit:            number(limits.Application),
				Used:             c.Used,
				Remaining:        left(limits.Application, c.Used),
				Refused:          c.Refused,
				RefusedForMember: c.RefusedForMember,
			},
			Member: MemberUsage{Limit: number(limits.Member)},
		})
		ids = append(ids, c.Endpoint)
	}
	if member == "" || len(ids) == 0 {
		return report, nil
	}
	members, err := r.counters.Member(ctx, application, member, ids)
	if err != nil {
		return nil, err
	}
	if len(members) != len(ids) {
		return nil, fmt.Errorf("usage: asked for a member's counts at %d endpoints, got %d", len(ids), len(members))
	}
	for i, c := range members {
		m := &report.Endpoints[i].Member
		m.ID, m.Used, m.Refused = member, c.Used, c.Refused
		if m.Limit != nil {
			m.Remaining = new(max(0, *m.Limit-c.Used))
		}
	}
	return report, nil
}

// number returns a limit as a report has it: nil where there is none.
func number(l quota.Limit) *int64 {
	if l == quota.Unlimited {
		return nil
	}
	return new(int64(l))
}

func left(l quota.Limit, used int64) *int64 {
	if l == quota.Unlimited {
		return nil
	}
	return new(l.Left(used))
}
