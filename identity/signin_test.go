package identity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
)

// door is a SignIns with two accounts: ann's, and oidc's, which has no password.
type door struct {
	*SignIns
	asked []string // which accounts were asked for
	fail  error    // what asking is answered with
}

// SignIn signs in from a browser that has kept no mark.
func (d *door) SignIn(ctx context.Context, email, password string, from netip.Addr) (registry.Account, error) {
	return d.SignIns.SignIn(ctx, email, password, From{Address: from})
}

// newDoor returns a door as a node has it that has just started; with the key of one, it is that node started again.
func newDoor(t *testing.T, key ...*BrowserKey) *door {
	t.Helper()
	key = append(key, &BrowserKey{key: [32]byte{1}})
	passwords := newPasswords(cheap, 2)
	accounts := map[string]registry.Account{
		"ann@example.com":  {Email: "ann@example.com", Password: hashOfGood(t, passwords), Stamp: 1},
		"oidc@example.com": {Email: "oidc@example.com"},
	}
	d := &door{}
	var err error
	d.SignIns, err = NewSignIns(SignInOptions{Passwords: passwords, Browsers: key[0], Account: func(_ context.Context, email string) (registry.Account, error) {
		d.asked = append(d.asked, email)
		a, ok := accounts[email]
		if d.fail == nil && !ok {
			return registry.Account{}, fault.New(fault.NotFound, "there is no account %s", email)
		}
		return a, d.fail
	}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var (
	home     = netip.MustParseAddr("192.0.2.1")
	anywhere = netip.MustParseAddr("198.51.100.7")
)

// address returns one of many.
func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// good is the kind of no error.
const good = fault.Kind(255)

// wants signs in with the good password, and fails the test unless that is answered by an error of the kind, or as ann where it is good.
func (d *door) wants(t *testing.T, what, email string, from netip.Addr, kind fault.Kind) {
	t.Helper()
	a, err := d.SignIn(t.Context(), email, goodPassword, from)
	switch {
	case kind == good && (err != nil || a.Email != "ann@example.com"):
		t.Errorf("%s: %+v, %v; want ann", what, a, err)
	case kind != good && (err == nil || fault.KindOf(err) != kind):
		t.Errorf("%s: %+v, %v; want an error of kind %s", what, a, err, kind)
	}
	if _, waits := errors.AsType[Wait](err); waits != (kind == fault.Exhausted) {
		t.Errorf("%s: how long to wait is told: %t", what, waits)
	}
}

// fails has so many attempts fail that were let through.
func (d *door) fails(t *testing.T, n int, email string, from func(int) netip.Addr) {
	t.Helper()
	for i := range n {
		if _, err := d.SignIn(t.Context(), email, "wrong horse battery", from(i)); fault.KindOf(err) != fault.Unauthorized {
			t.Fatalf("failure %d of %d: %v", i+1, n, err)
		}
	}
}

func only(a netip.Addr) func(int) netip.Addr { return func(int) netip.Addr { return a } }

// let waits until an attempt is let through, which fails, and returns for how long it waited.
func (d *door) let(t *testing.T, email string, from netip.Addr) (waited time.Duration) {
	t.Helper()
	for {
		_, err := d.SignIn(t.Context(), email, "wrong horse battery", from)
		wait, waits := errors.AsType[Wait](err)
		if !waits {
			if fault.KindOf(err) != fault.Unauthorized {
				t.Fatal(err)
			}
			return waited
		}
		time.Sleep(time.Duration(wait)) // of a bubble: no time passes
		waited += time.Duration(wait)
	}
}

func TestSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		a, err := d.SignIn(t.Context(), "ANN@Example.com", goodPassword, home)
		if err != nil || a.Email != "ann@example.com" || a.Stamp != 1 {
			t.Errorf("signed in as %+v, %v", a, err)
		}
		var messages []string
		for i, c := range []struct{ email, password string }{
			{"ann@example.com", "wrong horse battery"},
			{"ann@example.com", ""},
			{"nobody@example.com", goodPassword},
			{"oidc@example.com", goodPassword},
			{"oidc@example.com", ""},
			{"", ""},
			{"no email", goodPassword},
			{strings.Repeat("x", 1<<20), goodPassword},
			{"ann@example.com", strings.Repeat("x", 1<<20)},
			{"ann@example.com\x00", goodPassword},
		} {
			a, err := d.SignIn(t.Context(), c.email, c.password, address(i))
			if fault.KindOf(err) != fault.Unauthorized || a != (registry.Account{}) {
				t.Errorf("%.40q with %.40q: %+v, %v", c.email, c.password, a, err)
			}
			messages = append(messages, fmt.Sprint(err))
		}
		for _, m := range messages {
			if m != messages[0] {
				t.Errorf("%q and %q tell what is wrong apart", m, messages[0])
			}
		}
	})
}

