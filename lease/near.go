package lease

import "github.com/perdiem/perdiem/quota"

// Near says that a member has come near its limit.
type Near struct {
	Day         quota.Date
	Application string
	Endpoint    string
	Member      string
	Percent     int // of the limit that is used, rounded down: 50 to 100
}

// nearPercent is the least that is told. Each percentage is told once, as long as the account stays in memory: a member whose limit is L calls costs
// at most the smaller of L/2 and 51 tellings a day.
const nearPercent = 50

// comeNear notes to tell of a member who has come to another percentage of its limit, whose account is locked. A refused call tells of it, too, where
// nothing was told before: the member came near before the node started, or before the account left memory. Only a call that is refused at the wall
// tells nothing.
func (c *call) comeNear(d *quota.Decision, member *account) {
	if d.MemberUnknown || d.Member.Limit <= 0 {
		return
	}
	percent := uint8(min(100, 100*d.Member.Used/int64(d.Member.Limit)))
	if percent != member.told {
		member.told, c.near = percent, percent
	}
}
