package embedledger

import (
	"encoding/binary"
	"fmt"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// Keys, in their order on disk:
//
//	0x00 name                                          what the ledger knows of itself: see meta.go
//	0x01 date 0x00 len(application) application endpoint    an application's counter
//	0x01 date 0x01 member                              a member's counter
//
// A date is its four bytes, big-endian, with the sign bit turned so that earlier dates come first: a day is
// one range of keys. The length is two bytes, big-endian: the counters of an application are one range in it, in the order of
// endpoint ids, and two counters never share a key.
const (
	spaceMeta = 0x00
	spaceDay  = 0x01

	kindApplication = 0x00
	kindMember      = 0x01

	dayPrefixLen = 1 + 4
	memberKeyLen = dayPrefixLen + 1 + len(lease.MemberKey{})

	// maxName is the most bytes that an application's or an endpoint's id may have: the contract's bound on ids.
	maxName = 256
)

func appendDate(key []byte, date quota.Date) []byte {
	return binary.BigEndian.AppendUint32(append(key, spaceDay), uint32(date)^1<<31)
}

// appendApplication appends what the keys of all counters of an application on a date begin with.
func appendApplication(key []byte, date quota.Date, application string) []byte {
	key = append(appendDate(key, date), kindApplication)
	key = binary.BigEndian.AppendUint16(key, uint16(len(application)))
	return append(key, application...)
}

// appendCounter appends the key of a counter that [checkCounter] lets pass.
func appendCounter(key []byte, date quota.Date, c *lease.Counter) []byte {
	if c.IsMember() {
		return append(append(appendDate(key, date), kindMember), c.Member[:]...)
	}
	return append(appendApplication(key, date, c.Application), c.Endpoint...)
}

// checkCounter refuses what is neither an application's counter nor a member's.
func checkCounter(c *lease.Counter) error {
	switch {
	case c.IsMember() && c.Endpoint != "":
		return fault.New(fault.Invalid, "a member's counter names an endpoint")
	case c.IsMember():
		return nil
	case c.Endpoint == "" || c.Member != lease.MemberKey{}:
		return fault.New(fault.Invalid, "an application's counter needs an endpoint and no member")
	case len(c.Application) > maxName || len(c.Endpoint) > maxName:
		return fault.New(fault.Invalid, "an id is longer than %d bytes", maxName)
	}
	return nil
}

// decodeCounter reads the key of a counter.
func decodeCounter(key []byte) (quota.Date, lease.Counter, error) {
	if len(key) <= dayPrefixLen || key[0] != spaceDay {
		return 0, lease.Counter{}, fmt.Errorf("key %x is not a counter's", key)
	}
	date := quota.Date(binary.BigEndian.Uint32(key[1:dayPrefixLen]) ^ 1<<31)
	kind, rest := key[dayPrefixLen], key[dayPrefixLen+1:]
	var c lease.Counter
	switch {
	case kind == kindMember && len(rest) == len(c.Member):
		copy(c.Member[:], rest)
	case kind == kindApplication && len(rest) > 2:
		n := int(binary.BigEndian.Uint16(rest))
		rest = rest[2:]
		if n == 0 || n > maxName || len(rest) <= n || len(rest)-n > maxName {
			return 0, lease.Counter{}, fmt.Errorf("key %x names no counter", key)
		}
		c.Application, c.Endpoint = string(rest[:n]), string(rest[n:])
	default:
		return 0, lease.Counter{}, fmt.Errorf("key %x names no counter", key)
	}
	return date, c, nil
}

// appendSuccessor appends the first key that follows all keys which begin with prefix. The prefixes of
// counters begin with spaceDay, so there is one.
func appendSuccessor(key, prefix []byte) []byte {
	start := len(key)
	key = append(key, prefix...)
	for i := len(key) - 1; i >= start; i-- {
		if key[i]++; key[i] != 0 {
			return key[:i+1]
		}
	}
	return key
}
