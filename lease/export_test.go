package lease

import "time"

// Kill stops the book as a crash does: leases in hand are lost, calls that wait are never answered.
func (b *Book) Kill() {
	if b.stopping.Swap(true) {
		return
	}
	b.sweeper.halt()
	b.lane.stop()
}

// Returned is the time after which a day that is over holds no lease any more.
const Returned = returnOver + time.Second
