package registry

import (
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/fault"
)

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"":                         false,
		"a":                        true,
		strings.Repeat("a", 256):   true,
		strings.Repeat("a", 257):   false,
		strings.Repeat("日", 85):    true,
		strings.Repeat("日", 86):    false,
		"urn:li:person/1 é\u2028😀": true,
		"a\x00":                    false,
		"a\n":                      false,
		"\x1b[2J":                  false,
		"\x7f":                     false,
		"\u009f":                   false,
		"\xff":                     false,
		"\xed\xa0\x80":             false,
	} {
		if got := ValidID(id); got != want {
			t.Errorf("ValidID(%q) is %t", id, got)
		}
	}
}

func TestNewTokenValidate(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name string
		new  NewToken
		want string // in the message; empty: valid
	}{
		{"an application's", NewToken{Application: "acme"}, ""},
		{"a member's", NewToken{Application: "acme", Member: "m", Expires: now.Add(1)}, ""},
		{"no application", NewToken{Member: "m"}, "application"},
		{"a member that fills the screen", NewToken{Application: "acme", Member: strings.Repeat("\x07", 10_000)}, "member"},
		{"an expiry now", NewToken{Application: "acme", Expires: now}, "2026-11-23T12:00:00Z"},
	} {
		err := test.new.Validate(now)
		if (err == nil) != (test.want == "") || err != nil && (fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", test.name, err)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: a message of %d bytes", test.name, len(err.Error()))
		}
	}
}
