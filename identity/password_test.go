package identity

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdiem/perdiem/fault"
)

// cheap is what argon2id may cost at the least: for tests of everything else.
var cheap = cost{memory: 8, passes: 1, threads: 1}

const goodPassword = "correct horse battery"

func hashOfGood(t testing.TB, p *Passwords) string {
	t.Helper()
	hash, err := p.Hash(t.Context(), goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestPasswords(t *testing.T) {
	p := NewPasswords()
	hash := hashOfGood(t, p)
	if want := "$argon2id$v=19$m=19456,t=2,p=1$"; !strings.HasPrefix(hash, want) {
		t.Errorf("hash %s, want one that begins with %s", hash, want)
	}
	if again := hashOfGood(t, p); again == hash {
		t.Error("two hashes of a password are equal: there is no salt")
	}
	for password, want := range map[string]bool{
		goodPassword:                         true,
		goodPassword + " ":                   false,
		goodPassword[1:]:                     false,
		strings.ToUpper(goodPassword):        false,
		"":                                   false,
		strings.Repeat("x", MaxPassword+1):   false,
		goodPassword + "\x00" + goodPassword: false,
	} {
		if got, err := p.Matches(t.Context(), hash, password); got != want || err != nil {
			t.Errorf("%.40q matches: %t, %v", password, got, err)
		}
	}
	if got, err := p.Matches(t.Context(), "", ""); got || err != nil {
		t.Errorf("no password matches no hash: %t, %v", got, err)
	}
}

// The hashes are those that others make: these are of the reference implementation's own tests.
// https://github.com/P-H-C/phc-winner-argon2/blob/master/src/test.c
func TestPasswordHashesOfOthers(t *testing.T) {
	p := newPasswords(cheap, 2)
	for _, hash := range []string{
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
	} {
		for password, want := range map[string]bool{"password": true, "passwore": false} {
			if got, err := p.Matches(t.Context(), hash, password); got != want || err != nil {
				t.Errorf("%s matches %s: %t, %v", password, hash, got, err)
			}
		}
	}
}

func TestPasswordsThatMayNotBeSet(t *testing.T) {
	p := newPasswords(cheap, 2)
	for password, want := range map[string]bool{
		"":                                   false,
		"elevenchars":                        false,
		"twelve chars":                       true,
		strings.Repeat("é", 11):              false,
		strings.Repeat("é", 12):              true,
		strings.Repeat("x", MaxPassword):     true,
		strings.Repeat("x", MaxPassword+1):   false,
		"\xff\xfe no UTF-8, but long enough": false,
	} {
		hash, err := p.Hash(t.Context(), password)
		if (err == nil) != want || (hash != "") != want || err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("Hash of %.40q: %q, %v", password, hash, err)
		}
		if err != nil && password != "" && strings.Contains(err.Error(), password) {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}

func TestHostileHashes(t *testing.T) {
	p := newPasswords(cheap, 2)
	good := hashOfGood(t, p)
	for _, hash := range []string{
		"x",
		goodPassword,
		"$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
		strings.Replace(good, "argon2id", "argon2i", 1),
		strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=8,", "m=7,", 1),
		strings.Replace(good, "m=8,", "m=08,", 1),
		strings.Replace(good, "m=8,", "m=+8,", 1),
		strings.Replace(good, "m=8,", "m=-8,", 1),
		strings.Replace(good, "m=8,", "m=131073,", 1),
		strings.Replace(good, "m=8,", "m=4294967304,", 1),
		strings.Replace(good, "t=1", "t=0", 1),
		strings.Replace(good, "t=1", "t=17", 1),
		strings.Replace(good, "t=1", "t=4294967295", 1),
		strings.Replace(good, "p=1", "p=0", 1),
		strings.Replace(good, "p=1", "p=5", 1),
		strings.Replace(good, "p=1", "p=257", 1),
		strings.Replace(good, "p=1", "p=1,keyid=x", 1),
		good + "=",
		good + "\n",
		good + "$",
		"$" + good,
		good[:strings.LastIndexByte(good, '$')],
		good[:strings.LastIndexByte(good, '$')+1],
		good[:len(good)-2], // with one character less, one key in sixteen is another's, of 31 bytes
		good[:strings.LastIndexByte(good, '$')+1] + strings.Repeat("A", 400),
		"$argon2id$v=19$m=8,t=1,p=1$AAAA$" + strings.Repeat("A", 43),
		"$argon2id$v=19$m=8,t=1,p=1$" + strings.Repeat("A", 400) + "$" + strings.Repeat("A", 43),
	} {
		if hash == good {
			t.Fatal("the case is none")
		}
		matches, err := p.Matches(t.Context(), hash, goodPassword)
		if matches || err == nil || fault.KindOf(err) != fault.Internal || strings.Contains(err.Error(), hash) {
			t.Errorf("%.120q: %t, %v", hash, matches, err)
		}
	}
}

func FuzzPasswordHash(f *testing.F) {
	p := newPasswords(cheap, 2)
	f.Add(p.decoy)
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parsePasswordHash(text)
		if err == nil && (h.String() != text || !h.within(mostCost)) {
			t.Errorf("%q is read as %q", text, h)
		}
	})
}

// TestPasswordTurns makes hashes when all turns are taken.
func TestPasswordTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPasswords(cheap, 2)
		hash := hashOfGood(t, p)
		for range cap(p.turns) {
			p.turns <- struct{}{}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, hash := range []string{hash, ""} { // no hash has to wait as well
			if matches, err := p.Matches(ctx, hash, goodPassword); matches || fault.KindOf(err) != fault.Unavailable {
				t.Errorf("when nobody's turn comes: %t, %v", matches, err)
			}
		}
		if len(p.present) != 0 {
			t.Errorf("%d are present after all left", len(p.present))
		}

		var wg sync.WaitGroup
		for range cap(p.present) {
			wg.Go(func() {
				if matches, err := p.Matches(t.Context(), hash, goodPassword); !matches || err != nil {
					t.Errorf("one who waited: %t, %v", matches, err)
				}
			})
		}
		synctest.Wait()
		if _, err := p.Hash(t.Context(), goodPassword); fault.KindOf(err) != fault.Exhausted {
			t.Errorf("one too many: %v", err)
		}
		<-p.turns // one of them goes on, and so all do, one after the other
		wg.Wait()
		<-p.turns
		if _, err := p.Hash(t.Context(), goodPassword); err != nil {
			t.Errorf("after all: %v", err)
		}
	})
}

func BenchmarkPasswordHash(b *testing.B) {
	p := NewPasswords()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Hash(b.Context(), goodPassword); err != nil {
			b.Fatal(err)
		}
	}
}