// An unknown account, and one without a password, wait for their turn as any other does: that they are unknown does not show in the time that it takes.
func TestSignInSameWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		for range cap(d.passwords.turns) {
			d.passwords.turns <- struct{}{}
		}
		for i, email := range []string{"ann@example.com", "nobody@example.com", "oidc@example.com", "no email"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := d.SignIn(ctx, email, goodPassword, address(i)); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("%s: %v", email, err)
			}
			cancel()
		}
		decoy, err := parsePasswordHash(NewPasswords().decoy)
		if err != nil || decoy.cost != currentCost || len(decoy.key) != keyBytes || len(decoy.salt) != saltBytes {
			t.Errorf("the decoy costs %+v, %v; a password %+v", decoy.cost, err, currentCost)
		}
	})
}

func TestSignInWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, email := range []string{"ann@example.com", "nobody@example.com"} { // and so nobody learns which there are
			d := newDoor(t)
			d.wants(t, "ann, once, so that only her pair is counted", "ann@example.com", home, good)
			d.fails(t, freeFailures+1, email, only(home))
			var waits []time.Duration
			for range 12 {
				waits = append(waits, d.let(t, email, home).Round(time.Second))
			}
			const s = time.Second
			want := []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, 300 * s, 300 * s, 300 * s}
			if fmt.Sprint(waits) != fmt.Sprint(want) {
				t.Errorf("%s: waits %v, want %v", email, waits, want)
			}
		}
	})
}

func TestSignInWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		d.fails(t, freeFailures+1, "ann@example.com", only(home))
		asked := len(d.asked)
		d.wants(t, "the right password, too early", "ann@example.com", home, fault.Exhausted)
		if len(d.asked) != asked {
			t.Error("an attempt that has to wait costs the registry a question")
		}
		d.wants(t, "another address", "ann@example.com", anywhere, good)
		time.Sleep(firstWait - 1)
		d.wants(t, "a moment too early", "ann@example.com", home, fault.Exhausted)
		time.Sleep(time.Nanosecond)
		d.wants(t, "in time", "ann@example.com", home, good)
		d.fails(t, freeFailures+1, "ann@example.com", only(home)) // a success forgets what was before
		d.fails(t, freeFailures+1, "nobody@example.com", only(anywhere))
		time.Sleep(forgetFailures)
		d.fails(t, freeFailures+1, "nobody@example.com", only(anywhere)) // and so does a day
	})
}

// Whoever guesses from many addresses has a slow pace, and does not keep the owner out who has been here before.
func TestSignInFromManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		d.wants(t, "the owner", "ann@example.com", home, good)
		d.fails(t, emailPace.burst, "ann@example.com", address)
		d.wants(t, "one address more", "ann@example.com", address(1000), fault.Exhausted)
		d.wants(t, "the owner, from home", "ann@example.com", home, good)
		d.wants(t, "another email", "nobody@example.com", address(1000), fault.Unauthorized)

		began, let := time.Now(), 0
		for i := 2000; time.Since(began) < 24*time.Hour; i++ {
			if _, err := d.SignIn(t.Context(), "ann@example.com", "wrong horse battery", address(i)); fault.KindOf(err) == fault.Unauthorized {
				let++
			}
			time.Sleep(10 * time.Second)
			if i%100 == 0 {
				d.wants(t, "the owner, meanwhile", "ann@example.com", home, good)
			}
		}
		if most := int(24*time.Hour/emailPace.every) + 1; let > most || let < most-2 {
			t.Errorf("%d guesses in a day, want %d", let, most)
		}
	})
}

