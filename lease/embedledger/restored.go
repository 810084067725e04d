package embedledger

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Restoration says that a ledger is a copy that was brought back. What was granted from Made on is not known to it, but for what is
// granted since At.
type Restoration struct {
	Made time.Time // when the copy was made; to the millisecond
	At   time.Time // when it was brought back; to the millisecond
}

// IsIncomplete reports whether counters of a day that began at start may lack calls: the day was running before the copy was
// brought back.
func (r Restoration) IsIncomplete(start time.Time) bool { return start.Before(r.At) }

// MarkRestored notes that the ledger is a copy that is brought back now, and gives it an id of its own: whoever still knows the one it was
// copied from takes neither for the other. The secret under which members are hashed stays, since their counters do.
func (l *Ledger) MarkRestored(r Restoration) error {
	r = Restoration{Made: r.Made.UTC().Truncate(time.Millisecond), At: r.At.UTC().Truncate(time.Millisecond)}
	var id [16]byte
	rand.Read(id[:]) // never fails
	l.open.RLock()
	defer l.open.RUnlock()
	if err := l.answers(); err != nil {
		return err
	}
	return l.change(func(w *pebble.Batch) error {
		l.meta.id, l.meta.restoration = id, r // when the write fails, so has the ledger
		if err := w.Set(keyID, id[:], nil); err != nil {
			return err
		}
		return w.Set(keyRestored, appendRestoration(nil, r), nil)
	})
}

// Restored returns whether the ledger was ever restored, and from what, the last time.
func (l *Ledger) Restored() (Restoration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.meta.restoration, !l.meta.restoration.At.IsZero()
}

// appendRestoration appends the value of keyRestored: both instants as milliseconds since 1970.
func appendRestoration(value []byte, r Restoration) []byte {
	return binary.AppendVarint(binary.AppendVarint(value, r.Made.UnixMilli()), r.At.UnixMilli())
}

// decodeRestoration reads what appendRestoration wrote.
func decodeRestoration(value []byte) (Restoration, error) {
	made, n := binary.Varint(value)
	if n > 0 {
		if at, m := binary.Varint(value[n:]); m > 0 && n+m == len(value) {
			return Restoration{Made: time.UnixMilli(made).UTC(), At: time.UnixMilli(at).UTC()}, nil
		}
	}
	return Restoration{}, &damage{how: "what it says of its restoration is malformed"}
}
