package keypair_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/internal/keypair"
	"github.com/perdiem/perdiem/internal/testkit"
)

var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// newFiles writes a pair that is valid for a day around today, moved by some days.
func newFiles(t *testing.T, days int) keypair.Files {
	t.Helper()
	folder := t.TempDir()
	f := keypair.Files{Certificate: filepath.Join(folder, "cert.pem"), Key: filepath.Join(folder, "key.pem")}
	at := today.AddDate(0, 0, days)
	certificate, key, err := testkit.Certificate(at.Add(-12*time.Hour), at.Add(12*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	write(t, f.Certificate, certificate)
	write(t, f.Key, key)
	return f
}

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name  string
		days  int
		spoil func(t *testing.T, f keypair.Files)
		inKey bool
		date  bool
		want  string // in the text
	}{
		{"no certificate", 0, func(t *testing.T, f keypair.Files) { remove(t, f.Certificate) }, false, false, "cert.pem does not exist"},
		{"no key", 0, func(t *testing.T, f keypair.Files) { remove(t, f.Key) }, true, false, "key.pem does not exist"},
		{"a folder", 0, func(t *testing.T, f keypair.Files) { remove(t, f.Key); mkdir(t, f.Key) }, true, false, "key.pem is a folder"},
		{"nonsense for a certificate", 0, func(t *testing.T, f keypair.Files) { write(t, f.Certificate, []byte("x")) }, false, false, "cert.pem holds no certificate in PEM"},
		{"a key for a certificate", 0, func(t *testing.T, f keypair.Files) { swap(t, f) }, false, false, "cert.pem holds no certificate in PEM"},
		{"a certificate that is cut", 0, func(t *testing.T, f keypair.Files) {
			write(t, f.Certificate, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
		}, false, false, "certificate 1 in "},
		{"nonsense for a key", 0, func(t *testing.T, f keypair.Files) { write(t, f.Key, []byte("x")) }, true, false, "key.pem holds no private key in PEM"},
		{"another's key", 0, func(t *testing.T, f keypair.Files) {
			_, key, err := testkit.Certificate(today, today)
			if err != nil {
				t.Fatal(err)
			}
			write(t, f.Key, key)
		}, true, false, "key.pem is not the key of the certificate in "},
		{"too long", 0, func(t *testing.T, f keypair.Files) { write(t, f.Key, make([]byte, 1<<20+1)) }, true, false, "at most 1048576 are read"},
		{"expired", -2, func(*testing.T, keypair.Files) {}, false, true, "cert.pem expired at 2026-11-22T00:00:00Z"},
		{"not valid yet", 2, func(*testing.T, keypair.Files) {}, false, true, "cert.pem is not valid before 2026-11-25T00:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFiles(t, c.days)
			c.spoil(t, f)
			p, err := keypair.Open(f)
			if err == nil {
				err = p.Valid(today)
			}
			wrong, ok := errors.AsType[*keypair.Error](err)
			if !ok || wrong.InKey != c.inKey || wrong.Date != c.date || !strings.Contains(wrong.Error(), c.want) || strings.Contains(wrong.Error(), "PRIVATE KEY-") {
				t.Errorf("got %+v, %v", wrong, err)
			}
			if c.date != (p != nil) {
				t.Errorf("opened: %v", p)
			}
			if problems := f.Check(today); len(problems) != 1 || problems[0].Error() != err.Error() {
				t.Errorf("checked: %v instead of %v", problems, err)
			}
		})
	}
}

// TestCheckTellsAll checks that a problem of one file does not hide another's, and that a file without a name is left out.
func TestCheckTellsAll(t *testing.T) {
	f := newFiles(t, -2)
	write(t, f.Key, []byte("x"))
	problems := f.Check(today)
	if len(problems) != 2 || !strings.Contains(problems[0].Error(), "expired") || !strings.Contains(problems[1].Error(), "no private key") {
		t.Errorf("got %v", problems)
	}
	for _, one := range []keypair.Files{{Certificate: f.Certificate}, {Key: f.Key}} {
		if problems := one.Check(today); len(problems) != 1 {
			t.Errorf("%+v: %v", one, problems)
		}
	}
	if problems := newFiles(t, 0).Check(today); problems != nil {
		t.Errorf("a good pair: %v", problems)
	}
}

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func swap(t *testing.T, f keypair.Files) {
	t.Helper()
	text, err := os.ReadFile(f.Key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f.Certificate, text)
}

// TestReload takes a good pair, and keeps what it has for a bad one, whatever is wrong with it.
func TestReload(t *testing.T) {
	f := newFiles(t, 0)
	p, err := keypair.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		c, err := p.TLS().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !c.Leaf.Equal(p.Certificate()) {
			t.Error("two certificates at once")
		}
		return c.Leaf.SerialNumber.String()
	}
	first := shown()
	move := func(from keypair.Files) {
		t.Helper()
		for to, file := range map[string]string{f.Certificate: from.Certificate, f.Key: from.Key} {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, to, text)
		}
	}
	for _, days := range []int{-2, 2} {
		move(newFiles(t, days))
		if err := p.Reload(today); err == nil || shown() != first {
			t.Errorf("a pair of another day: %v", err)
		}
	}
	move(newFiles(t, 0))
	write(t, f.Key, nil)
	if err := p.Reload(today); err == nil || shown() != first {
		t.Errorf("a pair without its key: %v", err)
	}
	move(newFiles(t, 0))
	if err := p.Reload(today); err != nil || shown() == first {
		t.Errorf("a good pair: %v", err)
	}
}