// Whoever tries many emails from an address has a slow pace, and does not keep out who has signed in from there before.
func TestSignInOfManyEmails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		d.wants(t, "the owner", "ann@example.com", home, good)
		for i := range addressPace.burst {
			d.fails(t, 1, fmt.Sprintf("nobody-%d@example.com", i), only(home))
		}
		d.wants(t, "one email more", "one@example.com", home, fault.Exhausted)
		d.wants(t, "the same address, written in IPv6", "one@example.com", netip.MustParseAddr("::ffff:192.0.2.1"), fault.Exhausted)
		d.wants(t, "the owner", "ann@example.com", home, good)
		d.wants(t, "another address", "one@example.com", anywhere, fault.Unauthorized)
		if waited := d.let(t, "one@example.com", home); waited != addressPace.every {
			t.Errorf("waited for %v, want %v", waited, addressPace.every)
		}

		// A network of IPv6 is one address.
		for i := range addressPace.burst {
			d.fails(t, 1, fmt.Sprintf("nobody-%d@example.com", 100+i), only(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1))))
		}
		d.wants(t, "a neighbour", "two@example.com", netip.MustParseAddr("2001:db8::ffff:1"), fault.Exhausted)
		d.wants(t, "another network", "two@example.com", netip.MustParseAddr("2001:db8:0:1::1"), fault.Unauthorized)
	})
}

// Successes cost nothing, however many.
func TestSignInSuccessesAreFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		for i := range 3 * emailPace.burst {
			d.wants(t, "from home", "ann@example.com", home, good)
			d.wants(t, "from anywhere", "ann@example.com", address(i), good)
		}
		if n := len(d.familiar); n != 1 {
			t.Errorf("%d accounts are remembered", n)
		}
		for _, places := range d.familiar {
			if len(places) != familiarPlaces || places[0] != address(3*emailPace.burst-1) || places[1] != home {
				t.Errorf("places %v", places)
			}
		}
	})
}

// What cannot be decided is nobody's failure.
func TestSignInTakesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		d.fail = fault.New(fault.Unavailable, "down")
		for range 2 * emailPace.burst {
			d.wants(t, "while the registry is down", "ann@example.com", home, fault.Unavailable)
		}
		d.fail = nil
		d.fails(t, freeFailures+1, "ann@example.com", only(home))
	})
}

// Whoever leaves before the answer has tried all the same: waiting in the way of others is not free.
func TestSignInCountsWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		for range cap(d.passwords.turns) {
			d.passwords.turns <- struct{}{}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range freeFailures + 1 {
			if _, err := d.SignIn(ctx, "ann@example.com", goodPassword, home); fault.KindOf(err) != fault.Unavailable {
				t.Error(err)
			}
		}
		d.wants(t, "one attempt more", "ann@example.com", home, fault.Exhausted)
	})
}

// Of many attempts at once no more are let through than of as many one after the other.
func TestSignInAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		for range cap(d.passwords.turns) {
			d.passwords.turns <- struct{}{} // nobody is answered before all have asked
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		kinds := map[fault.Kind]int{}
		for range 50 {
			wg.Go(func() {
				_, err := d.SignIn(t.Context(), "nobody@example.com", "wrong horse battery", home)
				mu.Lock()
				kinds[fault.KindOf(err)]++
				mu.Unlock()
			})
			synctest.Wait()
		}
		for range cap(d.passwords.turns) {
			<-d.passwords.turns
		}
		wg.Wait()
		if kinds[fault.Unauthorized] != freeFailures+1 || kinds[fault.Exhausted] != 50-freeFailures-1 {
			t.Errorf("answers %v", kinds)
		}
	})
}

