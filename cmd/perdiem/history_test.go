package main

import (
	"testing"

	"github.com/perdiem/perdiem/lease"
	"github.com/perdiem/perdiem/quota"
)

// TestHistoryOutlivesAStop has a node decide calls, stops it, and reads with the next one what became of them.
func TestHistoryOutlivesAStop(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, folder, "perdiem.yaml", quietNode)
	writeFile(t, folder, "catalog.yaml", oneCatalog)
	for start := range int64(3) {
		n, err := startHere(t, folder)
		if err != nil {
			t.Fatal(err)
		}
		days, err := n.records.history.Days(t.Context(), "acme", "*", 2) // two, should the day change meanwhile
		if err != nil {
			t.Fatal(err)
		}
		admitted, refused := days[0].Admitted+days[1].Admitted, days[0].RefusedForMember+days[1].RefusedForMember
		if admitted != 50*start || refused != start {
			t.Errorf("start %d: %d calls were admitted and %d refused, want %d and %d", start, admitted, refused, 50*start, start)
		}
		for i := range 51 {
			c := lease.Call{Application: "acme", Endpoint: "*", Member: "m-1", Limits: quota.Limits{Application: quota.Unlimited, Member: quota.Limit(50 + 50*start)}, Cost: 1}
			if d, err := n.book.Take(t.Context(), c); err != nil || d.Admitted() != (i < 50) {
				t.Fatalf("start %d, call %d: %+v, %v", start, i, d, err)
			}
		}
		if err := n.stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
