package lease

import (
	"context"
	"time"
)

// Usage returns what an application has used today of the endpoints that were called at least once, in order of their ids. On a
// single node the figures are exact: they count every decision made before Usage was called.
func (b *Book) Usage(ctx context.Context, application string) ([]Usage, error) {
	e := b.epoch(b.now())
	accounts := e.of(application)
	err := b.sweeper.note(e, func(take func(*account, *applicationAccount, MemberKey)) {
		for _, app := range accounts {
			app.mu.Lock()
			take(&app.account, app, MemberKey{})
			app.mu.Unlock()
		}
	})
	if err != nil {
		return nil, err
	}
	records, err := b.ledger.Read(ctx, e.day.Date, application)
	if err != nil {
		return nil, err
	}
	held := make(map[string]*applicationAccount, len(accounts))
	for _, app := range accounts {
		held[app.endpoint] = app
	}
	var usages []Usage
	for _, r := range records {
		if r.LastCall == 0 {
			continue // borrowed ahead, and never called
		}
		u := Usage{Endpoint: r.Endpoint, Used: r.Granted, Refused: r.Refused, RefusedForMember: r.RefusedForMember, LastCall: time.Unix(r.LastCall, 0).UTC()}
		if app := held[r.Endpoint]; app != nil {
			app.mu.Lock()
			u.Used = app.account.usedOf(r.Granted)
			app.mu.Unlock()
		}
		usages = append(usages, u)
	}
	return usages, nil
}

// MemberUsage returns what a member has used today of each of the endpoints through an application. It is as exact as
// [Book.Usage].
func (b *Book) MemberUsage(ctx context.Context, application, member string, endpoints []string) ([]MemberUsage, error) {
	e := b.epoch(b.now())
	keys := make([]MemberKey, len(endpoints))
	for i, endpoint := range endpoints {
		keys[i] = NewMemberKey(b.secret, application, endpoint, member)
	}
	err := b.sweeper.note(e, func(take func(*account, *applicationAccount, MemberKey)) {
		for _, k := range keys {
			s := e.shard(k)
			s.mu.Lock()
			if a := s.table.find(k); a != nil {
				take(a, nil, k)
			}
			s.mu.Unlock()
		}
	})
	if err != nil {
		return nil, err
	}
	usages := make([]MemberUsage, 0, len(keys))
	for start := 0; start < len(keys); start += MaxBatch {
		batch := keys[start:min(start+MaxBatch, len(keys))]
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
			}
			s.mu.Unlock()
			usages = append(usages, u)
		}
	}
	return usages, nil
}

// note writes to the ledger what the accounts have to tell it and have not yet: those for which each calls take, with their
// locks held.
func (s *sweeper) note(e *epoch, each func(take func(*account, *applicationAccount, MemberKey))) error {
	s.notes.Lock()
	defer s.notes.Unlock()
	s.day = e
	each(func(a *account, app *applicationAccount, k MemberKey) {
		if !a.noting {
			s.take(a, app, k, 0)
		}
	})
	return s.send()
}
