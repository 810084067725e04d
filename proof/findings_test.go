package main

import (
	"maps"
	"testing"
	"time"
)

func TestExamine(t *testing.T) {
	calls := []call{
		around(-9000, -8999, oldDay, 200, "", "a"),
		around(-8000, -7999, oldDay, 429, "member", "a"),
		around(-7000, -6999, oldDay, 429, "member", "b"),
		around(-3, 4, oldDay, 200, "", "c"), // under way at the reset
		around(-2, 5, newDay, 200, "", "c"), // the same
		around(-2, -1, newDay, 200, "", "d"),
		around(1, 2, oldDay, 200, "", "d"),
		around(1, 2, oldDay, 429, "application", "d"),
		around(3, 4, newDay, 200, "", "a"),
		around(4, 5, newDay, 429, "member", "a"),
		around(4, 5, newDay, 429, "member", "b"),
		around(5, 6, newDay, 503, "", "b"),
	}
	f := examine(calls, theReset)
	got := map[string]int{
		"old admitted": f.oldAdmitted, "old refused": f.oldRefused, "new admitted": f.newAdmitted, "new refused": f.newRefused,
		"late charged": f.lateCharged, "late refused": f.lateRefused, "early": f.early, "to old": f.crossedToOld, "to new": f.crossedToNew,
		"reopened": f.reopened, "shut": f.shut, "unreadable": f.unreadable,
	}
	want := map[string]int{
		"old admitted": 3, "old refused": 3, "new admitted": 3, "new refused": 2,
		"late charged": 1, "late refused": 1, "early": 1, "to old": 1, "to new": 1,
		// The application's first call after the reset was admitted, and so was a's; b's was not.
		"reopened": 2, "shut": 1, "unreadable": 0,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if f.lastOld != 4*time.Millisecond {
		t.Errorf("the last answer of the old day came %v after the reset", f.lastOld)
	}
	used := map[counter]int64{{"acme", ""}: 3, {"acme", "a"}: 1, {"acme", "c"}: 1, {"acme", "d"}: 1}
	if !maps.Equal(f.newUsed, used) {
		t.Errorf("used in the new day: %v, want %v", f.newUsed, used)
	}
}

func TestAdrift(t *testing.T) {
	f := &findings{leastLeft: map[string]int64{spentApplication: 150}, oldUsed: map[counter]int64{{spentApplication, ""}: 50}}
	if got := f.adrift(); got != 0 {
		t.Errorf("50 admitted and 150 of 200 left: off by %d", got)
	}
	f.oldUsed[counter{spentApplication, ""}] = 52
	if got := f.adrift(); got != 2 {
		t.Errorf("52 admitted and 150 of 200 left: off by %d", got)
	}
	f.oldUsed[counter{spentApplication, ""}] = 48
	f.crossedToNew = 1 // counted in the old day, and taken back
	if got := f.adrift(); got != 1 {
		t.Errorf("48 admitted, one taken back, and 150 of 200 left: off by %d", got)
	}
}
