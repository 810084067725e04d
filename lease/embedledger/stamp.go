package embedledger

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// stamp begins each change in the store's log. It makes a damaged log tell itself from one that a loss of power cut short,
// which Pebble itself cannot always: a change that a later one knows to be durable must be there.
type stamp struct {
	number  uint64 // of the change: one more than the last
	durable uint64 // the last change that was known to be durable when this one was made
}

// A stamp is log data: Pebble writes it to its log and nowhere else.
const (
	stampMark = 0x01
	stampLen  = 1 + 8 + 8

	// What precedes a stamp in the log's record of a change: sequence number and count of the batch, the kind of its first
	// entry (log data) and that entry's length.
	batchHeaderLen = 8 + 4
	kindLogData    = 3
	stampStart     = batchHeaderLen + 1 + 1
	stampEnd       = stampStart + stampLen
)

// put makes the stamp the first entry of a change.
func (s stamp) put(w *pebble.Batch) error {
	var data [stampLen]byte
	data[0] = stampMark
	binary.BigEndian.PutUint64(data[1:], s.number)
	binary.BigEndian.PutUint64(data[9:], s.durable)
	return w.LogData(data[:], nil)
}

// stampOf reads the stamp from the first bytes of a record of the log; false when there is none: what the ledger writes when
// it is made is not stamped.
func stampOf(record []byte) (stamp, bool) {
	if len(record) < stampEnd || record[batchHeaderLen] != kindLogData ||
		record[batchHeaderLen+1] != stampLen || record[stampStart] != stampMark {
		return stamp{}, false
	}
	data := record[stampStart+1:]
	return stamp{number: binary.BigEndian.Uint64(data), durable: binary.BigEndian.Uint64(data[8:])}, true
}
