package main

import (
	"maps"
	"testing"
	"time"
)

func TestForfeitBound(t *testing.T) {
	for _, c := range []struct{ limit, cost, recent, want int64 }{
		{10_000, 1, 0, 1},
		{10_000, 1, 20, 40},
		{10_000, 1, 600, 100},
		{10_000, 150, 600, 150},
		{37, 1, 0, 1},
		{37, 1, 1, 2},
		{37, 1, 30, 2},
		{37, 5, 30, 5},
		{150, 1, 30, 8},
		{15, 1, 30, 1},
		{800, 1, 30, 8},
	} {
		if got := forfeitBound(c.limit, c.cost, c.recent); got != c.want {
			t.Errorf("limit %d, cost %d, %d used of late: %d, want %d", c.limit, c.cost, c.recent, got, c.want)
		}
	}
}

func TestAccounting(t *testing.T) {
	a := newAccounting(1000, 37, 1)
	first := a.kill(moment{
		used:     map[string]int64{"": 110, "a": 12, "b": 5, "c": 1},
		admitted: map[string]int64{"": 95, "a": 10, "b": 5},
		recent:   map[string]int64{"": 50, "a": 1},
		inFlight: map[string]int64{"": 3, "c": 1},
	})
	want := map[string]loss{
		"":  {calls: 15, inFlight: 3, bound: 10},
		"a": {calls: 2, bound: 2},
		"c": {calls: 1, inFlight: 1, bound: 1},
	}
	if !maps.Equal(first, want) {
		t.Errorf("first kill: %+v, want %+v", first, want)
	}
	if first[""].within() || !first["a"].within() || !first["c"].within() {
		t.Errorf("within: %v %v %v", first[""].within(), first["a"].within(), first["c"].within())
	}
	// Only what is new is the second kill's.
	second := a.kill(moment{
		used:     map[string]int64{"": 160, "a": 15, "b": 8, "c": 1},
		admitted: map[string]int64{"": 144, "a": 13, "b": 5},
		recent:   map[string]int64{"": 50, "a": 1},
	})
	want = map[string]loss{"": {calls: 1, bound: 10}, "b": {calls: 3, bound: 1}}
	if !maps.Equal(second, want) {
		t.Errorf("second kill: %+v, want %+v", second, want)
	}
	if member, l := worstMember(second); member != "b" || l.within() {
		t.Errorf("the worst member is %q: %+v", member, l)
	}
	if a.understated != 0 {
		t.Errorf("%d counters understated", a.understated)
	}
	// A grant that was lost shows in a counter that has less than was admitted, and less than before.
	third := a.kill(moment{used: map[string]int64{"b": 4}, admitted: map[string]int64{"b": 5}})
	if a.understated != 1 || third["b"].within() {
		t.Errorf("%d counters understated, loss %+v", a.understated, third["b"])
	}
}

func TestWorstMember(t *testing.T) {
	if member, _ := worstMember(map[string]loss{"": {calls: 99, bound: 1}}); member != "" {
		t.Errorf("no member lost anything, but %q is the worst", member)
	}
	member, _ := worstMember(map[string]loss{
		"":  {calls: 99, bound: 1},
		"a": {calls: 2, bound: 8},
		"b": {calls: 9, inFlight: 8, bound: 2},
		"c": {calls: 2, bound: 2},
		"d": {calls: 1, bound: 1},
	})
	if member != "c" {
		t.Errorf("the worst is %q, want c, whose loss is at its bound and the larger", member)
	}
}

func TestUsedSince(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	arrivals := []arrival{
		{member: "a", at: at.Add(-3 * time.Second)},
		{member: "a", at: at.Add(-2 * time.Second)},
		{member: "a", at: at.Add(-time.Second)},
		{member: "b", at: at},
		{at: at.Add(time.Millisecond)},
	}
	got := usedSince(arrivals, at.Add(-recentWindow), 2)
	if want := map[string]int64{"": 6, "a": 2, "b": 2}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
