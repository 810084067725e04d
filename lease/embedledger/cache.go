package embedledger

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// dayCache is what is kept in memory of one day's counters, so that the store need not be asked: which of the members' surely do not exist, and
// what busy ones stand at. It is guarded by the ledger's mu.
type dayCache struct {
	date   quota.Date
	filter filter
	recent recent
}

// cacheLocked returns the cache of a date, or nil where there is none.
func (l *Ledger) cacheLocked(date quota.Date) *dayCache {
	for _, c := range l.caches {
		if c.date == date {
			return c
		}
	}
	return nil
}

// dropCachesLocked lets go of the caches of days before a date.
func (l *Ledger) dropCachesLocked(before quota.Date) {
	l.caches = slices.DeleteFunc(l.caches, func(c *dayCache) bool {
		if c.date >= before {
			return false
		}
		c.filter.giveUp() // who fills it need not go on
		return true
	})
}

// openCacheLocked makes the cache of a date, which is today or later, unless there is one. Where the day has counters already, they
// are read into its filter in the background.
func (l *Ledger) openCacheLocked(date quota.Date) error {
	if date < l.meta.day.Date || l.cacheLocked(date) != nil {
		return nil
	}
	if len(l.caches) > 1 { // today's and tomorrow's are there
		return nil
	}
	it, err := l.memberCounters(date)
	if err != nil {
		return err
	}
	empty := !it.First()
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	c := &dayCache{date: date, filter: filter{complete: empty}, recent: newRecent(l.maxRecent)}
	l.caches = append(l.caches, c)
	if !empty {
		l.scans.Add(1)
		l.background.Go(func() {
			defer l.scans.Add(-1)
			if err := l.fillFilter(c); err != nil {
				l.mu.Lock()
				c.filter.giveUp()
				l.mu.Unlock()
				err = l.readError(err) // ends the ledger where it is damaged
				l.log.Warn("the ledger's counters could not be read ahead: it is slower for members that it does not know", "folder", l.dir, "error", err)
			}
		})
	}
	return nil
}

// memberCounters returns an iterator over the members' counters of a date.
func (l *Ledger) memberCounters(date quota.Date) (*pebble.Iterator, error) {
	prefix := append(appendDate(nil, date), kindMember)
	return l.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: appendSuccessor(nil, prefix)})
}

// fillFilter adds the counters that exist to the filter of a day. Those that come meanwhile are added by who writes them.
func (l *Ledger) fillFilter(c *dayCache) error {
	it, err := l.memberCounters(c.date)
	if err != nil {
		return err
	}
	defer it.Close()
	var keys [256]lease.MemberKey
	for more := it.First(); more; {
		n := 0
		for ; more && n < len(keys); more = it.Next() {
			if len(it.Key()) != memberKeyLen {
				return &damage{how: fmt.Sprintf("key %x names no counter", it.Key())}
			}
			keys[n] = lease.MemberKey(it.Key()[dayPrefixLen+1:])
			n++
		}
		l.mu.Lock()
		for i := range keys[:n] {
			c.filter.add(&keys[i])
		}
		full := c.filter.full
		l.mu.Unlock()
		if full || l.closed.Load() {
			return nil
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.filter.complete = !c.filter.full
	return nil
}
