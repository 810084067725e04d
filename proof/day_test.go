package main

import (
	"testing"
	"time"
)

var theReset = reset{at: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}

// around returns a call that was sent and answered so many milliseconds after the reset, by an answer of a day.
func around(sent, ended int, d day, status int, refusedBy, member string) call {
	ms := func(n int) time.Time { return theReset.at.Add(time.Duration(n) * time.Millisecond) }
	end := theReset.at
	if d == newDay {
		end = end.Add(24 * time.Hour)
	}
	k := call{application: "acme", member: member, sent: ms(sent), ended: ms(ended)}
	left := max(0, end.Sub(k.sent))
	k.answer = answer{status: status, refusedBy: refusedBy, resetsIn: int64((left + time.Second - 1) / time.Second), left: allowance{application: 7}}
	if status == 429 {
		k.answer.resetsAt = end
	}
	return k
}

func TestNextReset(t *testing.T) {
	now := time.Date(2026, 11, 23, 23, 59, 50, 1, time.UTC)
	for d, want := range map[time.Duration]time.Time{
		12 * time.Second:       time.Date(2026, 11, 24, 0, 0, 3, 0, time.UTC),
		12*time.Second - 1:     time.Date(2026, 11, 24, 0, 0, 2, 0, time.UTC),
		500 * time.Millisecond: time.Date(2026, 11, 23, 23, 59, 51, 0, time.UTC),
	} {
		if got := nextReset(now, d).at; !got.Equal(want) {
			t.Errorf("%v after %v: %v, want %v", d, now, got, want)
		}
	}
}

func TestDayOf(t *testing.T) {
	tooEarly := around(-3000, -2999, oldDay, 200, "", "")
	tooEarly.answer.resetsIn = 5
	silent := around(-3000, -2999, oldDay, 200, "", "")
	silent.answer.resetsIn = -1
	torn := around(-10, 10, newDay, 429, "application", "")
	torn.answer.resetsAt = theReset.at
	for _, c := range []struct {
		name  string
		call  call
		want  day
		wrong bool
	}{
		{name: "before", call: around(-5000, -4999, oldDay, 200, "", ""), want: oldDay},
		{name: "long before", call: around(-11999, -11998, oldDay, 429, "member", "a"), want: oldDay},
		{name: "over the reset, old", call: around(-1, 1, oldDay, 200, "", ""), want: oldDay},
		{name: "over the reset, new", call: around(-1, 1, newDay, 200, "", ""), want: newDay},
		{name: "after", call: around(1, 2, newDay, 429, "member", "a"), want: newDay},
		{name: "after, but old", call: around(1, 2, oldDay, 200, "", ""), want: oldDay},
		{name: "an error of the node", call: around(1, 2, newDay, 503, "", ""), want: unknownDay},
		{name: "another reset", call: tooEarly, wrong: true},
		{name: "no reset told", call: silent, wrong: true},
		{name: "header and body of two days", call: torn, wrong: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := theReset.dayOf(&c.call); got != c.want || (err != nil) != c.wrong {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}
