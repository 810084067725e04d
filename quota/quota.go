// Package quota is the arithmetic of daily allowances: limits, days, charges and decisions. It is pure:
// it reads no clock, holds no state and does no I/O, so that everything else can be tested against it.
//
// The rule is [Decide]: a call is admitted when both its application and, if it has one, its member have
// its cost left for the day; then both are charged. Otherwise it is refused and neither is charged. Where both
// limits are reached, the application's is named.
//
// The cases in testdata/vectors are replayed by Decide, by the leases on each ledger, and by each door.
package quota

// Kind tells the two limits of a call apart.
type Kind uint8

// The kinds of limit. The zero Kind is none of them: nothing refused.
const (
	None        Kind = iota
	Application      // all calls of an application to an endpoint in a day
	Member           // the calls of one member through that application
)

// String returns "application", "member" or "none", as in headers and answers.
func (k Kind) String() string {
	switch k {
	case Application:
		return "application"
	case Member:
		return "member"
	default:
		return "none"
	}
}

// MaxCost is the most that one request may be charged, in calls.
const MaxCost = 1_000_000

// Limits are the two limits that hold for one application's calls to one endpoint.
type Limits struct {
	Application Limit
	Member      Limit
}

// Charge is what a call asks for.
type Charge struct {
	Limits    Limits
	Cost      int64 // calls, 1 to MaxCost
	HasMember bool  // false: the application acts for itself and only its own limit applies
}

// Used is what both counters stand at, in calls.
type Used struct {
	Application int64
	Member      int64
}

// Allowance is one limit and what has been used of it, in calls.
type Allowance struct {
	Limit Limit
	Used  int64
}

// Remaining returns the calls left under the limit: never below 0.
func (a Allowance) Remaining() int64 { return a.Limit.Left(a.Used) }

// Decision is the answer to a call: the state of both allowances after it, and which limit refused it.
type Decision struct {
	Refused     Kind // None: admitted and charged; otherwise the limit that is reached: charged to neither
	Cost        int64
	Application Allowance
	Member      Allowance // zero when HasMember is false
	HasMember   bool
	// MemberUnknown says that the application's limit refused the call before what the member has used was looked
	// up: Member.Used means nothing then, Member.Limit holds.
	MemberUnknown bool
	Day           Day // the day to which the call belongs; its End is the reset
}

// Admitted reports whether the call may go on.
func (d Decision) Admitted() bool { return d.Refused == None }

// Violated returns the allowance that refused the call; ok is false when none did.
func (d Decision) Violated() (a Allowance, ok bool) {
	switch d.Refused {
	case Application:
		return d.Application, true
	case Member:
		return d.Member, true
	default:
		return Allowance{}, false
	}
}

// Decide answers a charge against what both counters stand at. The decision's allowances include the charge
// when it is admitted. Its Day is left for the caller to set.
func Decide(c Charge, u Used) Decision {
	d := Decision{
		Cost:        c.Cost,
		HasMember:   c.HasMember,
		Application: Allowance{Limit: c.Limits.Application, Used: u.Application},
	}
	if c.HasMember {
		d.Member = Allowance{Limit: c.Limits.Member, Used: u.Member}
	}
	switch {
	case !Fits(c.Limits.Application, u.Application, c.Cost):
		d.Refused = Application
	case c.HasMember && !Fits(c.Limits.Member, u.Member, c.Cost):
		d.Refused = Member
	default:
		d.Application.Used += c.Cost
		if c.HasMember {
			d.Member.Used += c.Cost
		}
	}
	return d
}

// Fits reports whether cost more calls stay within limit when used calls are used. It cannot overflow: the cost
// is at most [MaxCost], and no counter reaches 2^62.
func Fits(limit Limit, used, cost int64) bool { return used+cost <= int64(limit) }
