package identity

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/internal/netaddr"
	"github.com/perdiem/perdiem/registry"
)

// SignIns lets people sign in to the portal by email and password, and those who guess wait. It is safe for concurrent use.
//
// An address here is what package network counts as one. Three things are counted, and all by what was tried, not by what there is, so that they tell
// nobody which accounts exist:
//
//   - an email from an address: after some failures each further one doubles the time to wait, up to some minutes;
//   - an address, whatever the email: so many failures at once, and then a slow pace;
//   - an email, from whatever address: the same.
//
// From an address or a browser from which somebody has signed in to an account before, only the first holds for that account, and a browser counts as an
// address of its own. So whoever guesses elsewhere, even from many addresses at once, does not keep the owner out; whoever guesses from the owner's own
// address does for minutes, and where the owner's browser is known not even that. An attempt is
// counted before the password is looked at, and taken back when it turns out to be good, or cannot be decided: many at once get no further than one after the other.
//
// All of it but the browsers' marks is in memory, bounded: a node that starts remembers no address.
type SignIns struct {
	account   func(ctx context.Context, email string) (registry.Account, error)
	passwords *Passwords
	browsers  *BrowserKey
	seed      maphash.Seed

	mu        sync.Mutex
	pairs     bounded[pair, failures]         // guarded by mu
	addresses bounded[netip.Addr, time.Time]  // guarded by mu: when what was tried is paid for, at addressPace
	emails    bounded[emailKey, time.Time]    // guarded by mu: the same, at emailPace
	familiar  bounded[emailKey, []netip.Addr] // guarded by mu: from where accounts were signed in to, the last first
}

// emailKey is a keyed hash of an email.
type emailKey uint64

// pair is an email and from where it was tried: an address or, where it brings a mark of the email's account, a browser.
type pair struct {
	email   emailKey
	address netip.Addr
	browser browser
}

// failures are attempts of a pair that did not succeed, one after the other.
type failures struct {
	count int
	last  time.Time
}

const (
	freeFailures   = 5               // of a pair: no wait follows these
	firstWait      = time.Second     // after one more; doubles with each that follows
	longestWait    = 5 * time.Minute // nobody who got a password wrong waits for longer
	forgetFailures = 24 * time.Hour  // after the last
	familiarPlaces = 8               // of an account, that are remembered
	signInsKept    = 1 << 16         // of pairs, addresses and emails each
)

// pace is how often something may be tried.
type pace struct {
	burst int           // at once
	every time.Duration // one more
}

var (
	addressPace = pace{burst: 30, every: 20 * time.Second} // an office may be behind one address
	emailPace   = pace{burst: 30, every: time.Minute}      // 1,470 guesses a day, wherever they come from
)

// SignInOptions are what [SignIns] need. All are required.
type SignInOptions struct {
	// Account returns the account of an email: [registry.Accounts.Account].
	Account   func(ctx context.Context, email string) (registry.Account, error)
	Passwords *Passwords
	Browsers  *BrowserKey
}

// From is from where somebody signs in.
type From struct {
	Address netip.Addr // the client's
	Mark    string     // that the browser has kept: see [BrowserKey.Mark]; empty: none
}

// NewSignIns returns the one that a process needs, or an error that says which option is missing.
func NewSignIns(o SignInOptions) (*SignIns, error) {
	if o.Account == nil || o.Passwords == nil || o.Browsers == nil {
		return nil, errors.New("identity: SignInOptions need Account, Passwords and Browsers")
	}
	return &SignIns{
		account: o.Account, passwords: o.Passwords, browsers: o.Browsers, seed: maphash.MakeSeed(),
		pairs: bounded[pair, failures]{}, addresses: bounded[netip.Addr, time.Time]{}, emails: bounded[emailKey, time.Time]{},
		familiar: bounded[emailKey, []netip.Addr]{},
	}, nil
}

// errWrong is one for all that can be wrong, so that nobody learns which accounts there are.
var errWrong = fault.New(fault.Unauthorized, "The email address or the password is wrong.")

// Wait is the cause of a [fault.Exhausted] that says for how long nothing is to be tried again.
type Wait time.Duration

// Error says how long it is.
func (w Wait) Error() string { return time.Duration(w).String() + " to wait" }

