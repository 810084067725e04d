package gateway

import (
	"maps"
	"net/http"
	"reflect"
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
