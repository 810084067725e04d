package lease

import (
	"time"

	"github.com/perdiem/perdiem/quota"
)

// call is a [Call] together with the accounts that decide it.
type call struct {
	Call
	epoch *epoch
	app   *applicationAccount
	key   MemberKey // of the member's account, when the call has a member
	now   time.Time // when it began to wait for the lane
	near  uint8     // the percentage of its limit that the member has come to, where that is to be told; else 0
}

// verdict is what its accounts say to a call.
type verdict uint8

const (
	short  verdict = iota // nothing yet: calls have to be borrowed, or the ledger asked what is used
	admit                 // charge both
	refuse                // charge neither
)

// judge weighs the call against its two accounts, whose locks are held, and changes nothing; member is nil when there is none. A call that arrives
// does not pass those that wait for the same account.
//
// On a single node what a known account shows is exact, so a limit that it shows as reached refuses without asking anybody. Any
// refusal needs the application's account known, since the application is the one to be named where both limits are reached.
func (c *call) judge(member *account, arrives bool) (quota.Decision, verdict) {
	app := &c.app.account
	used := quota.Used{Application: app.used()}
	memberKnown, inHand := true, app.pays(c.Cost, arrives)
	if member != nil {
		used.Member, memberKnown = member.used(), member.known
		inHand = inHand && member.pays(c.Cost, arrives)
	}
	d := quota.Decide(c.charge(), used)
	d.Day = c.epoch.day
	switch {
	case d.Refused == quota.None && inHand:
		return d, admit
	case d.Refused == quota.Application && app.known, d.Refused == quota.Member && app.known && memberKnown:
		d.MemberUnknown = !memberKnown
		return d, refuse
	default:
		return d, short
	}
}

// atWall refuses the call where its application is known to have nothing left, and counts nothing; ok is false where it may have.
func (c *call) atWall() (d quota.Decision, ok bool) {
	wall := c.app.wall.Load()
	if wall == 0 || c.Limits.Application.Left(wall) > 0 {
		return quota.Decision{}, false
	}
	used := quota.Used{Application: wall}
	memberKnown := true
	if c.Member != "" {
		s := c.epoch.shard(c.key)
		s.mu.Lock()
		member := s.table.find(c.key)
		memberKnown = member != nil && member.known
		if memberKnown {
			used.Member = member.used()
		}
		s.mu.Unlock()
	}
	d = quota.Decide(c.charge(), used)
	d.Day, d.MemberUnknown = c.epoch.day, !memberKnown
	return d, true
}

// take decides the call from memory. Its verdict is short when that cannot be done.
func (c *call) take() (quota.Decision, verdict) {
	if c.Member == "" {
		c.app.mu.Lock()
		defer c.app.mu.Unlock()
		return c.enter(nil, true)
	}
	s := c.epoch.shard(c.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	member := s.table.find(c.key)
	if member == nil {
		member = &account{} // unknown: not entered before it has to be
	}
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	return c.enter(member, true)
}

// enter judges the call and enters the verdict into its accounts, whose locks are held.
func (c *call) enter(member *account, arrives bool) (quota.Decision, verdict) {
	d, v := c.judge(member, arrives)
	if v != short {
		c.book(d, member)
	}
	return d, v
}

// book enters a decision into the call's accounts, whose locks are held. What an admitted call does not find in hand is owed.
func (c *call) book(d quota.Decision, member *account) {
	c.app.account.book(d, d.Refused == quota.Application, c.Limits.Application)
	if member != nil {
		if member.limit != c.Limits.Member {
			member.told = 0 // it was of another limit
		}
		member.book(d, d.Refused == quota.Member, c.Limits.Member)
		if member.told < 100 && (d.Refused == quota.Member || 100*d.Member.Used >= nearPercent*int64(d.Member.Limit)) {
			c.comeNear(&d, member)
		}
	}
	if d.Refused == quota.Member {
		c.app.memberRefused++
		return
	}
	if d.Refused == quota.Application && c.app.account.known && d.Application.Remaining() == 0 {
		c.app.wall.Store(d.Application.Used)
	}
	c.app.outcomes.add(&d, 1)
}

// lock locks the call's accounts and returns the member's, which is made when there is none, and nil when the call has no member.
func (c *call) lock() (member *account, unlock func()) {
	app := c.app // the lane's waiters are another's as soon as they are answered
	if c.Member == "" {
		app.mu.Lock()
		return nil, app.mu.Unlock
	}
	s := c.epoch.shard(c.key)
	s.mu.Lock()
	member = s.table.insert(c.key)
	app.mu.Lock()
	return member, func() {
		app.mu.Unlock()
		s.mu.Unlock()
	}
}

// maxOwing is how many members' accounts of a shard may owe calls, so that an outage of the ledger cannot fill the memory.
const maxOwing = 4096

// onCredit decides the call without the ledger, by what is known of its accounts, whose locks are held: within that it is admitted,
// and owed where too little is in hand. ok is false when too many members owe already.
func (c *call) onCredit(member *account) (d quota.Decision, ok bool) {
	d, _ = c.judge(member, false)
	if d.Admitted() && member != nil && member.owed == 0 && member.have < c.Cost {
		s := c.epoch.shard(c.key)
		if s.owing >= maxOwing {
			return d, false
		}
		s.owing++
	}
	c.book(d, member)
	return d, true
}

// undo takes a decision back that has not been told to anybody: it came after its day's end.
func (c *call) undo(d quota.Decision) {
	member, unlock := c.lock()
	defer unlock()
	c.app.bookRefused()
	c.app.account.undo(d, d.Refused != quota.None)
	c.app.wall.Store(0) // what is used has just fallen
	if member != nil {
		member.undo(d, d.Refused == quota.Member)
	}
	if d.Refused == quota.Member && c.app.refusedForMember > 0 {
		c.app.refusedForMember--
	}
	c.app.outcomes.add(&d, -1)
}
