package usage

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

// Calls are what became of calls.
type Calls struct {
	Admitted         int64 // calls charged
	Refused          int64 // calls refused for either limit
	RefusedForMember int64 // those of them for a member's limit
}

func (c *Calls) add(more Calls) {
	c.Admitted += more.Admitted
	c.Refused += more.Refused
	c.RefusedForMember += more.RefusedForMember
}

// Decided is what became of an application's calls to an endpoint on one day since it was last told. A figure may be below 0, which takes
// back what was told before.
type Decided struct {
	Day         quota.Day
	Application string
	Endpoint    string
	Calls
}

// Bucket is what became of an application's calls, to an endpoint or to all, in an hour or on a day.
type Bucket struct {
	Day   quota.Date
	Start time.Time // of the hour, in UTC; zero where the bucket is a whole day
	Calls
}

// HistoryRow is what is added to an hour of an application's history.
type HistoryRow struct {
	Application string
	Endpoint    string // empty: of all endpoints together
	Bucket
}

// HistoryBatch is what a writer adds to the history at a time.
type HistoryBatch struct {
	Writer string       // made afresh at each start of a node
	Number int64        // rises with each of the writer's batches, from 1
	Rows   []HistoryRow // 1 to [MaxHistoryRows]; an hour of an application and endpoint once at the most
}

const (
	// MaxHistoryRows is the most rows of a batch: others wait for the store meanwhile, a tenth of a second at most.
	MaxHistoryRows = 1000
	// MaxHistoryDays is the most days that are read at a time.
	MaxHistoryDays = 400
)

// HistoryStore keeps the history of calls: nothing in it tells of a member. Implementations are safe for concurrent use; errors are of package
// fault. Package registrytest holds what each of them must do.
type HistoryStore interface {
	// AddHistory adds the batch, durably, as a whole or not at all. A batch whose number is not higher than that of the writer's last one
	// was added before: nothing changes.
	AddHistory(context.Context, HistoryBatch) error
	// HistoryByHour returns the hours of a day, in order, of which there is something.
	HistoryByHour(ctx context.Context, application, endpoint string, day quota.Date) ([]Bucket, error)
	// HistoryByDay returns the days from one to another, both included, in order, of which there is something.
	// [fault.Invalid] where they are none, or more than [MaxHistoryDays].
	HistoryByDay(ctx context.Context, application, endpoint string, from, to quota.Date) ([]Bucket, error)
	// ForgetHistory removes some of what is older than the day before, and reports whether more is left of it.
	ForgetHistory(ctx context.Context, before quota.Date) (more bool, err error)
}

// HistoryOptions are what a [History] needs. All are required.
type HistoryOptions struct {
	Store   HistoryStore
	Day     func() quota.Day    // the day that is running
	Decided func(func(Decided)) // tells what was decided since it was last called, each decision once
	Days    int                 // for which history is kept, besides the one that is running
	Now     func() time.Time
	Log     *slog.Logger
}

// History records the calls of each application and endpoint by the hour, and reads them back. A day's hours are counted from its start, so
// that each belongs to one day, whatever its zone.
//
// What was decided is collected each second and at the end of each hour, and written to the store each five seconds: a node that is killed
// loses the history of the last seconds, and counts nothing twice when it starts again. It is safe for concurrent use.
type History struct {
	o      HistoryOptions
	writer string

	mu      sync.Mutex
	since   time.Time             // guarded by mu: what is collected next was decided since then
	pending map[historyHour]Calls // guarded by mu: collected, not yet on its way to the store
	lost    int64                 // guarded by mu: rows for which there was no room since the last write

	moving  sync.RWMutex   // held while calls move into the store, so that who reads meets each of them once
	sending []HistoryBatch // guarded by moving: not known to be in the store
	number  int64          // guarded by moving: of the last batch
	failing bool           // guarded by moving: the last write failed

	written time.Time // the loop's own, as is what follows
	forget  time.Time
}

// historyHour names a row.
type historyHour struct {
	day                   quota.Date
	start                 int64 // Unix seconds
	application, endpoint string
}

const (
	collectEvery = time.Second
	writeEvery   = 5 * time.Second
	// writeTime is how long a write may take. Together with writeEvery it is the most that a crash may lose.
	writeTime   = 4 * time.Second
	forgetEvery = time.Hour
	// maxPending is how many rows may wait for a store that cannot be written, some 40 MB; what is more is lost.
	maxPending = 200_000
)

