package registrytest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/usage"
)

// RunHistory runs the suite of stores of history. Each call of open returns an empty one of its own, which the caller closes.
func RunHistory(t *testing.T, open func(t *testing.T) usage.HistoryStore) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *historian)
	}{
		{"batches add up", testHistoryAdds},
		{"a batch is added once", testHistoryOnce},
		{"names are told apart", testHistoryNames},
		{"days", testHistoryDays},
		{"a full batch", testHistoryFull},
		{"what cannot be", testHistoryErrors},
		{"the old is forgotten", testHistoryForget},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, &historian{HistoryStore: open(t), writer: "w"}) })
	}
}

// historian is a store under test, and a writer.
type historian struct {
	usage.HistoryStore
	writer string
	number int64
}

const historyDay = quota.Date(20_780)

// hour returns the bucket of an hour of a day, and the calls in it.
func hour(day quota.Date, n int, admitted, refused, refusedForMember int64) usage.Bucket {
	return usage.Bucket{
		Day: day, Start: time.Unix(int64(day)*86400+int64(n)*3600, 0).UTC(),
		Calls: usage.Calls{Admitted: admitted, Refused: refused, RefusedForMember: refusedForMember},
	}
}

// whole returns the bucket of a day.
func whole(day quota.Date, admitted, refused, refusedForMember int64) usage.Bucket {
	b := hour(day, 0, admitted, refused, refusedForMember)
	b.Start = time.Time{}
	return b
}

func (h *historian) add(t *testing.T, application, endpoint string, buckets ...usage.Bucket) {
	t.Helper()
	rows := make([]usage.HistoryRow, len(buckets))
	for i, b := range buckets {
		rows[i] = usage.HistoryRow{Application: application, Endpoint: endpoint, Bucket: b}
	}
	h.number++
	if err := h.AddHistory(t.Context(), usage.HistoryBatch{Writer: h.writer, Number: h.number, Rows: rows}); err != nil {
		t.Fatalf("AddHistory: %v", err)
	}
}

