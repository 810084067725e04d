package lease

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Usage returns what an application has used today of the endpoints that were called at least once, in order of their ids. On a
// single node the figures are exact: they count every decision made before Usage was called.
func (b *Book) Usage(ctx context.Context, application string) ([]Usage, error) {
	e := b.epoch(b.now())
	b.sweeper.notes.Lock() // nothing is on its way to the ledger: each figure is either there or here
	defer b.sweeper.notes.Unlock()
	records, err := b.ledger.Read(ctx, e.day.Date, application)
	if err != nil {
		return nil, err
	}
	for _, app := range e.of(application) {
		i, ok := slices.BinarySearchFunc(records, app.endpoint, func(r Record, id string) int { return strings.Compare(r.Endpoint, id) })
		if !ok {
			records = slices.Insert(records, i, Record{Endpoint: app.endpoint})
		}
		r := &records[i]
		app.mu.Lock()
		r.Granted = app.account.usedOf(r.Granted)
		app.bookRefused()
		r.Refused += int64(app.account.refused)
		r.RefusedForMember += int64(app.refusedForMember)
		r.LastCall = max(r.LastCall, app.lastCall.Load())
		app.mu.Unlock()
	}
	var usages []Usage
	for _, r := range records {
		if r.LastCall > 0 { // else it was borrowed ahead, and never called
			usages = append(usages, Usage{
				Endpoint: r.Endpoint, Used: r.Granted, Refused: r.Refused, RefusedForMember: r.RefusedForMember, LastCall: time.Unix(r.LastCall, 0).UTC(),
			})
		}
	}
	return usages, nil
}

// MemberUsage returns what a member has used today of each of the endpoints through an application. It is as exact as
// [Book.Usage].
func (b *Book) MemberUsage(ctx context.Context, application, member string, endpoints []string) ([]MemberUsage, error) {
	keys := make([]MemberKey, len(endpoints))
	for i, endpoint := range endpoints {
		keys[i] = NewMemberKey(b.secret, application, endpoint, member)
	}
	return b.membersUsage(ctx, keys)
}

// MembersUsage returns what each of the members has used today of an endpoint through an application. It is as exact as [Book.Usage].
func (b *Book) MembersUsage(ctx context.Context, application, endpoint string, members []string) ([]MemberUsage, error) {
	hasher := newHasher(b.secret, application, endpoint)
	keys := make([]MemberKey, len(members))
	for i, member := range members {
		keys[i] = hasher.key(member)
	}
	return b.membersUsage(ctx, keys)
}

func (b *Book) membersUsage(ctx context.Context, keys []MemberKey) ([]MemberUsage, error) {
	e := b.epoch(b.now())
	b.sweeper.notes.Lock() // as in Usage
	defer b.sweeper.notes.Unlock()
	usages := make([]MemberUsage, 0, len(keys))
	for batch := range slices.Chunk(keys, MaxBatch) {
		records, err := b.ledger.ReadMembers(ctx, e.day.Date, batch)
		if err != nil {
			return nil, err
		}
		for i, r := range records {
			u := MemberUsage{Used: r.Granted, Refused: r.Refused}
			s := e.shard(batch[i])
			s.mu.Lock()
			if a := s.table.find(batch[i]); a != nil {
				u.Used = a.usedOf(r.Granted)
				u.Refused += int64(a.refused)
			}
			s.mu.Unlock()
			usages = append(usages, u)
		}
	}
	return usages, nil
}
