package main

import (
	"testing"
	"time"
)

func TestSlowestFsync(t *testing.T) {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	var f fsyncs
	for _, s := range []struct{ began, took int }{{0, 5}, {100, 300}, {500, 20}, {700, 0}} {
		f.begin(at(s.began))
		f.end(time.Duration(s.took) * time.Millisecond)
	}
	for _, c := range []struct{ from, to, want int }{
		{0, 50, 5},
		{6, 90, 0},
		{300, 600, 300},
		{0, 150, 50}, // it had taken no longer then
		{450, 650, 20},
		{450, 1000, 300}, // the last is under way
	} {
		if got := f.slowest(at(c.from), at(c.to)); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("from %d to %d ms: %v, want %d ms", c.from, c.to, got, c.want)
		}
	}
}
