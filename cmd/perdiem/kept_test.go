package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/catalog"
)

// TestKeptIsToldOnce applies a file again and again: what is kept in spite of it is told when it is new.
func TestKeptIsToldOnce(t *testing.T) {
	changed := catalog.Change{Op: catalog.Changed, Noun: "endpoint", Name: "e", Field: "member", From: "1", To: "2"}
	kept := catalog.Change{Op: catalog.Kept, Noun: "override", Name: "acme e", Field: "member", From: "7", To: "2"}
	other := kept
	other.From = "8"
	var log strings.Builder
	n := &node{log: slog.New(slog.NewTextHandler(&log, nil))}
	for i, step := range []struct {
		changes      []catalog.Change
		made, logged int
	}{
		{[]catalog.Change{changed, kept}, 1, 2},
		{[]catalog.Change{kept}, 0, 0},
		{[]catalog.Change{kept, changed}, 1, 1},
		{[]catalog.Change{other}, 0, 1},
		{nil, 0, 0},
		{[]catalog.Change{other}, 0, 1},
	} {
		log.Reset()
		if made := n.logChanges(step.changes); made != step.made || strings.Count(log.String(), "\n") != step.logged {
			t.Errorf("step %d: %d made, want %d; logged\n%s", i, made, step.made, &log)
		}
	}
}
