package embedledger

import (
	"errors"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdiem/perdiem/fault"
)

// change does one change as one step: fill puts it into a batch, which is then written. It returns when the change
// is as durable as the ledger promises.
func (l *Ledger) change(fill func(w *pebble.Batch) error) error {
	w := l.db.NewBatch()
	number, err := l.write(w, fill)
	if err != nil {
		return err // w may be in use: it is left to the garbage collector
	}
	if number == 0 {
		return w.Close()
	}
	if err := w.SyncWait(); err != nil {
		l.disk.fail(err)
	}
	if err := l.answers(); err != nil {
		return err
	}
	l.durable.raise(number)
	return w.Close()
}

// write fills a batch and writes it, but does not wait until it is durable. It returns the number of the change, 0
// when there was nothing to write.
func (l *Ledger) write(w *pebble.Batch, fill func(w *pebble.Batch) error) (number uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := stamp{number: l.last + 1, durable: l.durable.Load()}
	if err := s.put(w); err != nil {
		return 0, err
	}
	if err := fill(w); err != nil {
		return 0, l.readError(err)
	}
	if w.Count() == 0 { // a stamp does not count
		return 0, nil
	}
	l.last++
	l.space.wrote(w.Len())
	l.stats.writes.Add(1)
	if err := l.db.ApplyNoSyncWait(w, pebble.Sync); err != nil {
		l.disk.fail(err)
	}
	return s.number, l.answers()
}

// seal ends the store's log with a stamp that vouches for the last change.
func (l *Ledger) seal() error {
	w := l.db.NewBatch()
	s := stamp{number: l.last + 1, durable: l.durable.Load()}
	return errors.Join(s.put(w), w.Commit(pebble.Sync), w.Close())
}

// highest is a number that only rises.
type highest struct{ atomic.Uint64 }

func (h *highest) raise(to uint64) {
	for {
		is := h.Load()
		if is >= to || h.CompareAndSwap(is, to) {
			return
		}
	}
}

// readError gives an error of the store its kind. Damaged data ends the ledger: what it says cannot be believed.
func (l *Ledger) readError(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if err = damaged(err); isDamage(err) {
		l.disk.fail(err)
	}
	if err := l.answers(); err != nil {
		return err // whatever went wrong came of it
	}
	return fault.Wrap(fault.Unavailable, err, "The ledger cannot be read.")
}
