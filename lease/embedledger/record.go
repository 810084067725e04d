package embedledger

import (
	"encoding/binary"

	"github.com/perdiem/perdiem/lease"
)

// A counter's value is its numbers as unsigned varints in the order granted, refused, refused for the member, last call;
// zeros at the end are left out. A member that made a few calls takes one byte.

// maxCalls is more than a counter can reach, and what it stops at: no sum of calls overflows.
const maxCalls = 1 << 61

var errValue = &damage{how: "a counter's value is malformed"}

// appendRecord appends the value of a counter; its endpoint is in the key.
func appendRecord(value []byte, r *lease.Record) []byte {
	numbers := [...]int64{r.Granted, r.Refused, r.RefusedForMember, r.LastCall}
	last := len(numbers)
	for last > 0 && numbers[last-1] == 0 {
		last--
	}
	for _, n := range numbers[:last] {
		value = binary.AppendUvarint(value, uint64(n))
	}
	return value
}

// decodeRecord reads what appendRecord wrote, and only that: a number has one spelling.
func decodeRecord(value []byte, r *lease.Record) error {
	*r = lease.Record{}
	if n := len(value); n > 0 && value[n-1] == 0 {
		return errValue
	}
	for _, to := range [...]*int64{&r.Granted, &r.Refused, &r.RefusedForMember, &r.LastCall} {
		if len(value) == 0 {
			return nil
		}
		n, size := binary.Uvarint(value)
		if size <= 0 || n > maxCalls || size > 1 && value[size-1] == 0 {
			return errValue
		}
		*to, value = int64(n), value[size:]
	}
	if len(value) > 0 {
		return errValue
	}
	return nil
}

// addCalls adds two numbers of calls, neither of which is negative.
func addCalls(a, b int64) int64 { return min(a+b, maxCalls) }
