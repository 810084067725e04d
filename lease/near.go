package lease

import "github.com/perdiem/perdiem/quota"

// Near says that a member has come near its limit.
type Near struct {
	Day         quota.Date
	Application string
	Endpoint    string
	Member      string
	Limit       quota.Limit // the member's, of which the percentage is
	Percent     int         // of the limit that is used, rounded down: 50 to 100; 100, too, where a call was refused for it
}

// nearPercent is the least that is told. Each percentage is told once, as long as the account stays in memory and the limit what it is: a member
// whose limit is L calls costs at most the smaller of L/2 and 51 tellings a day.
const nearPercent = 50

// comeNear notes to tell of a member who has come to a higher percentage of its limit, whose account is locked. A refused call tells of it, too, where
// nothing was told before: the member came near before the node started, or before the account left memory. Only a call that is refused at the wall
// tells nothing.
func (c *call) comeNear(d *quota.Decision, member *account) {
	if d.MemberUnknown || d.Member.Limit <= 0 {
		return
	}
	percent := uint8(min(100, 100*d.Member.Used/int64(d.Member.Limit)))
	if d.Refused == quota.Member {
		percent = 100 // what is left pays for no such call: that is the wall, though a cheaper call may pass
	}
	if percent > member.told {
		member.told, c.near = percent, percent
	}
}
