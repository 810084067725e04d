package main

import (
	"context"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

// counters lets the side that reads usage ask the leases.
type counters struct {
	book *lease.Book
}

var _ usage.Counters = counters{}

func (c counters) Day() quota.Day { return c.book.Day() }

func (c counters) Application(ctx context.Context, application string) ([]usage.Counts, error) {
	used, err := c.book.Usage(ctx, application)
	if err != nil {
		return nil, err
	}
	counts := make([]usage.Counts, len(used))
	for i, u := range used {
		counts[i] = usage.Counts(u)
	}
	return counts, nil
}

func (c counters) Member(ctx context.Context, application, member string, endpoints []string) ([]usage.MemberCounts, error) {
	used, err := c.book.MemberUsage(ctx, application, member, endpoints)
	return memberCounts(used), err
}

// members returns the counts of members at one endpoint, in their order.
func (c counters) members(ctx context.Context, application, endpoint string, members []string) ([]usage.MemberCounts, error) {
	used, err := c.book.MembersUsage(ctx, application, endpoint, members)
	return memberCounts(used), err
}

func memberCounts(used []lease.MemberUsage) []usage.MemberCounts {
	counts := make([]usage.MemberCounts, len(used))
	for i, u := range used {
		counts[i] = usage.MemberCounts(u)
	}
	return counts
}
