package embedledger

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/perdiem/perdiem/lease"
)

// filter is a Bloom filter of the members' counters of one day. Most borrows are for a counter that does not exist yet, and
// where the filter says so the store is not asked: its own filters answer table by table, and its memtables by searching.
//
// It grows by layers, each of four times the last one's counters: what is in any of them may exist. What it takes of the memory
// is bounded: a day of more counters goes on without.
type filter struct {
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
