package embedledger

import (
	"context"
	"encoding/binary"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

// OpenDay implements [lease.Ledger]. A day that is open already is remembered with its new start and end. A day that is new
// drops, in the same step, those that are then older than the days retained.
func (l *Ledger) OpenDay(ctx context.Context, day quota.Day) error {
	if day.Start.IsZero() || !day.End.After(day.Start) {
		return fault.New(fault.Invalid, "day %s ends before it starts", day.Date)
	}
	if err := l.begin(ctx); err != nil {
		return err
	}
	defer l.end()
	if err := l.hasRoom(l.space.min / 4); err != nil {
		return err
	}
	next := false
	err := l.change(func(w *pebble.Batch) error {
		last := &l.meta.day
		first := last.Start.IsZero()
		if !first && (day.Date < last.Date || day.Date == last.Date && sameDay(day, *last)) {
			return nil
		}
		next = !first && day.Date > last.Date
		*last = day // when the write fails, so has the ledger
		l.dropCachesLocked(day.Date)
		if err := w.Set(keyDay, appendDay(nil, day), nil); err != nil || !next {
			return err
		}
		return l.dropLocked(w, quota.Date(max(math.MinInt32, int64(day.Date)-l.retention)))
	})
	if err != nil {
		return err
	}
	if next {
		l.flushSoon()
	}
	return nil
}

func sameDay(a, b quota.Day) bool {
	return a.Date == b.Date && a.Start.Equal(b.Start) && a.End.Equal(b.End) && a.Zone == b.Zone
}

// LastDay returns the last day that was opened; false when none was.
func (l *Ledger) LastDay() (quota.Day, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.meta.day, !l.meta.day.Start.IsZero()
}

// Drop deletes every counter of the days before a date, which can then not be borrowed from any more. The disk space is
// given back within seconds.
func (l *Ledger) Drop(before quota.Date) error {
	if err := l.begin(context.Background()); err != nil {
		return err
	}
	defer l.end()
	if err := l.change(func(w *pebble.Batch) error { return l.dropLocked(w, before) }); err != nil {
		return err
	}
	l.flushSoon()
	return nil
}

// dropLocked makes w delete the counters of the days before a date: one range, whatever their number.
func (l *Ledger) dropLocked(w *pebble.Batch, before quota.Date) error {
	if before <= l.meta.dropped {
		return nil
	}
	l.meta.dropped = before
	if err := w.Set(keyDropped, binary.AppendVarint(nil, int64(before)), nil); err != nil {
		return err
	}
	return w.DeleteRange([]byte{spaceDay}, appendDate(nil, before), nil)
}

// retains refuses a day that was dropped.
func (m *meta) retains(date quota.Date) error {
	if date < m.dropped {
		return fault.New(fault.Invalid, "day %s is over and its counters are gone", date)
	}
	return nil
}

// flushSoon makes the store write down a deletion of days: only then does it delete their files.
func (l *Ledger) flushSoon() {
	l.background.Go(func() {
		if _, err := l.db.AsyncFlush(); err != nil {
			l.disk.fail(err)
		}
	})
}

// appendDay appends the value of keyDay: date, start and end as seconds and nanoseconds since 1970, and the zone.
func appendDay(value []byte, d quota.Day) []byte {
	value = binary.AppendVarint(value, int64(d.Date))
	for _, t := range [...]time.Time{d.Start, d.End} {
		value = binary.AppendVarint(value, t.Unix())
		value = binary.AppendUvarint(value, uint64(t.Nanosecond()))
	}
	return append(value, d.Zone...)
}

// decodeDay reads what appendDay wrote.
func decodeDay(value []byte) (quota.Day, error) {
	malformed := &damage{how: "its last day is malformed"}
	date, n := binary.Varint(value)
	if n <= 0 || int64(quota.Date(date)) != date {
		return quota.Day{}, malformed
	}
	value = value[n:]
	d := quota.Day{Date: quota.Date(date)}
	for _, t := range [...]*time.Time{&d.Start, &d.End} {
		seconds, n := binary.Varint(value)
		if n <= 0 {
			return quota.Day{}, malformed
		}
		value = value[n:]
		nanoseconds, n := binary.Uvarint(value)
		if n <= 0 || nanoseconds >= uint64(time.Second) {
			return quota.Day{}, malformed
		}
		value = value[n:]
		*t = time.Unix(seconds, int64(nanoseconds)).UTC()
	}
	if d.Start.IsZero() || !d.End.After(d.Start) {
		return quota.Day{}, malformed
	}
	d.Zone = string(value)
	return d, nil
}
