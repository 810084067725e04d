package lease

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

// modelLedger is the Ledger's contract in its plainest form: maps under a mutex. It answers the tests of this package whose subject
// is the book, and says what a ledger should have said in those whose subject is a real one.
type modelLedger struct {
	mu       sync.Mutex
	counters map[modelKey]*Record
	opened   quota.Day
	fail     error // what each call answers, when set
	asks     int
	requests int
}

type modelKey struct {
	date    quota.Date
	counter Counter
}

func newModelLedger() *modelLedger { return &modelLedger{counters: map[modelKey]*Record{}} }

func (l *modelLedger) counter(date quota.Date, c Counter) *Record {
	k := modelKey{date, c}
	r := l.counters[k]
	if r == nil {
		r = &Record{Endpoint: c.Endpoint}
		l.counters[k] = r
	}
	return r
}

func (l *modelLedger) Borrow(_ context.Context, day quota.Day, asks []Ask, grants []Grant) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	for _, a := range asks { // as a ledger does with what it was never promised
		if a.Least < 1 || a.Most < 0 || a.Most > 0 && a.Most < a.Least || a.Owed < 0 {
			return fault.New(fault.Invalid, "A malformed ask: %+v.", a)
		}
	}
	l.requests++
	l.asks += len(asks)
	for i, a := range asks {
		r := l.counter(day.Date, a.Counter)
		r.Granted += a.Owed
		n := min(a.Most, a.Limit.Left(r.Granted))
		if n < a.Least {
			n = 0
		}
		r.Granted += n
		r.LastCall = max(r.LastCall, a.LastCall)
		grants[i] = Grant{Calls: n, Granted: r.Granted}
	}
	return nil
}

func (l *modelLedger) OpenDay(_ context.Context, day quota.Day) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	if day.Date >= l.opened.Date {
		l.opened = day
	}
	return nil
}

func (l *modelLedger) Return(_ context.Context, day quota.Day, returns []Return) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	for _, q := range returns {
		r := l.counter(day.Date, q.Counter)
		r.Granted = max(0, r.Granted-q.Calls)
		r.Refused += q.Refused
		r.RefusedForMember += q.RefusedForMember
		r.LastCall = max(r.LastCall, q.LastCall)
	}
	return nil
}

func (l *modelLedger) Read(_ context.Context, date quota.Date, application string) ([]Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var records []Record
	for k, r := range l.counters {
		if k.date == date && k.counter.Application == application {
			records = append(records, *r)
		}
	}
	slices.SortFunc(records, func(a, b Record) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	return records, l.fail
}

func (l *modelLedger) ReadMembers(_ context.Context, date quota.Date, members []MemberKey) ([]Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	records := make([]Record, len(members))
	for i, m := range members {
		if r := l.counters[modelKey{date, Counter{Member: m}}]; r != nil {
			records[i] = *r
		}
	}
	return records, l.fail
}

func (l *modelLedger) HashKey() [16]byte { return [16]byte{1, 2, 3} }

// asked returns how many counters were named in borrows.
func (l *modelLedger) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asks
}

// granted returns what a counter stands at.
func (l *modelLedger) granted(date quota.Date, c Counter) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.counters[modelKey{date, c}]; r != nil {
		return r.Granted
	}
	return 0
}
