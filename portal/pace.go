package portal

import (
	"maps"
	"sync"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/identity"
)

// paces hold each of several that have a name to doing something a number of times at once, and then once in a while. They are safe for concurrent use.
type paces struct {
	atOnce int // 1 and more
	every  time.Duration

	mu     sync.Mutex
	rested map[string]time.Time // guarded by mu: from when on somebody may do it atOnce times again; who is not there may now
}

func newPaces(atOnce int, every time.Duration) *paces {
	return &paces{atOnce: atOnce, every: every, rested: map[string]time.Time{}}
}

// take notes that somebody does it now, and returns 0; or for how long they have to wait before they may.
func (p *paces) take(name string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := time.Duration(p.atOnce) * p.every // later than that from now, the clock was set back
	maps.DeleteFunc(p.rested, func(_ string, rested time.Time) bool { return !rested.After(now) || rested.Sub(now) > most })
	rested, tired := p.rested[name]
	if !tired {
		rested = now
	}
	rested = rested.Add(p.every)
	if wait := rested.Sub(now) - most; wait > 0 {
		return wait
	}
	p.rested[name] = rested
	return 0
}

// giveBack undoes a take that came to nothing.
func (p *paces) giveBack(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rested, tired := p.rested[name]; tired {
		p.rested[name] = rested.Add(-p.every)
	}
}

// How often an account may send the forms of applications' tabs.
const (
	formsAtOnce = 30
	formEvery   = 2 * time.Second
)

// keepPace holds the forms that change something of an application to their pace, by the account, which could else fill the registry, or ask which other
// accounts there are. Nobody is held up by what another does, and operators by nothing: they may have to take something away at once.
func (v *visit) keepPace() error {
	if v.account.Operator {
		return nil
	}
	wait := v.portal.forms.take(v.account.Email, v.portal.Now())
	if wait == 0 {
		return nil
	}
	return fault.Wrap(fault.Exhausted, identity.Wait(wait), "Your account has sent many forms in a short time. Nothing was done: send it again in a moment.")
}
