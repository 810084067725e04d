package embedledger

import (
	"fmt"
	"sync"
	"time"

	"github.com/perdiem/perdiem/fault"
)

const (
	// spaceEvery is how long an answer about free space holds.
	spaceEvery = 100 * time.Millisecond
	// spaceBytes is how much may be written before free space is looked at again.
	spaceBytes = 4 << 20
)

// space guards the disk's free space: grants stop while there is little, returns go on for longer, and the
// rest is for the store's own housekeeping.
type space struct {
	free func() (uint64, error) // bytes
	min  uint64                 // bytes: below it grants stop; below a quarter of it everything does
	now  func() time.Time

	mu      sync.Mutex // guards all below
	checked time.Time  // when free was last asked; zero: never
	left    uint64     // bytes: what it said, less what was written since
	written uint64     // bytes since then
	err     error      // what went wrong when it was asked
}

// check returns an error when fewer bytes than least are free.
func (s *space) check(least uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if age := now.Sub(s.checked); age < 0 || age >= spaceEvery || s.written >= spaceBytes {
		s.left, s.err = s.free()
		s.checked, s.written = now, 0
	}
	switch {
	case s.err != nil:
		return fault.Wrap(fault.Unavailable, s.err, "The ledger cannot tell how much room its disk has.")
	case s.left < least:
		return fault.Wrap(fault.Unavailable, fmt.Errorf("%d MiB are free, %d MiB are needed: make room, and grants go on by themselves",
			s.left>>20, least>>20), "The ledger's disk is almost full.")
	}
	return nil
}

// wrote notes that n bytes were written.
func (s *space) wrote(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += uint64(n)
	s.left -= min(s.left, uint64(n))
}
