package registry

import (
	"strings"
	"testing"

	"github.com/perdiem/perdiem/fault"
)

func TestParseEmail(t *testing.T) {
	label := strings.Repeat("a", 63)
	long := strings.Repeat("l", 64) + "@" + label + "." + label + "." + strings.Repeat("a", 61) // 254 bytes
	for email, want := range map[string]string{
		"ann@example.com":                          "ann@example.com",
		"Ann.Other+Tag@EXAMPLE.com":                "ann.other+tag@example.com",
		"o'hara_{x}~!#$%&*/=?^`|-@xn--bcher-kva.x": "o'hara_{x}~!#$%&*/=?^`|-@xn--bcher-kva.x",
		"root@localhost":                           "root@localhost",
		"1@2.3":                                    "1@2.3",
		long:                                       long,

		"":                                  "",
		"ann":                               "",
		"@example.com":                      "",
		"ann@":                              "",
		"ann@b@example.com":                 "",
		" ann@example.com":                  "",
		"ann@example.com\n":                 "",
		"ann\x00@example.com":               "",
		"ann@exam ple.com":                  "",
		".ann@example.com":                  "",
		"ann..b@example.com":                "",
		"ann@example..com":                  "",
		"ann@example.com.":                  "",
		"ann@-example.com":                  "",
		"ann@example-.com":                  "",
		"ann@exam_ple.com":                  "",
		`"ann"@example.com`:                 "",
		"ann@[127.0.0.1]":                   "",
		"Ann <ann@example.com>":             "",
		"ann(x)@example.com":                "",
		"a,b@example.com":                   "",
		"änn@example.com":                   "",
		"ann@exampl\u212a.com":              "", // the sign of the kelvin, a k in lower case
		"ann@example.com\r\nBcc: b@c.d":     "",
		strings.Repeat("l", 65) + "@a.b":    "",
		"l@" + strings.Repeat("a", 64):      "",
		long + "a":                          "",
		strings.Repeat("a.", 1<<20) + "@a.": "",
	} {
		got, err := ParseEmail(email)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParseEmail(%.100q): %q, %v; want %q", email, got, err, want)
		}
		if err != nil && (fault.KindOf(err) != fault.Invalid || len(err.Error()) > 1000) {
			t.Errorf("ParseEmail(%.100q): %v", email, err)
		}
	}
}

func TestStampsDiffer(t *testing.T) {
	seen := map[int64]bool{}
	for range 1000 {
		stamp := NewStamp()
		if stamp < 0 || seen[stamp] {
			t.Fatalf("stamp %d", stamp)
		}
		seen[stamp] = true
	}
}