// SignIn returns the account of an email whose password this is. Its stamp is that of before the password was compared: a
// session that bears it is refused where the password was changed meanwhile. [fault.Unauthorized] where email or password are
// wrong, whichever, after the same work; [fault.Exhausted] where it was tried too often, with a [Wait] in the chain, or too many sign in at the
// moment; [fault.Unavailable] where the registry cannot be read or ctx ends.
func (s *SignIns) SignIn(ctx context.Context, email, password string, from From) (registry.Account, error) {
	canonical, invalid := registry.ParseEmail(email)
	if invalid != nil {
		canonical = "" // all that is no email counts as one
	}
	address := netaddr.Network(from.Address)
	p := pair{email: emailKey(maphash.String(s.seed, canonical)), address: address}
	known := false
	if invalid == nil {
		if p.browser, known = s.browsers.read(from.Mark, canonical); known {
			p.address = netip.Addr{} // whichever it is
		}
	}
	a, err := s.attempt(p, address, known)
	if err != nil {
		return registry.Account{}, err
	}
	var account registry.Account
	if invalid == nil {
		account, err = s.account(ctx, canonical)
	}
	if err != nil && fault.KindOf(err) != fault.NotFound {
		s.takeBack(ctx, a)
		return registry.Account{}, err
	}
	matches, err := s.passwords.Matches(ctx, account.Password, password)
	switch {
	case err != nil:
		s.takeBack(ctx, a)
		return registry.Account{}, err
	case !matches:
		return registry.Account{}, errWrong
	}
	s.succeed(a)
	return account, nil
}

// attempt is one that was counted.
type attempt struct {
	pair
	from     netip.Addr // the address from which it came
	familiar bool       // from where the account was signed in to before: neither pace holds
}

// attempt counts one, or returns why it may not be made now. A browser may be known.
func (s *SignIns) attempt(p pair, from netip.Addr, known bool) (attempt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now() // how it passes counts, not what it shows: it may be set meanwhile
	a := attempt{pair: p, from: from, familiar: known}
	for _, place := range s.familiar[p.email] {
		a.familiar = a.familiar || place == from
	}
	f := s.pairs[p]
	since := now.Sub(f.last)
	if since >= forgetFailures {
		f = failures{}
	}
	wait := f.wait() - since
	if !a.familiar {
		wait = max(wait, addressPace.wait(s.addresses[from], now), emailPace.wait(s.emails[p.email], now))
	}
	if wait > 0 {
		return attempt{}, tooOften(wait)
	}
	s.pairs.put(p, failures{count: f.count + 1, last: now})
	if !a.familiar {
		s.addresses.put(from, addressPace.take(s.addresses[from], now))
		s.emails.put(p.email, emailPace.take(s.emails[p.email], now))
	}
	return a, nil
}

// takeBack undoes the count of an attempt that came to nothing, unless whoever made it left: that would let somebody wait in everybody's way for nothing.
func (s *SignIns) takeBack(ctx context.Context, a attempt) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeBackLocked(a)
}

func (s *SignIns) takeBackLocked(a attempt) {
	if f, ok := s.pairs[a.pair]; ok && f.count > 0 {
		f.count--
		s.pairs[a.pair] = f
	}
	if a.familiar {
		return
	}
	if paid, ok := s.addresses[a.from]; ok {
		s.addresses[a.from] = paid.Add(-addressPace.every)
	}
	if paid, ok := s.emails[a.email]; ok {
		s.emails[a.email] = paid.Add(-emailPace.every)
	}
}

// succeed undoes the count of an attempt that was good, forgets the failures of its pair, and remembers from where it came.
func (s *SignIns) succeed(a attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takeBackLocked(a)
	delete(s.pairs, a.pair)
	places := []netip.Addr{a.from}
	for _, place := range s.familiar[a.email] {
		if place != a.from && len(places) < familiarPlaces {
			places = append(places, place)
		}
	}
	s.familiar.put(a.email, places)
}

// wait returns how long after the last failure the next attempt may be made.
func (f failures) wait() time.Duration {
	if f.count <= freeFailures {
		return 0
	}
	wait := firstWait
	for range f.count - freeFailures - 1 {
		if wait *= 2; wait >= longestWait {
			return longestWait
		}
	}
	return wait
}

// wait returns for how long nothing may be tried, where what was tried is paid for at paid; 0 or less: for no time.
func (p pace) wait(paid, now time.Time) time.Duration {
	return paid.Add(-time.Duration(p.burst-1) * p.every).Sub(now)
}

// take returns when all is paid for, with one more.
func (p pace) take(paid, now time.Time) time.Time {
	if paid.Before(now) {
		paid = now
	}
	return paid.Add(p.every)
}

func tooOften(wait time.Duration) error {
	wait = (wait + time.Second - 1).Truncate(time.Second)
	text := "a second"
	switch {
	case wait > time.Minute:
		text = fmt.Sprintf("%d minutes", (wait+time.Minute-1)/time.Minute)
	case wait > time.Second:
		text = fmt.Sprintf("%d seconds", wait/time.Second)
	}
	return fault.Wrap(fault.Exhausted, Wait(wait), "This was tried too often: try again in "+text+".")
}

// bounded is a map of at most signInsKept: beyond that, what is forgotten is left to chance, so that no order of attempts empties it.
type bounded[K comparable, V any] map[K]V

func (b bounded[K, V]) put(key K, value V) {
	if _, ok := b[key]; !ok && len(b) >= signInsKept {
		for other := range b {
			delete(b, other)
			break
		}
	}
	b[key] = value
}
