package embedledger

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdiem/perdiem/quota"
)

// step puts what a format's next version changes into a batch.
type step = func(*pebble.DB, *pebble.Batch) error

// upgrades are the steps to the format's version 2, to version 3, and so on.
var upgrades = [...]step{}

// formatVersion is the version of keys and values that this program writes. A ledger of an earlier one is brought up to it when it is
// opened, and one of a later one is refused.
const formatVersion = 1 + len(upgrades)

// What the ledger knows of itself.
var (
	keyFormat  = []byte("\x00format")  // formatVersion as an unsigned varint
	keyID      = []byte("\x00id")      // 16 random bytes
	keySecret  = []byte("\x00secret")  // 16 random bytes: lease.Ledger's HashKey
	keyDay     = []byte("\x00day")     // the last day opened: see appendDay
	keyDropped = []byte("\x00dropped") // the first date not dropped, as a varint

	keyRestored = []byte("\x00restored") // when the copy was made that this ledger was restored from, and when it was restored: see restored.go
)

// meta is what is read once, when the ledger is opened, and kept.
type meta struct {
	id      [16]byte
	secret  [16]byte
	day     quota.Day  // the last day opened; its Start is zero before the first
	dropped quota.Date // days before it are gone for good

	restoration Restoration // zero: the ledger was never restored
}

// load reads what the ledger knows of itself, and makes it when the ledger is new.
func (m *meta) load(db *pebble.DB) error {
	format, err := get(db, keyFormat)
	if err != nil {
		return err
	}
	if format == nil {
		return m.create(db)
	}
	version, n := binary.Uvarint(format)
	switch {
	case n != len(format) || version == 0:
		return &damage{how: "the version of its format is malformed"}
	case version > uint64(formatVersion):
		return &newerError{fmt.Sprintf("its format is version %d, and this one knows none after %d", version, formatVersion)}
	}
	if err := upgrade(db, version, upgrades[:]); err != nil {
		return err
	}
	for _, part := range []struct {
		key []byte
		to  []byte
	}{{keyID, m.id[:]}, {keySecret, m.secret[:]}} {
		value, err := get(db, part.key)
		if err != nil {
			return err
		}
		if len(value) != len(part.to) {
			return &damage{how: fmt.Sprintf("its %s is missing or malformed", part.key[1:])}
		}
		copy(part.to, value)
	}
	m.dropped = math.MinInt32
	dropped, err := get(db, keyDropped)
	if err != nil {
		return err
	}
	if dropped != nil {
		date, n := binary.Varint(dropped)
		if n != len(dropped) || int64(quota.Date(date)) != date {
			return &damage{how: "the date of its first day is malformed"}
		}
		m.dropped = quota.Date(date)
	}
	restored, err := get(db, keyRestored)
	if err != nil {
		return err
	}
	if restored != nil {
		if m.restoration, err = decodeRestoration(restored); err != nil {
			return err
		}
	}
	day, err := get(db, keyDay)
	if err != nil || day == nil {
		return err
	}
	m.day, err = decodeDay(day)
	return err
}

// upgrade brings a ledger of version from up to the version that the last of steps leads to, all at once: a process that is killed
// leaves the old version or the new one.
func upgrade(db *pebble.DB, from uint64, steps []step) error {
	missing := steps[from-1:]
	if len(missing) == 0 {
		return nil
	}
	b := db.NewBatch()
	defer b.Close()
	for _, step := range missing {
		if err := step(db, b); err != nil {
			return err
		}
	}
	if err := b.Set(keyFormat, binary.AppendUvarint(nil, uint64(1+len(steps))), nil); err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}

// newerError is the error of a ledger that this program is too old for.
type newerError struct{ what string }

func (e *newerError) Error() string {
	return "was written by a newer perdiem (" + e.what + "): run that perdiem or a later one, or restore a backup from before the upgrade"
}

// newerStore gives the error of files that a newer version of Pebble wrote its type. Pebble has none for it.
func newerStore(err error) error {
	if err != nil && strings.Contains(err.Error(), "unknown format major version") {
		return &newerError{fmt.Sprintf("the store under it, Pebble, knows no form of files after %d", pebble.FormatNewest)}
	}
	return err
}

// create makes a new ledger's identity and writes it.
func (m *meta) create(db *pebble.DB) error {
	empty, err := isEmpty(db)
	if err != nil {
		return err
	}
	if !empty {
		return &damage{how: "the version of its format is missing"}
	}
	m.dropped = math.MinInt32
	rand.Read(m.id[:])
	rand.Read(m.secret[:])
	b := db.NewBatch()
	defer b.Close()
	for _, put := range []struct{ key, value []byte }{
		{keyFormat, binary.AppendUvarint(nil, uint64(formatVersion))},
		{keyID, m.id[:]},
		{keySecret, m.secret[:]},
	} {
		if err := b.Set(put.key, put.value, nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}

// ID returns the ledger's id, made at random when it was created. A ledger that was lost and made anew has another, and so has one that
// was restored.
func (l *Ledger) ID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return hex.EncodeToString(l.meta.id[:])
}

// HashKey implements [lease.Ledger].
func (l *Ledger) HashKey() [16]byte { return l.meta.secret }

// get returns a copy of a key's value, nil when there is none.
func get(db *pebble.DB, key []byte) ([]byte, error) {
	value, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return append(make([]byte, 0, len(value)), value...), nil
}

func isEmpty(db *pebble.DB) (bool, error) {
	it, err := db.NewIter(nil)
	if err != nil {
		return false, err
	}
	found := it.First()
	return !found, errors.Join(it.Error(), it.Close())
}
