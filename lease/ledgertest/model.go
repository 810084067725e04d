package ledgertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// Model is what a ledger must be like, as a map. It is not safe for concurrent use.
type Model map[quota.Date]map[lease.Counter]lease.Record

// Borrow does what the ledger's Borrow must do.
func (m Model) Borrow(date quota.Date, asks []lease.Ask) []lease.Grant {
	grants := make([]lease.Grant, len(asks))
	for i, a := range asks {
		r, exists := m[date][a.Counter]
		r.Granted += a.Owed
		r.LastCall = max(r.LastCall, a.LastCall)
		if calls := min(a.Most, max(0, int64(a.Limit)-r.Granted)); calls >= a.Least {
			r.Granted += calls
			grants[i].Calls = calls
		}
		grants[i].Granted = r.Granted
		if exists || r != (lease.Record{}) {
			m.set(date, a.Counter, r)
		}
	}
	return grants
}

// Return does what the ledger's Return must do.
func (m Model) Return(date quota.Date, returns []lease.Return) {
	for _, back := range returns {
		r, exists := m[date][back.Counter]
		r.Granted = max(0, r.Granted-back.Calls)
		r.Refused += back.Refused
		r.RefusedForMember += back.RefusedForMember
		r.LastCall = max(r.LastCall, back.LastCall)
		if exists || r != (lease.Record{}) {
			m.set(date, back.Counter, r)
		}
	}
}

// Drop forgets the days before a date.
func (m Model) Drop(before quota.Date) {
	maps.DeleteFunc(m, func(date quota.Date, _ map[lease.Counter]lease.Record) bool { return date < before })
}

// Clone returns a copy.
func (m Model) Clone() Model {
	c := maps.Clone(m)
	for date := range c {
		c[date] = maps.Clone(c[date])
	}
	return c
}

func (m Model) set(date quota.Date, c lease.Counter, r lease.Record) {
	if m[date] == nil {
		m[date] = map[lease.Counter]lease.Record{}
	}
	m[date][c] = r
}

// Read does what the ledger's Read must do.
func (m Model) Read(date quota.Date, application string) []lease.Record {
	var records []lease.Record
	for c, r := range m[date] {
		if c.Application == application {
			r.Endpoint = c.Endpoint
			records = append(records, r)
		}
	}
	slices.SortFunc(records, func(a, b lease.Record) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	return records
}

// Check returns how the ledger differs from the model, or an empty string.
func (m Model) Check(l lease.Ledger) string {
	for date, counters := range m {
		var members []lease.MemberKey
		var want []lease.Record
		applications := map[string]bool{}
		for c, r := range counters {
			if c.IsMember() {
				members, want = append(members, c.Member), append(want, r)
			} else {
				applications[c.Application] = true
			}
		}
		for first := 0; first < len(members); first += lease.MaxBatch {
			end := min(first+lease.MaxBatch, len(members))
			got, err := l.ReadMembers(context.Background(), date, members[first:end])
			if err != nil {
				return err.Error()
			}
			if diff := cmp.Diff(want[first:end], got); diff != "" {
				return fmt.Sprintf("members of %s (-want +got):\n%s", date, diff)
			}
		}
		for application := range applications {
			got, err := l.Read(context.Background(), date, application)
			if err != nil {
				return err.Error()
			}
			if diff := cmp.Diff(m.Read(date, application), got, cmpopts.EquateEmpty()); diff != "" {
				return fmt.Sprintf("application %q of %s (-want +got):\n%s", application, date, diff)
			}
		}
	}
	return ""
}

// Counters is a generator of counters, few enough to meet again.
func Counters() *rapid.Generator[lease.Counter] {
	return rapid.Custom(func(t *rapid.T) lease.Counter {
		if rapid.Bool().Draw(t, "member") {
			return member(rapid.Byte().Draw(t, "key") % 8)
		}
		return app(rapid.SampledFrom([]string{"a", "ab", "b"}).Draw(t, "application"), rapid.SampledFrom([]string{"*", "b", "bc", "c"}).Draw(t, "endpoint"))
	})
}

// Asks is a generator of what may be given to Borrow.
func Asks() *rapid.Generator[[]lease.Ask] {
	return rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) lease.Ask {
		a := lease.Ask{
			Counter:  Counters().Draw(t, "counter"),
			Limit:    rapid.SampledFrom([]quota.Limit{0, 1, 5, 20, 1000, quota.MaxLimit, quota.Unlimited}).Draw(t, "limit"),
			Least:    rapid.Int64Range(1, 3).Draw(t, "least"),
			LastCall: rapid.Int64Range(0, 5).Draw(t, "last call"),
		}
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			a.Owed = rapid.Int64Range(0, 5).Draw(t, "owed")
		default:
			a.Most = a.Least + rapid.Int64Range(0, 5).Draw(t, "more")
		}
		return a
	}), 0, 6, func(a lease.Ask) lease.Counter { return a.Counter })
}

// Returns is a generator of what may be given to Return.
func Returns() *rapid.Generator[[]lease.Return] {
	return rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) lease.Return {
		r := lease.Return{Counter: Counters().Draw(t, "counter"), Calls: rapid.Int64Range(0, 5).Draw(t, "calls")}
		if rapid.Bool().Draw(t, "notes") {
			r.Refused = rapid.Int64Range(0, 3).Draw(t, "refused")
			r.LastCall = rapid.Int64Range(0, 9).Draw(t, "last call")
			if !r.Counter.IsMember() {
				r.RefusedForMember = rapid.Int64Range(0, r.Refused).Draw(t, "refused for member")
			}
		}
		return r
	}), 0, 6, func(r lease.Return) lease.Counter { return r.Counter })
}

// testModel does the same at random to the ledger and to the model.
func testModel(t *testing.T, l lease.Ledger) {
	first := today.Date
	rapid.Check(t, func(t *rapid.T) {
		first += 3 // each run has days of its own
		model := Model{}
		date := rapid.Custom(func(t *rapid.T) quota.Date { return first + quota.Date(rapid.IntRange(0, 2).Draw(t, "day")) })
		t.Repeat(map[string]func(*rapid.T){
			"borrow": func(t *rapid.T) {
				on, asks := date.Draw(t, "date"), Asks().Draw(t, "asks")
				got := make([]lease.Grant, len(asks))
				if err := l.Borrow(context.Background(), Day(on), asks, got); err != nil {
					t.Fatalf("Borrow: %v", err)
				}
				if diff := cmp.Diff(model.Borrow(on, asks), got, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("grants (-want +got):\n%s", diff)
				}
			},
			"return": func(t *rapid.T) {
				on, returns := date.Draw(t, "date"), Returns().Draw(t, "returns")
				if err := l.Return(context.Background(), Day(on), returns); err != nil {
					t.Fatalf("Return: %v", err)
				}
				model.Return(on, returns)
			},
			"open day": func(t *rapid.T) {
				if err := l.OpenDay(context.Background(), Day(date.Draw(t, "date"))); err != nil {
					t.Fatalf("OpenDay: %v", err)
				}
			},
			"": func(t *rapid.T) {
				if wrong := model.Check(l); wrong != "" {
					t.Fatal(wrong)
				}
			},
		})
	})
}
