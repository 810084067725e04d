package httpname

import (
	"strings"
	"testing"
)

// FuzzReserved checks that no spelling of a reserved name passes, and that nothing else is taken for one.
func FuzzReserved(f *testing.F) {
	for _, name := range []string{"X-Perdiem-Member", "x_PERDIEM_x", "X-Perdiem", "X-Forwarded-For", "Forwarded", "Forwarded-For", "X_Real-ip", "X-HTTP-Method-Override", "X_Original_URL", "X-Rewrite-Url", "HTTP2-Settings", "X", ""} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		lower := strings.Map(func(r rune) rune {
			switch {
			case r == '_':
				return '-'
			case 'A' <= r && r <= 'Z':
				return r + 'a' - 'A'
			default:
				return r
			}
		}, name)
		want := strings.HasPrefix(lower, "x-perdiem-") || strings.HasPrefix(lower, "x-forwarded-")
		for _, whole := range []string{"forwarded", "x-real-ip", "x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url", "http2-settings"} {
			want = want || lower == whole
		}
		if got := IsReserved(name); got != want {
			t.Errorf("IsReserved(%q) = %t", name, got)
		}
	})
}

func TestIsToken(t *testing.T) {
	for text, want := range map[string]bool{
		"X-Id": true, "a": true, "!#$%&'*+-.^_`|~09azAZ": true,
		"": false, "X Id": false, "X:": false, "Hôte": false, "a\x00": false, "a\n": false, "(a)": false, "\u212a": false, "a[": false, "a@": false, "a{": false,
	} {
		if IsToken(text) != want {
			t.Errorf("IsToken(%q) = %t", text, !want)
		}
	}
}
