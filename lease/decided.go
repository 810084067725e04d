package lease

import (
	"slices"

	"github.com/perdiem/perdiem/quota"
)

// Decided is what became of an application's calls to an endpoint on one day, on this node, since it was last told. Forfeited
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

// Decided tells what was decided since it was last told, and of nothing else; each decision is told once. Those of a day that is over
// are told for half a minute after its end; what was not told by then is counted in [Stats.Untold]. When tell returns false, the rest
// is left for the next call of Decided, which goes on from there, and Decided returns false. tell must not call the book.
func (b *Book) Decided(tell func(Decided) (more bool)) (all bool) {
	b.telling.Lock()
	defer b.telling.Unlock()
	epochs := b.epochs()
	slices.Reverse(epochs) // the running day, where there is always more, is the last: it keeps no other from being told
	for _, e := range epochs {
		e.mu.Lock()
		list := e.list
		e.mu.Unlock()
		for e.toldTo < len(list) {
			app := list[e.toldTo]
			e.toldTo++
			if d, ok := e.decided(app); ok && !tell(d) {
				return false
			}
		}
		e.toldTo = 0
	}
	return true
}

// DecidedOf is as [Book.Decided], of one application, at a cost that depends on nobody else.
func (b *Book) DecidedOf(application string, tell func(Decided)) {
	for _, e := range b.epochs() {
		for _, app := range e.of(application) {
			if d, ok := e.decided(app); ok {
				tell(d)
			}
		}
	}
}

// decided takes out of an account what was decided since it was last told, and ok is false where nothing was.
func (e *epoch) decided(app *applicationAccount) (d Decided, ok bool) {
	app.mu.Lock()
	defer app.mu.Unlock()
	app.bookRefused()
	o, used := app.outcomes, app.account.used()
	if o == (outcomes{}) {
		return d, false
	}
	if !app.account.known {
		used = -1
	}
	app.outcomes = outcomes{}
	return Decided{
		Day: e.day, Application: app.application, Endpoint: app.endpoint,
		Admitted: o.admitted, Refused: o.refused, RefusedForMember: o.refusedForMember,
		Used: used, Limit: app.account.limit,
	}, true
}

// untold returns how many decisions of a day were not told.
func (e *epoch) untold() (calls int64) {
	e.mu.Lock()
	list := e.list
	e.mu.Unlock()
	for _, app := range list {
		if d, ok := e.decided(app); ok {
			calls += max(0, d.Admitted) + max(0, d.Refused)
		}
	}
	return calls
}
