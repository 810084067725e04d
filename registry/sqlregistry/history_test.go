package sqlregistry

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry/registrytest"
	"github.com/perdiem/perdiem/usage"
)

func TestHistoryConformance(t *testing.T) {
	registrytest.RunHistory(t, func(t *testing.T) usage.HistoryStore {
		r := openAt(t, file(t), registrytest.NewClock())
		t.Cleanup(func() { closed(t, r) })
		return r
	})
}

// TestForgottenHistoryLeavesNothing looks into the tables.
func TestForgottenHistoryLeavesNothing(t *testing.T) {
	r := openAt(t, file(t), registrytest.NewClock())
	defer closed(t, r)
	fillHistory(t, r, 3, 2)
	for more := true; more; {
		var err error
		if more, err = r.ForgetHistory(t.Context(), historyDay+1); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range []string{"history", "history_names", "history_writers"} {
		var rows int
		if err := r.reader.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&rows); err != nil || rows != 0 {
			t.Errorf("%s: %d rows, %v", table, rows, err)
		}
	}
}

const historyDay = quota.Date(20_780)

// fillHistory adds a full history of an application's endpoints, and of all of them together, until historyDay.
func fillHistory(t testing.TB, r *Registry, endpoints, days int) {
	t.Helper()
	b := usage.HistoryBatch{Writer: "w"}
	send := func() {
		b.Number++
		if err := r.AddHistory(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		b.Rows = b.Rows[:0]
	}
	for day := range days {
		for hour := range 24 {
			for e := range endpoints + 1 {
				row := usage.HistoryRow{Application: "acme", Bucket: usage.Bucket{
					Day: historyDay - quota.Date(day), Start: time.Unix(int64(historyDay)*86400+int64(hour-24*day)*3600, 0), Calls: usage.Calls{Admitted: 100, Refused: 2, RefusedForMember: 1},
				}}
				if e > 0 {
					row.Endpoint = fmt.Sprint("endpoint.", e)
				}
				if b.Rows = append(b.Rows, row); len(b.Rows) == usage.MaxHistoryRows {
					send()
				}
			}
		}
	}
	if len(b.Rows) > 0 {
		send()
	}
}

// BenchmarkHistory reads what the charts of a page show, and writes a batch, with 200 endpoints and 30 days of history.
func BenchmarkHistory(b *testing.B) {
	r := openAt(b, file(b), registrytest.NewClock())
	defer closed(b, r)
	const endpoints = 200
	fillHistory(b, r, endpoints, 30)
	for _, endpoint := range []string{"", "endpoint.7"} {
		b.Run(fmt.Sprintf("read/endpoint=%q", endpoint), func(b *testing.B) {
			for b.Loop() {
				hours, _, err := r.HistoryByHour(b.Context(), "acme", endpoint, historyDay, "w")
				days, _, err2 := r.HistoryByDay(b.Context(), "acme", endpoint, historyDay-29, historyDay, "w")
				if err := errors.Join(err, err2); err != nil || len(hours) != 24 || len(days) != 30 {
					b.Fatal(len(hours), len(days), err)
				}
			}
		})
	}
	b.Run("write", func(b *testing.B) {
		batch := usage.HistoryBatch{Writer: "another", Rows: make([]usage.HistoryRow, usage.MaxHistoryRows)}
		for i := range batch.Rows {
			batch.Rows[i] = usage.HistoryRow{
				Application: fmt.Sprint("application ", i/endpoints), Endpoint: fmt.Sprint("endpoint.", i%endpoints),
				Bucket: usage.Bucket{Day: historyDay, Start: time.Unix(int64(historyDay)*86400, 0), Calls: usage.Calls{Admitted: 1}},
			}
		}
		for b.Loop() {
			batch.Number++
			if err := r.AddHistory(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		}
	})
}
