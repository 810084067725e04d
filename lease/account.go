package lease

import (
	"github.com/perdiem/perdiem/quota"
)

// tick is a time in sixteenths of a second since the book was opened, by the monotonic clock where there is one.
type tick uint32

const ticksPerSecond = 16

// account is what a node knows of one counter of one day, and the calls of it that the node holds. It is a plain value
// without pointers: a million of them cost the garbage collector nothing. Whoever uses one holds the lock of its
// shard, or of its applicationAccount.
type account struct {
	granted int64       // calls that the ledger has granted, those on their way back to it not counted; valid once known
	have    int64       // calls in hand: borrowed, not spent
	limit   quota.Limit // of the last call
	owed    int64       // calls admitted while the ledger was down, not yet charged to it
	refused uint32      // calls refused since the last note to the ledger
	mark    [2]uint32   // what used() was at the last sweep, and at the one before; its low 32 bits
	asked   tick        // when it was last borrowed for
	cost    uint32      // of the call that last made it borrow
	waiting uint32      // calls that wait for a borrow of this counter: while any do, nobody takes from have before them
	ask     uint16      // while it is being borrowed for: its place in the lane's asks, plus one
	doubled uint8       // refills in a row, each within refillSoon of the one before
	sweep   uint8       // the sweep that last saw the account
	known   bool        // granted is what the ledger said last, and nothing has gone wrong since
	noting  bool        // a return or a note is on its way to the ledger
	told    uint8       // of a member's: the percentage of the limit that was last told of; 0: none was
	topping bool        // the lane is to top it up: calls are taken from it meanwhile, and nothing is returned once it is asked for
}

const (
	refillSoon = 4 * ticksPerSecond // a refill this soon after the last doubles the block
	maxDoubled = 60

	// steadyUse is how many calls in each of the last two half seconds make a counter one that is topped up before it is empty. After a
	// burst, what was borrowed ahead would only have to be returned.
	steadyUse = 2
)

// used returns the calls charged today, as far as the node knows: admitted here or elsewhere, or forfeited in a crash.
func (a *account) used() int64 { return a.granted - a.have + a.owed }

// usedOf returns the calls charged today when the ledger says that it has granted so many: what the node knows counts, where it is sure.
func (a *account) usedOf(granted int64) int64 {
	if a.known {
		return a.used()
	}
	return granted - a.have + a.owed
}

// pays reports whether cost calls are in hand; for a call that arrives, only when none waits before it.
func (a *account) pays(cost int64, arrives bool) bool {
	return a.have >= cost && (a.waiting == 0 || !arrives)
}

// wants reports whether the ledger has to be asked before the account can pay cost calls, or say that it cannot.
func (a *account) wants(cost int64) bool { return !a.known || a.have < cost }

// book enters a decision: a charge when it was admitted, which is owed where too little is in hand, and a refusal when it is this
// account's to count.
func (a *account) book(d quota.Decision, refused bool, limit quota.Limit) {
	a.limit = limit
	switch {
	case refused:
		a.refused++
	case d.Refused != quota.None:
	case a.have >= d.Cost:
		a.have -= d.Cost
	default:
		a.owed += d.Cost
	}
}

// undo takes a decision back. A refusal that has been noted in the ledger meanwhile stays.
func (a *account) undo(d quota.Decision, refused bool) {
	switch {
	case refused:
		a.refused -= min(a.refused, 1)
	case d.Refused != quota.None:
	case a.owed >= d.Cost && a.ask == 0: // else what is owed is being charged
		a.owed -= d.Cost
	default:
		a.have += d.Cost
	}
}

// recent returns the calls used since the sweep before the last one, a half to one second ago.
func (a *account) recent() int64 { return max(0, int64(int32(uint32(a.used())-a.mark[1]))) }

// spent returns the calls of recent that were used today: what was borrowed ahead of the day counts as recent, so that it is kept.
func (a *account) spent() int64 { return min(a.recent(), a.used()) }

// least returns how many calls one more request needs.
func (a *account) least() int64 { return max(1, int64(a.cost)) }

// markUsed makes recent start from n calls.
func (a *account) markUsed(n int64) {
	m := uint32(a.used() - n)
	a.mark = [2]uint32{m, m}
}

// blockCap returns the most calls that are borrowed beyond those that wait: 1 % of the limit, but up to 8 where a
// sixteenth of the limit allows it. Limits up to 31 are granted one request at a time.
func blockCap(limit quota.Limit) int64 {
	small := min(8, int64(limit)/16)
	if small < 2 {
		small = 0
	}
	return max(int64(limit)/100, small)
}

// block returns how many calls to borrow beyond those that wait, and notes that it was asked. It starts at a request's
// cost, doubles with each refill that follows soon, and stays within what a crash may forfeit: twice what the counter's last
// second used, and the block cap. Half of what remains at the most is taken, so that a limit's end is shared out.
func (a *account) block(limit quota.Limit, cost int64, now tick) int64 {
	if a.known && now-a.asked < refillSoon {
		a.doubled = min(a.doubled+1, maxDoubled)
	} else {
		a.doubled = 0
	}
	a.asked, a.cost = now, uint32(cost)
	if !a.known {
		return 0
	}
	size := int64(quota.Unlimited)
	if a.doubled < 32 { // cost << 32 is far beyond every cap that matters, and never overflows
		size = cost << a.doubled
	}
	return max(0, min(size, 2*a.spent(), blockCap(limit), limit.Left(a.granted)/2))
}

// topUp returns how many calls to have in hand, for a counter in steady use that would otherwise run dry before the sweep after next; else
// 0. It is to be asked at a sweep, when recent is the use of a whole second: with less than that in hand, chance alone would often use up the rest
// before the next sweep; with more than 7/4 of it, a little less use would send some of it back.
func (a *account) topUp() int64 {
	spent := a.spent()
	before := int64(int32(a.mark[0] - a.mark[1]))
	if !a.known || min(before, spent-before) < steadyUse || a.have >= spent {
		return 0
	}
	upTo := min(spent*7/4, blockCap(a.limit))
	if more := upTo - a.have; more < a.least() || more > a.limit.Left(a.granted)/2 {
		return 0
	}
	return upTo
}

// excess returns the calls in hand beyond what a crash may forfeit.
func (a *account) excess() int64 { return max(0, a.have-2*a.recent()) }

// credit enters a ledger's answer to an ask that charged owed calls. When nothing else was on its way to the ledger (settled), its
// figure is the truth; otherwise only the difference is sure.
func (a *account) credit(g Grant, owed int64, settled bool) {
	a.owed -= owed
	a.have += g.Calls
	if a.known && !settled {
		a.granted += g.Calls + owed
		return
	}
	a.granted = g.Granted
	if !a.known {
		a.known = settled
		a.markUsed(0)
	}
}
