package quota

import (
	"fmt"
	"strconv"
)

// Limit is a number of calls a day: 0 to [MaxLimit], or [Unlimited]. A limit of 0 is no access.
type Limit int64

const (
	// MaxLimit is the highest limit that can be set, in calls a day.
	MaxLimit Limit = 999_999_999_999_999
	// Unlimited counts calls and never refuses one. Inside it is a number like any other, the largest that
	// every store can hold exactly (Redis' Lua computes in doubles): a limit set at noon finds each call counted.
	Unlimited Limit = 1<<53 - 1
	// NoAccess is the limit of an application that may not call an endpoint at all.
	NoAccess Limit = 0
)

// ParseLimit reads a limit as it is written in a catalog: a whole number from 0 to 999999999999999, or
// "unlimited". The error says what is allowed.
func ParseLimit(s string) (Limit, error) {
	if s == "unlimited" {
		return Unlimited, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > int64(MaxLimit) || s[0] == '+' {
		return 0, fmt.Errorf("limit %q: must be a whole number from 0 to %d, or unlimited", s, MaxLimit)
	}
	return Limit(n), nil
}

// String returns the limit as [ParseLimit] reads it.
func (l Limit) String() string {
	if l == Unlimited {
		return "unlimited"
	}
	return strconv.FormatInt(int64(l), 10)
}

// MarshalJSON writes a number, or null where the limit is [Unlimited].
func (l Limit) MarshalJSON() ([]byte, error) {
	if l == Unlimited {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, int64(l), 10), nil
}

// Left returns how many calls remain when used calls are used: never below 0.
func (l Limit) Left(used int64) int64 { return max(0, int64(l)-used) }
