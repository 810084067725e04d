package lease

import "encoding/binary"

// table maps member keys to accounts: open addressing with linear probing over one slice without pointers. Keys are
// keyed hashes, so their own bits spread them, and nobody outside can aim at one slot. The zero table is empty and ready.
//
// A pointer that it returns holds until the next insert, remove or fit.
type table struct {
	slots []slot // its length is zero or a power of two
	count int
}

type slot struct {
	key  MemberKey
	full bool
	account
}

const minSlots = 16

func (t *table) home(k MemberKey) int {
	return int(binary.LittleEndian.Uint64(k[:8])>>8) & (len(t.slots) - 1)
}

// find returns the key's account, or nil.
func (t *table) find(k MemberKey) *account {
	if t.count == 0 {
		return nil
	}
	for i := t.home(k); t.slots[i].full; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i].key == k {
			return &t.slots[i].account
		}
	}
	return nil
}

// insert returns the key's account, which is new and zero when there was none.
func (t *table) insert(k MemberKey) *account {
	if 4*(t.count+1) > 3*len(t.slots) {
		t.resize(max(minSlots, 2*len(t.slots)))
	}
	i := t.home(k)
	for ; t.slots[i].full; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i].key == k {
			return &t.slots[i].account
		}
	}
	t.slots[i] = slot{key: k, full: true}
	t.count++
	return &t.slots[i].account
}

// removeAt empties slot i, moving back what had been pushed past it: slot i may be full again afterwards.
func (t *table) removeAt(i int) {
	mask := len(t.slots) - 1
	for j := (i + 1) & mask; t.slots[j].full; j = (j + 1) & mask {
		// The slot at j may fill the hole at i unless its home lies between them, i excluded.
		if h := t.home(t.slots[j].key); (j-h)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = slot{}
	t.count--
}

// fit gives memory back when the table has become far too large for what it holds.
func (t *table) fit() {
	if len(t.slots) > minSlots && 8*t.count < len(t.slots) {
		n := minSlots
		for 2*t.count > n {
			n *= 2
		}
		t.resize(n)
	}
}

func (t *table) resize(n int) {
	old := t.slots
	t.slots = make([]slot, n)
	for s := range old {
		if !old[s].full {
			continue
		}
		i := t.home(old[s].key)
		for t.slots[i].full {
			i = (i + 1) & (n - 1)
		}
		t.slots[i] = old[s]
	}
}