// NewHistory returns a History that collects nothing yet: see [History.Follow].
func NewHistory(o HistoryOptions) (*History, error) {
	if o.Store == nil || o.Day == nil || o.Decided == nil || o.Days < 1 || o.Now == nil || o.Log == nil {
		return nil, errors.New("usage: HistoryOptions need a Store, Day, Decided, Days, Now and Log")
	}
	now := o.Now()
	return &History{o: o, writer: rand.Text(), since: now, written: now, forget: now, pending: map[historyHour]Calls{}}, nil
}

// Follow records until ctx ends. What was decided after that is [History.Close]'s to write.
func (h *History) Follow(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		h.collect()
		now := h.o.Now()
		if now.Sub(h.written) >= writeEvery || now.Before(h.written) {
			h.written = now
			_ = h.write(ctx) // it has logged what failed, and tries again
		}
		if now.After(h.forget) {
			h.forgetSome(ctx, now)
		}
		now, day := h.o.Now(), h.o.Day()
		timer.Reset(max(0, min(collectEvery, hourOf(day, now).Add(time.Hour).Sub(now), day.End.Sub(now))))
	}
}

// Close writes what was decided until now. Nothing may follow or be closed after it. Its error says what is lost.
func (h *History) Close(ctx context.Context) error {
	h.collect()
	for ctx.Err() == nil {
		if err := h.write(ctx); err != nil {
			return err
		}
		h.mu.Lock()
		left := len(h.pending)
		h.mu.Unlock()
		if left == 0 {
			return nil
		}
	}
	return ctx.Err()
}

// hourOf returns the start of the hour of a day that contains at, or is the nearest to it.
func hourOf(day quota.Day, at time.Time) time.Time {
	hours := at.Sub(day.Start) / time.Hour
	last := (day.End.Sub(day.Start) - 1) / time.Hour
	return day.Start.Add(max(0, min(hours, last)) * time.Hour).UTC()
}

// collect takes over what was decided. It all happened in the hour in which it began to be collected, since each hour's end is collected at.
func (h *History) collect() {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := h.since
	h.since = h.o.Now()
	h.o.Decided(func(d Decided) {
		hour := historyHour{day: d.Day.Date, start: hourOf(d.Day, since).Unix(), application: d.Application, endpoint: d.Endpoint}
		all := hour
		all.endpoint = ""
		h.addLocked(hour, d.Calls)
		h.addLocked(all, d.Calls)
	})
}

func (h *History) addLocked(hour historyHour, more Calls) {
	c, ok := h.pending[hour]
	if !ok && len(h.pending) >= maxPending {
		h.lost++
		return
	}
	c.add(more)
	h.pending[hour] = c
}

// write moves what is pending into the store. What fails is tried again first, under its number, while the rest goes on being collected.
func (h *History) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	h.moving.Lock()
	defer h.moving.Unlock()
	if len(h.sending) == 0 {
		h.sending = h.batches()
	}
	for len(h.sending) > 0 {
		err := h.o.Store.AddHistory(ctx, h.sending[0])
		h.noteFailing(err)
		if err != nil {
			return err
		}
		h.sending = h.sending[1:]
	}
	return nil
}

// batches takes what is pending.
func (h *History) batches() (batches []HistoryBatch) {
	pending := h.takePending()
	rows := make([]HistoryRow, 0, len(pending))
	for hour, calls := range pending {
		if calls != (Calls{}) {
			rows = append(rows, HistoryRow{Application: hour.application, Endpoint: hour.endpoint, Bucket: hour.bucket(calls)})
		}
	}
	slices.SortFunc(rows, func(a, b HistoryRow) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), a.Start.Compare(b.Start), cmp.Compare(a.Application, b.Application), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	for part := range slices.Chunk(rows, MaxHistoryRows) {
		h.number++
		batches = append(batches, HistoryBatch{Writer: h.writer, Number: h.number, Rows: part})
	}
	return batches
}

func (h *History) takePending() map[historyHour]Calls {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost > 0 {
		h.o.Log.Error("history is lost: too much of it waited to be written", "rows", h.lost)
		h.lost = 0
	}
	if len(h.pending) == 0 {
		return nil
	}
	pending := h.pending
	h.pending = map[historyHour]Calls{}
	return pending
}

func (k historyHour) bucket(c Calls) Bucket {
	return Bucket{Day: k.day, Start: time.Unix(k.start, 0).UTC(), Calls: c}
}

// noteFailing logs when writes begin to fail, and when they no longer do.
func (h *History) noteFailing(err error) {
	if failing := err != nil; failing != h.failing {
		h.failing = failing
		if failing {
			h.o.Log.Warn("history cannot be written: it waits in memory", "err", err)
		} else {
			h.o.Log.Info("history is written again")
		}
	}
}

