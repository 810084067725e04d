package embedledger

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdiem/perdiem/quota"
)

// formatVersion is the version of keys and values that this program writes. It knows no other.
const formatVersion = 1

// What the ledger knows of itself.
var (
	keyFormat  = []byte("\x00format")  // formatVersion as an unsigned varint
	keyID      = []byte("\x00id")      // 16 random bytes
	keySecret  = []byte("\x00secret")  // 16 random bytes: lease.Ledger's HashKey
	keyDay     = []byte("\x00day")     // the last day opened: see appendDay
	keyDropped = []byte("\x00dropped") // the first date not dropped, as a varint
)

// meta is what is read once, when the ledger is opened, and kept.
type meta struct {
	id      [16]byte
	secret  [16]byte
	day     quota.Day  // the last day opened; its Start is zero before the first
	dropped quota.Date // days before it are gone for good
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
	if v, n := binary.Uvarint(format); n != len(format) || v == 0 {
		return &damage{how: "the version of its format is malformed"}
	} else if v > formatVersion {
		return fmt.Errorf("it was written by a newer perdiem (its format is %d, this program knows %d): run that version or a later one", v, formatVersion)
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
	day, err := get(db, keyDay)
	if err != nil || day == nil {
		return err
	}
	m.day, err = decodeDay(day)
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
		{keyFormat, binary.AppendUvarint(nil, formatVersion)},
		{keyID, m.id[:]},
		{keySecret, m.secret[:]},
	} {
		if err := b.Set(put.key, put.value, nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}

// ID returns the ledger's id, made at random when it was created. A ledger that was lost and made anew has another.
func (l *Ledger) ID() string { return hex.EncodeToString(l.meta.id[:]) }

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
