package embedledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// filter is a Bloom filter of the members' counters of one day. Most borrows are for a counter that does not exist yet, and
// where the filter says so the store is not asked: its own filters answer table by table, and its memtables by searching.
//
// It grows by layers, each of four times the last one's counters: what is in any of them may exist. What it takes of the memory
// is bounded: a day of more counters goes on without. It is guarded by the ledger's mu.
//
// Beside it is what the day's busy counters stand at, for which the store is not asked either.
type filter struct {
	recent   recent
	date     quota.Date
	layers   []layer
	room     int  // counters that the last layer still takes
	complete bool // each counter that exists was added
	full     bool // it was given up
}

// layer is cut into lines of the processor's cache. A key has one line, and one bit in each of its words.
type layer [][8]uint64

const (
	firstLayer = 1 << 14 // counters
	growth     = 4
	maxLayers  = 6  // the last is for 16 million counters, and takes 24 MiB; all take 32
	keyBits    = 12 // of a layer, for each counter that it takes: about one in 150 that are not in it seems to be
)

// has reports whether the counter of a member may exist.
func (f *filter) has(k *lease.MemberKey) bool {
	return slices.ContainsFunc(f.layers, func(l layer) bool {
		line, at := l.find(k)
		for i := range line {
			if line[i]&(1<<(at>>(6*i)&63)) == 0 {
				return false
			}
		}
		return true
	})
}

// add notes that the counter of a member exists, or is about to.
func (f *filter) add(k *lease.MemberKey) {
	if f.full || f.has(k) {
		return
	}
	if f.room == 0 {
		if len(f.layers) == maxLayers {
			f.giveUp()
			return
		}
		f.room = firstLayer
		for range f.layers {
			f.room *= growth
		}
		f.layers = append(f.layers, make(layer, f.room*keyBits/512))
	}
	f.room--
	line, at := f.layers[len(f.layers)-1].find(k)
	for i := range line {
		line[i] |= 1 << (at >> (6 * i) & 63)
	}
}

// giveUp makes it a filter that is never asked.
func (f *filter) giveUp() { f.layers, f.full, f.complete = nil, true, false }

// find returns the line of a key, and the places of its bits in the words, six bits each. Keys are hashes under a secret: their own bits
// are as good as any.
func (l layer) find(k *lease.MemberKey) (line *[8]uint64, at uint64) {
	i, _ := bits.Mul64(binary.LittleEndian.Uint64(k[:8]), uint64(len(l)))
	return &l[i], binary.LittleEndian.Uint64(k[8:])
}

// filterLocked returns the filter of a date, or nil where there is none.
func (l *Ledger) filterLocked(date quota.Date) *filter {
	for _, f := range l.filters {
		if f.date == date {
			return f
		}
	}
	return nil
}

// dropFiltersLocked lets go of the filters of days before a date.
func (l *Ledger) dropFiltersLocked(before quota.Date) {
	l.filters = slices.DeleteFunc(l.filters, func(f *filter) bool {
		if f.date >= before {
			return false
		}
		f.giveUp() // who fills it need not go on
		return true
	})
}

// openFilterLocked makes the filter of a date, which is today or later, unless there is one. Where the day has counters already, they
// are read in the background.
func (l *Ledger) openFilterLocked(date quota.Date) error {
	if date < l.meta.day.Date || l.filterLocked(date) != nil {
		return nil
	}
	if len(l.filters) > 1 { // today's and tomorrow's are there
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
	f := &filter{recent: newRecent(l.maxRecent), date: date, complete: empty}
	l.filters = append(l.filters, f)
	if !empty {
		l.scans.Add(1)
		l.background.Go(func() {
			defer l.scans.Add(-1)
			if err := l.fillFilter(f); err != nil {
				l.mu.Lock()
				f.giveUp()
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

// fillFilter adds the counters that exist. Those that come meanwhile are added by who writes them.
func (l *Ledger) fillFilter(f *filter) error {
	it, err := l.memberCounters(f.date)
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
			f.add(&keys[i])
		}
		full := f.full
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
	f.complete = !f.full
	return nil
}
