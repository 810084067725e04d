package usage

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
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
	// HistoryByHour returns the hours of a day, in order, of which there is something, and the number of the writer's last batch that is
	// in them; 0: none is.
	HistoryByHour(ctx context.Context, application, endpoint string, day quota.Date, writer string) (hours []Bucket, last int64, err error)
	// HistoryByDay returns the days from one to another, both included, in order, of which there is something; last is as in HistoryByHour.
	// [fault.Invalid] where they are none, or more than [MaxHistoryDays].
	HistoryByDay(ctx context.Context, application, endpoint string, from, to quota.Date, writer string) (days []Bucket, last int64, err error)
	// ForgetHistory removes some of what is older than the day before, and reports whether more is left of it.
	ForgetHistory(ctx context.Context, before quota.Date) (more bool, err error)
}

// HistoryOptions are what a [History] needs. All are required.
type HistoryOptions struct {
	Store HistoryStore
	Day   func() quota.Day // the day that is running
	// Decided tells what was decided since it was last told, each decision once, of application after application. When tell returns false,
	// it returns false and leaves the rest for the next call, which goes on from there.
	Decided func(tell func(Decided) (more bool)) (all bool)
	// DecidedOf is as Decided, of one application.
	DecidedOf func(application string, tell func(Decided))
	Days      int // for which history is kept, besides the one that is running
	Now       func() time.Time
	Log       *slog.Logger
}

// History records the calls of each application and endpoint by the hour, and reads them back. A day's hours are counted from its start, so
// that each belongs to one day, whatever its zone.
//
// What was decided is collected each second and at the end of each hour, and written to the store each five seconds: a node that is killed
// loses the history of the last seconds, and counts nothing twice when it starts again. While the store cannot be written, so much waits in memory; the rest
// stays where it was decided. It is safe for concurrent use.
//
// Who reads meets each call once, and waits for no write: a call is in the store, on its way there, or pending, and the store says which batches it has.
type History struct {
	o      HistoryOptions
	writer string

	mu      sync.Mutex
	since   time.Time // guarded by mu: what is collected next was decided since then
	pending rows      // guarded by mu: collected, not yet on its way to the store
	taken   rows      // guarded by mu: of which batches are being made; never changed
	sending batches   // guarded by mu
	dropped int64     // guarded by mu: number of the last batch that is in the store and in sending no longer

	writing sync.Mutex // held while batches move into the store
	added   int64      // guarded by writing: number of the last batch that was added
	full    bool       // guarded by writing: not all was collected, for want of room
	failing bool       // guarded by writing: the last write failed

	written time.Time // the loop's own, as is what follows
	forget  time.Time
}

// rows are calls by application and hour.
type rows struct {
	of    map[string]map[historyHour]Calls
	count int // of endpoints and hours, of all applications
}

// historyHour names an hour of an application's calls to an endpoint.
type historyHour struct {
	day      quota.Date
	start    int64 // Unix seconds
	endpoint string
}

func (r *rows) add(application string, hour historyHour, more Calls) {
	if r.of == nil {
		r.of = map[string]map[historyHour]Calls{}
	}
	hours := r.of[application]
	if hours == nil {
		hours = map[historyHour]Calls{}
		r.of[application] = hours
	}
	c, ok := hours[hour]
	if !ok {
		r.count++
	}
	c.add(more)
	hours[hour] = c
}

// batches are rows on their way to the store, in order of their applications: each [MaxHistoryRows] of them are a batch. They are never changed.
type batches struct {
	rows  []HistoryRow
	first int64 // the number of the first batch
}

// end returns the number after that of the last batch.
func (b batches) end() int64 {
	return b.first + int64((len(b.rows)+MaxHistoryRows-1)/MaxHistoryRows)
}

// batch returns the rows of a batch.
func (b batches) batch(number int64) []HistoryRow {
	from := int(number-b.first) * MaxHistoryRows
	return b.rows[from:min(len(b.rows), from+MaxHistoryRows)]
}

// each visits an application's rows to an endpoint in batches after the one of a number.
func (b batches) each(after int64, application, endpoint string, visit func(Bucket)) {
	if after >= b.end() {
		return
	}
	i, _ := slices.BinarySearchFunc(b.rows, application, func(r HistoryRow, application string) int { return cmp.Compare(r.Application, application) })
	i = max(i, int(after+1-b.first)*MaxHistoryRows)
	for ; i < len(b.rows) && b.rows[i].Application == application; i++ {
		if b.rows[i].Endpoint == endpoint {
			visit(b.rows[i].Bucket)
		}
	}
}

const (
	collectEvery = time.Second
	writeEvery   = 5 * time.Second
	// writeTime is how long a write may take. Together with writeEvery it is the most that a crash may lose.
	writeTime   = 4 * time.Second
	forgetEvery = time.Hour
	// maxPending is how many rows may be pending, some 40 MB, and about twice as much on its way to the store: beyond that no more is collected.
	maxPending = 200_000
	// collectAtOnce is how many endpoints' calls are collected before those who read have their turn.
	collectAtOnce = 1000
)