func (h *historian) hours(t *testing.T, application, endpoint string, day quota.Date, want ...usage.Bucket) {
	t.Helper()
	got, last, err := h.HistoryByHour(t.Context(), application, endpoint, day, h.writer)
	if err != nil || last != h.number {
		t.Fatalf("HistoryByHour: batch %d, want %d, %v", last, h.number, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hours of %q at %q (-want +got):\n%s", application, endpoint, diff)
	}
}

func (h *historian) days(t *testing.T, application, endpoint string, from, to quota.Date, want ...usage.Bucket) {
	t.Helper()
	got, last, err := h.HistoryByDay(t.Context(), application, endpoint, from, to, h.writer)
	if err != nil || last != h.number {
		t.Fatalf("HistoryByDay: batch %d, want %d, %v", last, h.number, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("days of %q at %q (-want +got):\n%s", application, endpoint, diff)
	}
}

func testHistoryAdds(t *testing.T, h *historian) {
	h.hours(t, "acme", "posts.create", historyDay)
	h.add(t, "acme", "posts.create", hour(historyDay, 3, 5, 2, 1), hour(historyDay, 4, 7, 0, 0))
	h.add(t, "acme", "posts.create", hour(historyDay, 3, -1, 10, 3), hour(historyDay, 23, 1<<52, 0, 0))
	h.hours(t, "acme", "posts.create", historyDay, hour(historyDay, 3, 4, 12, 4), hour(historyDay, 4, 7, 0, 0), hour(historyDay, 23, 1<<52, 0, 0))
	h.hours(t, "acme", "posts.create", historyDay+1)
	h.days(t, "acme", "posts.create", historyDay, historyDay, whole(historyDay, 1<<52+11, 12, 4))
}

func testHistoryOnce(t *testing.T, h *historian) {
	h.add(t, "acme", "", hour(historyDay, 3, 1, 0, 0))
	for range 2 { // sent again, since its writer did not hear that it was added
		h.number--
		h.add(t, "acme", "", hour(historyDay, 3, 1, 0, 0))
	}
	h.hours(t, "acme", "", historyDay, hour(historyDay, 3, 1, 0, 0))
	other := &historian{HistoryStore: h.HistoryStore, writer: "another"}
	other.add(t, "acme", "", hour(historyDay, 3, 1, 0, 0))
	h.add(t, "acme", "", hour(historyDay, 3, 1, 0, 0))
	h.hours(t, "acme", "", historyDay, hour(historyDay, 3, 3, 0, 0))
}

func testHistoryNames(t *testing.T, h *historian) {
	names := [][2]string{{"acme", "posts.create"}, {"acme", "*"}, {"acme", ""}, {"acme ", "*"}, {"ACME", "*"}, {"日", "' OR 1=1; --"}, {strings.Repeat("a", 256), "*"}}
	for i, name := range names {
		h.add(t, name[0], name[1], hour(historyDay, 0, int64(i+1), 0, 0))
	}
	for i, name := range names {
		h.hours(t, name[0], name[1], historyDay, hour(historyDay, 0, int64(i+1), 0, 0))
	}
}

func testHistoryDays(t *testing.T, h *historian) {
	for _, day := range []quota.Date{historyDay, historyDay - 2, historyDay - 29, historyDay - 30} {
		h.add(t, "acme", "", hour(day, 0, 1, 1, 0), hour(day, 12, 1, 0, 0))
		h.add(t, "beta", "", hour(day, 0, 1, 0, 0))
	}
	h.days(t, "acme", "", historyDay-29, historyDay, whole(historyDay-29, 2, 1, 0), whole(historyDay-2, 2, 1, 0), whole(historyDay, 2, 1, 0))
	h.days(t, "acme", "", historyDay+1, historyDay+usage.MaxHistoryDays)
	h.days(t, "gamma", "", historyDay-29, historyDay)
}

func testHistoryFull(t *testing.T, h *historian) {
	rows := make([]usage.Bucket, usage.MaxHistoryRows)
	for i := range rows {
		rows[i] = hour(historyDay+quota.Date(i/24), i%24, 1, 0, 0)
	}
	h.add(t, "acme", "", rows...)
	got, _, err := h.HistoryByDay(t.Context(), "acme", "", historyDay, historyDay+usage.MaxHistoryDays-1, h.writer)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, b := range got {
		sum += b.Admitted
	}
	if sum != usage.MaxHistoryRows {
		t.Errorf("%d calls, want %d", sum, usage.MaxHistoryRows)
	}
}

func testHistoryErrors(t *testing.T, h *historian) {
	row := usage.HistoryRow{Application: "acme", Bucket: hour(historyDay, 0, 1, 0, 0)}
	for _, rows := range []int{0, usage.MaxHistoryRows + 1} {
		b := usage.HistoryBatch{Writer: "w", Number: 1}
		for range rows {
			b.Rows = append(b.Rows, row)
		}
		wantKind(t, fmt.Sprintf("%d rows", rows), h.AddHistory(t.Context(), b), fault.Invalid)
	}
	for _, to := range []quota.Date{historyDay - 1, historyDay + usage.MaxHistoryDays} {
		_, _, err := h.HistoryByDay(t.Context(), "acme", "", historyDay, to, h.writer)
		wantKind(t, fmt.Sprintf("to %s", to), err, fault.Invalid)
	}
}

func testHistoryForget(t *testing.T, h *historian) {
	forget := func(before quota.Date) (calls int) {
		t.Helper()
		for more := true; more; calls++ {
			var err error
			if more, err = h.ForgetHistory(t.Context(), before); err != nil {
				t.Fatal(err)
			}
		}
		return calls
	}
	forget(historyDay)
	for i := range 3 { // each application has its own
		rows := make([]usage.Bucket, usage.MaxHistoryRows)
		for j := range rows {
			rows[j] = hour(historyDay-1-quota.Date(j/24), j%24, 1, 0, 0)
		}
		h.add(t, fmt.Sprint("old ", i), "*", rows...)
	}
	h.add(t, "old 0", "*", hour(historyDay, 3, 1, 0, 0))
	if calls := forget(historyDay); calls < 3 {
		t.Errorf("3000 rows were removed in %d calls", calls)
	}
	for i := range 3 {
		h.days(t, fmt.Sprint("old ", i), "*", historyDay-100, historyDay-1)
	}
	h.hours(t, "old 0", "*", historyDay, hour(historyDay, 3, 1, 0, 0))
	h.add(t, "old 1", "*", hour(historyDay, 3, 2, 0, 0)) // forgotten, and called again
	h.hours(t, "old 1", "*", historyDay, hour(historyDay, 3, 2, 0, 0))
	if calls := forget(historyDay); calls != 1 {
		t.Errorf("nothing was removed in %d calls", calls)
	}
}
