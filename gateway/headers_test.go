package gateway

import (
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestCleanReturnsCleanHeadersAsTheyAre(t *testing.T) {
	h := http.Header{"Accept": {"*/*"}, "Connection": {"keep-alive"}, "Te": {"trailers"}, "Upgrade": {"websocket"}, "Xenon": {"x"}, "X": {"x"}, "": {"x"}}
	if got := clean(h); reflect.ValueOf(got).Pointer() != reflect.ValueOf(h).Pointer() {
		t.Error("copied without need")
	}
}

func TestCleanLeavesTheClientsHeadersAlone(t *testing.T) {
	h := http.Header{"X-Perdiem-Member": {"m"}, "X-Named": {"x"}, "Connection": {"close, x-NAMED ,, te, upgrade"}, "Te": {"trailers"}, "Upgrade": {"tcp, H2C"}, "X-Kept": {"x"}}
	before := maps.Clone(h)
	got := clean(h)
	if !reflect.DeepEqual(h, before) {
		t.Errorf("changed to %v", h)
	}
	if want := (http.Header{"Connection": h["Connection"], "Te": {"trailers"}, "X-Kept": {"x"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

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
		if got := isReserved(name); got != want {
			t.Errorf("isReserved(%q) = %t", name, got)
		}
	})
}