// NewHistory returns a History that collects nothing yet: see [History.Follow].
func NewHistory(o HistoryOptions) (*History, error) {
	if o.Store == nil || o.Day == nil || o.Decided == nil || o.DecidedOf == nil || o.Days < 1 || o.Now == nil || o.Log == nil {
		return nil, errors.New("usage: HistoryOptions need a Store, Day, Decided, DecidedOf, Days, Now and Log")
	}
	now := o.Now()
	return &History{o: o, writer: rand.Text(), since: now, written: now, forget: now, sending: batches{first: 1}}, nil
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
		all := h.collect()
		now := h.o.Now()
		if now.Sub(h.written) >= writeEvery || now.Before(h.written) || !all {
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
	for ctx.Err() == nil {
		all := h.collect()
		if err := h.write(ctx); err != nil {
			return err
		}
		h.mu.Lock()
		left := h.pending.count
		h.mu.Unlock()
		if all && left == 0 {
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

// collect takes over what was decided, and reports whether there was room for all. It all happened in the hour in which it began to be collected,
// since each hour's end is collected at.
func (h *History) collect() (all bool) {
	h.writing.Lock()
	defer h.writing.Unlock()
	began := h.o.Now()
	if !h.full || h.collectRound() { // first what is left of the round that found no room
		h.full = !h.collectRound()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since = began
	return !h.full
}

// collectRound collects from all applications, or from those that were not yet in the round under way, and reports whether there was room.
func (h *History) collectRound() bool {
	for {
		all, room := h.collectSome()
		if all || !room {
			return all
		}
	}
}

func (h *History) collectSome() (all, room bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	some := 0
	if h.pending.count >= maxPending {
		return false, false
	}
	all = h.o.Decided(func(d Decided) bool {
		h.addLocked(d)
		some++
		return some < collectAtOnce && h.pending.count < maxPending
	})
	return all, h.pending.count < maxPending
}

func (h *History) addLocked(d Decided) {
	h.pending.add(d.Application, historyHour{day: d.Day.Date, start: hourOf(d.Day, h.since).Unix(), endpoint: d.Endpoint}, d.Calls)
}

// write moves what is pending into the store. What fails is tried again first, under its number, while the rest goes on being collected.
func (h *History) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	h.writing.Lock()
	defer h.writing.Unlock()
	if h.added+1 == h.sending.end() {
		h.makeBatches()
	}
	for next := h.added + 1; next < h.sending.end(); next++ {
		err := h.o.Store.AddHistory(ctx, HistoryBatch{Writer: h.writer, Number: next, Rows: h.sending.batch(next)})
		h.noteFailing(err)
		if err != nil {
			return err
		}
		h.added = next
	}
	return nil
}

// makeBatches makes batches of what is pending, in place of those that were added: until then they stay, for those who have read the store before.
func (h *History) makeBatches() {
	h.mu.Lock()
	h.dropped = h.added
	h.sending = batches{first: h.added + 1}
	h.taken, h.pending = h.pending, rows{}
	h.mu.Unlock()

	made := h.taken.history()

	h.mu.Lock()
	defer h.mu.Unlock()
	h.sending.rows, h.taken = made, rows{}
}

// history returns the rows in order of application, endpoint and hour, with those of all endpoints together.
func (r *rows) history() []HistoryRow {
	if r.count == 0 {
		return nil
	}
	made := make([]HistoryRow, 0, r.count+len(r.of))
	for _, application := range slices.Sorted(maps.Keys(r.of)) {
		first := len(made)
		together := map[historyHour]Calls{}
		for hour, calls := range r.of[application] {
			made = append(made, HistoryRow{Application: application, Endpoint: hour.endpoint, Bucket: hour.bucket(calls)})
			hour.endpoint = ""
			calls.add(together[hour])
			together[hour] = calls
		}
		for hour, calls := range together {
			made = append(made, HistoryRow{Application: application, Bucket: hour.bucket(calls)})
		}
		slices.SortFunc(made[first:], func(a, b HistoryRow) int {
			return cmp.Or(cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Day, b.Day), a.Start.Compare(b.Start))
		})
	}
	return slices.DeleteFunc(made, func(row HistoryRow) bool { return row.Calls == Calls{} })
}

// each visits an application's rows to an endpoint, or to all where that is empty.
func (r *rows) each(application, endpoint string, visit func(Bucket)) {
	for hour, calls := range r.of[application] {
		if endpoint == "" || hour.endpoint == endpoint {
			visit(hour.bucket(calls))
		}
	}
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
	return h.read(application, endpoint, day, day, func() ([]Bucket, int64, error) {
		return h.o.Store.HistoryByHour(ctx, application, endpoint, day, h.writer)
	})
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
	kept, err := h.read(application, endpoint, from, to, func() ([]Bucket, int64, error) {
		return h.o.Store.HistoryByDay(ctx, application, endpoint, from, to, h.writer)
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
func (h *History) read(application, endpoint string, from, to quota.Date, stored func() ([]Bucket, int64, error)) ([]Bucket, error) {
	least := h.collectOf(application)
	for {
		buckets, last, err := stored()
		if err != nil {
			return nil, err
		}
		more, ok := h.unstored(max(last, least), application, endpoint)
		if ok {
			more = slices.DeleteFunc(more, func(b Bucket) bool { return b.Day < from || b.Day > to })
			return append(buckets, more...), nil
		}
	}
}

// collectOf takes over what was decided of an application, and returns the number of a batch that is in the store.
func (h *History) collectOf(application string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.o.DecidedOf(application, h.addLocked)
	return h.dropped
}

// unstored returns an application's calls to an endpoint that are in no batch up to the one of a number; ok is false where some of them are in batches that are
// here no longer.
func (h *History) unstored(after int64, application, endpoint string) (buckets []Bucket, ok bool) {
	visit := func(b Bucket) { buckets = append(buckets, b) }
	h.mu.Lock()
	if h.dropped > after {
		h.mu.Unlock()
		return nil, false
	}
	h.pending.each(application, endpoint, visit)
	taken, sending := h.taken, h.sending
	h.mu.Unlock()
	taken.each(application, endpoint, visit)
	sending.each(after, application, endpoint, visit)
	return buckets, true
}
