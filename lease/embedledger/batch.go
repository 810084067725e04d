package embedledger

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// batch is one change while it is made: the counters it names, in the order of their keys, which is the order in which
// the store reads and writes them best. Its memory is kept from one change to the next.
type batch struct {
	keys  []byte // all keys, one after the other
	items []item
	value []byte
}

// item is a counter of a batch.
type item struct {
	key   []byte
	index int // of the ask or return
}

// member returns the member whose counter it is, or nil.
func (i *item) member() *lease.MemberKey {
	if len(i.key) != memberKeyLen || i.key[dayPrefixLen] != kindMember {
		return nil
	}
	return (*lease.MemberKey)(i.key[dayPrefixLen+1:])
}

// reset forgets the counters of the last change.
func (b *batch) reset() { b.keys, b.items = b.keys[:0], b.items[:0] }

// add names a counter.
func (b *batch) add(date quota.Date, c *lease.Counter) {
	start := len(b.keys)
	b.keys = appendCounter(b.keys, date, c)
	// Where keys moved to grow, earlier items keep the old memory, which still holds their keys.
	b.items = append(b.items, item{key: b.keys[start:], index: len(b.items)})
}

// sort brings the counters into order and refuses a counter that is named twice.
func (b *batch) sort() error {
	slices.SortFunc(b.items, func(x, y item) int { return bytes.Compare(x.key, y.key) })
	for i := 1; i < len(b.items); i++ {
		if bytes.Equal(b.items[i-1].key, b.items[i].key) {
			return fault.New(fault.Invalid, "a counter is named twice in one batch")
		}
	}
	return nil
}

// apply reads each counter, lets change alter its record, and writes those that it says have changed. found tells
// change whether the counter exists; soon is its guess that the counter will be named again before long. The day's cache may be nil.
func (b *batch) apply(db *pebble.DB, w *pebble.Batch, c *dayCache, change func(index int, r *lease.Record, found bool) (changed, soon bool)) (err error) {
	var it *pebble.Iterator // made when it is needed
	defer func() {
		if it != nil {
			if e := it.Close(); err == nil {
				err = e
			}
		}
		if err != nil && c != nil {
			c.recent.forget() // what it was told is not written
		}
	}()
	for i := range b.items {
		item := &b.items[i]
		var r lease.Record
		known := false
		if c != nil {
			r, known = c.recent.recall(item)
		}
		member, found := item.member(), known
		if !known && (c == nil || member == nil || !c.filter.complete || c.filter.has(member)) {
			if it == nil {
				// Get never uses the bloom filters of the bottom level, an iterator does when it is told to.
				if it, err = db.NewIter(&pebble.IterOptions{UseL6Filters: true}); err != nil {
					return err
				}
			}
			found = it.SeekPrefixGE(item.key)
			if err := it.Error(); err != nil {
				return err
			}
			if found {
				if err := decodeRecord(it.Value(), &r); err != nil {
					return err
				}
			}
		}
		changed, soon := change(item.index, &r, found)
		if changed {
			b.value = appendRecord(b.value[:0], &r)
			if err := w.Set(item.key, b.value, nil); err != nil {
				return err
			}
		}
		if c == nil {
			continue
		}
		if changed && !found && member != nil {
			c.filter.add(member)
		}
		if changed && (known || soon) {
			c.recent.remember(item, &r)
		}
	}
	return nil
}
