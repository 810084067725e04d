package lease

import "github.com/perdiem/perdiem/quota"

// Decided is what became of an application's calls to an endpoint on one day, on this node, since [Book.Decided] was last called. Forfeited
// calls are none of them. A figure may be below 0, where the reset overtook what had been told before: it was decided again in the new day.
type Decided struct {
	Day              quota.Day
	Application      string
	Endpoint         string
	Admitted         int64 // calls charged
	Refused          int64 // calls refused for either limit
	RefusedForMember int64 // those of them for a member's limit

	Used  int64       // calls used of the application's limit today, as in [Usage]; -1 where the node does not know it at the moment
	Limit quota.Limit // the application's, as the last call that was not refused at the wall had it
}

// outcomes count an account's decisions since they were last told.
type outcomes struct{ admitted, refused, refusedForMember int64 }

// add counts a decision, or with a sign of -1 takes it back.
func (o *outcomes) add(d *quota.Decision, sign int64) {
	switch d.Refused {
	case quota.None:
		o.admitted += sign * d.Cost
	case quota.Member:
		o.refusedForMember += sign
		fallthrough
	default:
		o.refused += sign
	}
}

// Decided tells what was decided since it was last called, and of nothing else; each decision is told once. Those of a day that is over
// are told for half a minute after its end. tell must not call the book.
func (b *Book) Decided(tell func(Decided)) {
	for _, e := range b.epochs() {
		e.mu.Lock()
		list := e.list
		e.mu.Unlock()
		for _, app := range list {
			app.mu.Lock()
			app.bookWall()
			o, used, limit := app.outcomes, app.account.used(), app.account.limit
			if !app.account.known {
				used = -1
			}
			app.outcomes = outcomes{}
			app.mu.Unlock()
			if o != (outcomes{}) {
				tell(Decided{
					Day: e.day, Application: app.application, Endpoint: app.endpoint,
					Admitted: o.admitted, Refused: o.refused, RefusedForMember: o.refusedForMember,
					Used: used, Limit: limit,
				})
			}
		}
	}
}