// An owner whose browser has a mark gets in from anywhere while others guess, also after a restart. Nobody else does by it, and who guesses with it waits.
func TestSignInByAKnownBrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ann = "ann@example.com"
		d := newDoor(t)
		mark := d.browsers.Mark(ann)
		d.fails(t, emailPace.burst, ann, address) // from as many addresses
		try := func(d *door, what, email, password, mark string, from netip.Addr, kind fault.Kind) {
			t.Helper()
			_, err := d.SignIns.SignIn(t.Context(), email, password, From{from, mark})
			if kind == good && err != nil || kind != good && (err == nil || fault.KindOf(err) != kind) {
				t.Errorf("%s: %v", what, err)
			}
		}
		try(d, "without a mark", ann, goodPassword, "", anywhere, fault.Exhausted)
		try(d, "another's mark", ann, goodPassword, d.browsers.Mark("bob@example.com"), anywhere, fault.Exhausted)
		try(d, "a mark of another key", ann, goodPassword, (&BrowserKey{}).Mark(ann), anywhere, fault.Exhausted)
		for i := range mark {
			forged := []byte(mark)
			forged[i] ^= 1
			try(d, "a forged mark", ann, goodPassword, string(forged), anywhere, fault.Exhausted)
		}
		for _, odd := range []string{mark[1:], mark + "A", mark + "=", mark[:len(mark)-2] + "\n" + mark[len(mark)-1:], strings.Repeat("A", 10000), strings.Repeat("\n", len(mark)), "\x00"} {
			try(d, "no mark", ann, goodPassword, odd, anywhere, fault.Exhausted)
		}
		try(d, "a mark, in whatever case the email is", "Ann@Example.COM", goodPassword, mark, anywhere, good)
		try(d, "a mark lets nobody in", ann, "wrong horse battery", mark, anywhere, fault.Unauthorized)

		again := newDoor(t, d.browsers)
		again.fails(t, emailPace.burst, ann, address)
		try(again, "after a restart", ann, goodPassword, mark, anywhere, good)
		for i := range freeFailures + 1 { // wherever the browser is taken
			try(again, "a guess with the mark", ann, "wrong horse battery", mark, address(1000+i), fault.Unauthorized)
		}
		try(again, "one more", ann, goodPassword, mark, address(2000), fault.Exhausted)
		time.Sleep(firstWait)
		try(again, "after the wait", ann, goodPassword, mark, address(2000), good)

		// What is tried with a mark is not held against the address, which others share.
		for range addressPace.burst {
			try(again, "a guess with a mark of its own", ann, "wrong horse battery", d.browsers.Mark(ann), home, fault.Unauthorized)
		}
		try(again, "somebody else at that address", "oidc@example.com", "wrong horse battery", "", home, fault.Unauthorized)
	})
}

func TestOpenBrowserKey(t *testing.T) {
	kept := ""
	keep := func(_ context.Context, key, value string) (string, error) {
		if key != browserKeySetting {
			t.Errorf("kept as %s", key)
		}
		if kept == "" {
			kept = value
		}
		return kept, nil
	}
	first, err := OpenBrowserKey(t.Context(), keep)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenBrowserKey(t.Context(), keep)
	if err != nil || *first != *second || first.key == ([32]byte{}) {
		t.Errorf("the key changes: %v", err)
	}
	if _, ok := second.read(first.Mark("ann@example.com"), "ann@example.com"); !ok {
		t.Error("a mark does not hold after a restart")
	}
	kept = "short"
	if _, err := OpenBrowserKey(t.Context(), keep); err == nil || !strings.Contains(err.Error(), "delete the setting") {
		t.Errorf("a damaged key: %v", err)
	}
	boom := errors.New("boom")
	if _, err := OpenBrowserKey(t.Context(), func(context.Context, string, string) (string, error) { return "", boom }); !errors.Is(err, boom) {
		t.Errorf("a registry that is down: %v", err)
	}
}

func TestSignInMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t)
		for i := range signInsKept + 1000 {
			if _, err := d.attempt(pair{email: emailKey(i), address: address(i)}, address(i), false); err != nil {
				t.Fatal(err)
			}
		}
		if len(d.pairs) != signInsKept || len(d.addresses) != signInsKept || len(d.emails) != signInsKept {
			t.Errorf("%d pairs, %d addresses, %d emails", len(d.pairs), len(d.addresses), len(d.emails))
		}
	})
}

func TestWaitIsToldInWords(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		1:                       "a second",
		time.Second:             "a second",
		1500 * time.Millisecond: "2 seconds",
		59 * time.Second:        "59 seconds",
		time.Minute:             "60 seconds",
		61 * time.Second:        "2 minutes",
		5 * time.Minute:         "5 minutes",
	} {
		err := tooOften(wait)
		if got := fault.Message(err); got != "This was tried too often: try again in "+want+"." {
			t.Errorf("%v: %s", wait, got)
		}
		if told, ok := errors.AsType[Wait](err); !ok || time.Duration(told) < wait || time.Duration(told) > wait+time.Second {
			t.Errorf("%v is told as %v", wait, told)
		}
	}
}