// forgetSome removes what is older than history is kept: a little each second while there is any, so that nobody waits for it.
func (h *History) forgetSome(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	more, err := h.o.Store.ForgetHistory(ctx, h.o.Day().Date-quota.Date(h.o.Days))
	if err != nil && ctx.Err() == nil {
		h.o.Log.Warn("old history cannot be removed", "err", err)
	}
	if !more {
		h.forget = now.Add(forgetEvery)
	}
}

// Hours returns the hours of the running day that have begun, in order, with those in which nothing was called. An empty endpoint stands for
// all of them together. Every call decided before Hours was called is in it. Nobody is asked whether there is such an application.
func (h *History) Hours(ctx context.Context, application, endpoint string) ([]Bucket, error) {
	day := h.o.Day()
	kept, err := h.readHours(ctx, application, endpoint, day.Date)
	if err != nil {
		return nil, err
	}
	var buckets []Bucket
	last := hourOf(day, h.o.Now())
	for start := day.Start.UTC(); !start.After(last); start = start.Add(time.Hour) {
		b := Bucket{Day: day.Date, Start: start}
		for _, k := range kept {
			if k.Start.Equal(start) {
				b.add(k.Calls)
			}
		}
		buckets = append(buckets, b.sound())
	}
	return buckets, nil
}

func (h *History) readHours(ctx context.Context, application, endpoint string, day quota.Date) ([]Bucket, error) {
	return h.read(application, endpoint, day, day, func() ([]Bucket, error) { return h.o.Store.HistoryByHour(ctx, application, endpoint, day) })
}

// Today returns the day that is running.
func (h *History) Today() quota.Date { return h.o.Day().Date }

// HoursOn returns the hours of a day: of the running one as [History.Hours] does, of another those in which something was called, in order. When a day
// that has passed began and ended is not known: the rule of the day may have been another then.
func (h *History) HoursOn(ctx context.Context, application, endpoint string, day quota.Date) ([]Bucket, error) {
	if day == h.Today() {
		return h.Hours(ctx, application, endpoint)
	}
	kept, err := h.readHours(ctx, application, endpoint, day)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(kept, func(a, b Bucket) int { return a.Start.Compare(b.Start) })
	var buckets []Bucket
	for _, k := range kept {
		if last := len(buckets) - 1; last >= 0 && buckets[last].Start.Equal(k.Start) {
			buckets[last].add(k.Calls)
		} else {
			buckets = append(buckets, k)
		}
	}
	for i := range buckets {
		buckets[i] = buckets[i].sound()
	}
	return slices.DeleteFunc(buckets, func(b Bucket) bool { return b.Calls == Calls{} }), nil
}

// Days returns the last days, 1 to [MaxHistoryDays], the running one among them, in order, with those on which nothing was called; else as
// [History.Hours].
func (h *History) Days(ctx context.Context, application, endpoint string, days int) ([]Bucket, error) {
	if days < 1 || days > MaxHistoryDays {
		return nil, fault.New(fault.Invalid, "days %d: must be 1 to %d", days, MaxHistoryDays)
	}
	to := h.o.Day().Date
	from := to - quota.Date(days) + 1
	kept, err := h.read(application, endpoint, from, to, func() ([]Bucket, error) {
		return h.o.Store.HistoryByDay(ctx, application, endpoint, from, to)
	})
	if err != nil {
		return nil, err
	}
	buckets := make([]Bucket, days)
	for _, k := range kept {
		buckets[k.Day-from].add(k.Calls)
	}
	for i := range buckets {
		buckets[i].Day = from + quota.Date(i)
		buckets[i] = buckets[i].sound()
	}
	return buckets, nil
}

// sound returns the bucket as it can be shown: what takes back more than was told of an hour belongs to its neighbour.
func (b Bucket) sound() Bucket {
	b.Admitted, b.Refused, b.RefusedForMember = max(0, b.Admitted), max(0, b.Refused), max(0, b.RefusedForMember)
	return b
}

// read returns what the store has, and what it has not got yet.
func (h *History) read(application, endpoint string, from, to quota.Date, stored func() ([]Bucket, error)) ([]Bucket, error) {
	h.collect()
	h.moving.RLock()
	defer h.moving.RUnlock()
	buckets, err := stored()
	if err != nil {
		return nil, err
	}
	for _, batch := range h.sending {
		for _, r := range batch.Rows {
			if r.Application == application && r.Endpoint == endpoint && from <= r.Day && r.Day <= to {
				buckets = append(buckets, r.Bucket)
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for hour, calls := range h.pending {
		if hour.application == application && hour.endpoint == endpoint && from <= hour.day && hour.day <= to {
			buckets = append(buckets, hour.bucket(calls))
		}
	}
	return buckets, nil
}
