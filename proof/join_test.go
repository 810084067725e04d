package main

import "testing"

func TestJoin(t *testing.T) {
	answered := func(id uint64, member string, status int) call {
		return call{id: id, application: "acme", member: member, answer: answer{status: status}}
	}
	calls := []call{
		answered(1, "a", 200), answered(2, "a", 429), answered(3, "b", 0), answered(4, "b", 0),
		answered(5, "a", 200), answered(6, "a", 429), answered(7, "a", 200), answered(8, "a", 200),
	}
	arrivals := []arrival{
		{id: 1, application: "acme", member: "a"},
		{id: 3, application: "acme", member: "b"},
		{id: 6, application: "acme", member: "a"},
		{id: 7, application: "acme", member: "a"},
		{id: 7, application: "acme", member: "a"},
		{id: 8, application: "acme", member: "b"},
		{id: 9, application: "acme", member: "b"},
	}
	want := joined{refusedArrived: 1, admittedMissing: 1, twice: 1, unknown: 1, mislabelled: 1}
	if got := join(calls, arrivals); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := join(calls[:1], arrivals[:1]); got != (joined{}) {
		t.Errorf("got %+v of a call that went through", got)
	}
}
