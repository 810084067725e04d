package lease

import (
	"context"

	"github.com/perdiem/perdiem/quota"
)

// MaxBatch is the most counters that one call of a [Ledger]'s methods names.
const MaxBatch = 512

// Ledger keeps, for each counter of each day, the one number that is the truth: how many calls have been granted.
// It is the only thing in perdiem that must survive a crash.
//
// Implementations are safe for concurrent use and treat each call as one step that happens wholly or not at
// all: what one call raises, a later one finds. Package ledgertest holds what each of them must do. A counter
// appears at most once in a call.
type Ledger interface {
	// Borrow grants calls of day to counters, asks[i]'s answer in grants[i]; both have the same length, at most
	// MaxBatch. When it returns nil, what it granted survives whatever the ledger promises to survive. When it
	// returns an error, some of it may have been granted all the same, and the caller must spend none of it. A day that
	// has not begun can be borrowed from, and an earlier one until it is dropped. Borrow of no counter at all reports
	// whether the ledger could grant now.
	Borrow(ctx context.Context, day quota.Day, asks []Ask, grants []Grant) error

	// OpenDay notes, as durably as a grant, that day has begun, with its start and end; a node that starts again
	// goes on from the last day opened, whatever its clock says. An earlier day than that is ignored.
	OpenDay(ctx context.Context, day quota.Day) error

	// Return takes back calls that were granted and not spent, and notes what happened at the counters. Calls never
	// take a counter below zero nor create one; notes may create one. After an error the caller must not
	// send the same calls again: they may have been taken back.
	Return(ctx context.Context, day quota.Day, returns []Return) error

	// Read returns the counters of an application on a date, by endpoint in order of id; none is no error.
	Read(ctx context.Context, date quota.Date, application string) ([]Record, error)

	// ReadMembers returns the counters of members on a date, in the order of members, which are at most MaxBatch; a
	// counter that does not exist is a zero Record.
	ReadMembers(ctx context.Context, date quota.Date, members []MemberKey) ([]Record, error)

	// HashKey returns the secret under which members are hashed (see MemberKey): made once, at random, for the
	// life of the ledger.
	HashKey() [16]byte
}

// Counter names a counter of a day: an application's, by both its names, or a member's, by its key alone.
type Counter struct {
	Application string // both empty in a member's counter
	Endpoint    string
	Member      MemberKey // zero in an application's counter
}

// IsMember reports whether the counter is a member's.
func (c Counter) IsMember() bool { return c.Application == "" }

// Ask is one counter's part of a [Ledger.Borrow].
type Ask struct {
	Counter  Counter
	Limit    quota.Limit // granted is raised at most to it
	Least    int64       // calls: fewer are not worth having, and then none are granted; at least 1
	Most     int64       // calls: at least Least, or 0 to charge Owed alone
	Owed     int64       // calls admitted while the ledger was down: charged first, whatever the limit
	LastCall int64       // Unix seconds of the call that asks, kept when later than what is known; 0: none does
}

// Grant is the answer to an [Ask].
type Grant struct {
	Calls   int64 // granted by this ask: 0, or from Least to Most
	Granted int64 // what the counter stands at after it
}

// Return is one counter's part of a [Ledger.Return].
type Return struct {
	Counter          Counter
	Calls            int64 // granted and not spent
	Refused          int64 // calls refused since the last note; on an application's counter for either limit
	RefusedForMember int64 // those of them refused for a member's limit; on an application's counter only
	LastCall         int64 // Unix seconds of the last call, kept when later than what is known; 0: no news
}

// Record is what a ledger knows of a counter.
type Record struct {
	Endpoint         string // empty in a member's
	Granted          int64  // calls, spent or still held by a node
	Refused          int64
	RefusedForMember int64
	LastCall         int64 // Unix seconds; 0: no call was noted
}
