package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/usage"
)

// TestTraffic keeps a demo's traffic running until it has called every endpoint, several members were near or over a limit, and stops it.
func TestTraffic(t *testing.T) {
	sample, err := startSample()
	if err != nil {
		t.Fatal(err)
	}
	defer sample.close()
	anywhere := "127.0.0.1:0"
	c, err := demoCommand{Traffic: true, Gateway: anywhere, Portal: anywhere, Admin: anywhere, Ops: anywhere}.write(filepath.Join(t.TempDir(), "demo"), sample.address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := startNode(t.Context(), c, nodeOptions{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	load, err := n.demoTraffic(time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer load.stop()
	report := func(application string) *usage.Report {
		t.Helper()
		r, err := n.usage.Today(t.Context(), application, "member-8")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var ids []string
	for began := time.Now(); ; {
		r := report(trafficApplication)
		ids = nil
		var refused, others int64
		for _, e := range r.Endpoints {
			ids = append(ids, e.ID)
			refused += e.Application.Refused
			others += e.Member.Used
		}
		if len(ids) == 4 && refused > 0 && others > 0 {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("called %v, %d refused, %d by the member who calls least", ids, refused, others)
		}
	}
	if got := strings.Join(ids, " "); got != "* posts.create posts.find posts.get" {
		t.Errorf("called %s", got)
	}
	if r := report(demoApplication); len(r.Endpoints) != 0 {
		t.Errorf("the demo's own application was called: %+v", r.Endpoints)
	}
	load.stop()
	load.stop()
	(*traffic)(nil).stop()
}
