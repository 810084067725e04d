package embedledger

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdiem/perdiem/fault"
)

// change does one change as one step: fill puts it into a batch, which is then written. It returns when the change
// is as durable as the ledger promises.
func (l *Ledger) change(fill func(w *pebble.Batch) error) error {
	w := l.db.NewBatch()
	if err := l.fill(w, fill); err != nil {
		w.Close()
		return err
	}
	if w.Empty() {
		return w.Close()
	}
	if err := l.answers(); err != nil {
		return err // w may still be in use
	}
	err := w.SyncWait()
	if failed := l.answers(); failed != nil {
		return failed
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		l.disk.fail(err)
		return l.answers()
	}
	return nil
}

func (l *Ledger) fill(w *pebble.Batch, fill func(w *pebble.Batch) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := fill(w); err != nil {
		return l.readError(err)
	}
	if w.Empty() {
		return nil
	}
	l.space.wrote(w.Len())
	l.stats.writes.Add(1)
	if err := l.db.ApplyNoSyncWait(w, pebble.Sync); err != nil {
		l.disk.fail(err)
		return l.answers()
	}
	return nil
}

// readError gives an error of the store its kind. Damaged data ends the ledger: what it says cannot be believed.
func (l *Ledger) readError(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if pebble.IsCorruptionError(err) || errors.Is(err, errValue) {
		l.disk.fail(err)
	}
	return fault.Wrap(fault.Unavailable, err, "The ledger cannot be read.")
}
