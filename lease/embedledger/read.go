package embedledger

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// Read implements [lease.Ledger].
func (l *Ledger) Read(ctx context.Context, date quota.Date, application string) ([]lease.Record, error) {
	if application == "" || len(application) > maxName {
		return nil, fault.New(fault.Invalid, "an application's id has 1 to %d bytes", maxName)
	}
	if err := l.begin(ctx); err != nil {
		return nil, err
	}
	defer l.end()
	records, err := l.read(date, application)
	if err != nil {
		return nil, l.readError(err)
	}
	return records, l.answers()
}

func (l *Ledger) read(date quota.Date, application string) (records []lease.Record, err error) {
	prefix := appendApplication(nil, date, application)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: appendSuccessor(nil, prefix)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		_, counter, err := decodeCounter(it.Key())
		if err != nil {
			return nil, &damage{how: err.Error()}
		}
		var r lease.Record
		if err := decodeRecord(it.Value(), &r); err != nil {
			return nil, err
		}
		r.Endpoint = counter.Endpoint
		records = append(records, r)
	}
	return records, nil
}

// ReadMembers implements [lease.Ledger].
func (l *Ledger) ReadMembers(ctx context.Context, date quota.Date, members []lease.MemberKey) ([]lease.Record, error) {
	if len(members) > lease.MaxBatch {
		return nil, fault.New(fault.Invalid, "%d members: at most %d", len(members), lease.MaxBatch)
	}
	if err := l.begin(ctx); err != nil {
		return nil, err
	}
	defer l.end()
	records, err := l.readMembers(date, members)
	if err != nil {
		return nil, l.readError(err)
	}
	return records, l.answers()
}

func (l *Ledger) readMembers(date quota.Date, members []lease.MemberKey) (records []lease.Record, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	records = make([]lease.Record, len(members))
	key := make([]byte, 0, memberKeyLen)
	for i := range members {
		key = appendCounter(key[:0], date, &lease.Counter{Member: members[i]})
		if it.SeekPrefixGE(key) {
			if err := decodeRecord(it.Value(), &records[i]); err != nil {
				return nil, err
			}
		}
	}
	return records, nil
}
