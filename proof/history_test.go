package main

import (
	"net/http"
	"testing"
	"time"
)

func TestTell(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	answered := func(application string, status int, after time.Duration) call {
		return call{application: application, ended: at.Add(after), answer: answer{status: status}}
	}
	calls := []call{
		answered(mainApplication, http.StatusOK, 0),
		answered(mainApplication, http.StatusOK, time.Second),
		answered(mainApplication, http.StatusTooManyRequests, 2*time.Second),
		answered(mainApplication, 0, 2*time.Second), // never answered
		answered(spentApplication, http.StatusOK, 2*time.Second),
	}
	if got, want := tell(calls, mainApplication, time.Time{}), (told{2, 1}); got != want {
		t.Errorf("all: got %v, want %v", got, want)
	}
	if got, want := tell(calls, mainApplication, at.Add(time.Second)), (told{1, 1}); got != want {
		t.Errorf("late: got %v, want %v", got, want)
	}
}

func TestToldWithin(t *testing.T) {
	for _, c := range []struct {
		lost told
		want bool
	}{
		{told{0, 0}, true},
		{told{3, 1}, true},
		{told{4, 1}, false},
		{told{3, 2}, false},
		{told{-1, 0}, false}, // counted twice
	} {
		if got := c.lost.within(told{3, 1}); got != c.want {
			t.Errorf("%v: %v, want %v", c.lost, got, c.want)
		}
	}
}
