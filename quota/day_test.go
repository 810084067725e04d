package quota_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/perdiem/perdiem/quota"
)

func rule(t interface{ Fatal(...any) }, zone, starts string) quota.DayRule {
	r, err := quota.NewDayRule(zone, starts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDayAt(t *testing.T) {
	for _, c := range []struct{ name, zone, starts, now, date, start, end string }{
		{"UTC", "UTC", "00:00", "2026-11-23T17:59:58Z", "2026-11-23", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"},
		{"its first instant", "UTC", "00:00", "2026-11-24T00:00:00Z", "2026-11-24", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"},
		{"its last instant", "UTC", "00:00", "2026-11-23T23:59:59Z", "2026-11-23", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"},
		{"starts at six", "UTC", "06:00", "2026-11-23T05:59:59Z", "2026-11-22", "2026-11-22T06:00:00Z", "2026-11-23T06:00:00Z"},
		{"starts with seconds", "UTC", "23:59:59", "2026-11-23T23:59:59Z", "2026-11-23", "2026-11-23T23:59:59Z", "2026-11-24T23:59:59Z"},
		{"summer time begins: 23 hours", "Europe/Berlin", "00:00", "2026-03-29T12:00:00Z", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"summer time ends: 25 hours", "Europe/Berlin", "00:00", "2026-10-25T12:00:00Z", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"starts at a time that is skipped", "Europe/Berlin", "02:30", "2026-03-29T12:00:00Z", "2026-03-29", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"starts at a time that comes twice", "Europe/Berlin", "02:30", "2026-10-25T12:00:00Z", "2026-10-25", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"the second of two half past twos", "Europe/Berlin", "02:30", "2026-10-25T01:45:00Z", "2026-10-25", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"midnight is skipped", "Africa/Cairo", "00:00", "2026-04-24T12:00:00Z", "2026-04-24", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"},
		{"far east", "Pacific/Kiritimati", "00:00", "2026-11-23T11:00:00Z", "2026-11-24", "2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z"},
		{"far west", "Pacific/Pago_Pago", "00:00", "2026-11-23T10:59:59Z", "2026-11-22", "2026-11-22T11:00:00Z", "2026-11-23T11:00:00Z"},
		{"after a date that was skipped", "Pacific/Apia", "00:00", "2011-12-30T12:00:00Z", "2011-12-31", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"a half-hour change", "Australia/Lord_Howe", "00:00", "2026-04-05T00:00:00Z", "2026-04-05", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := rule(t, c.zone, c.starts).At(at(t, c.now))
			if d.Date.String() != c.date || !d.Start.Equal(at(t, c.start)) || !d.End.Equal(at(t, c.end)) {
				t.Errorf("got %v from %v to %v", d.Date, d.Start, d.End)
			}
			if d.Zone != c.zone {
				t.Errorf("zone %q", d.Zone)
			}
		})
	}
}

func TestDaySeconds(t *testing.T) {
	r := rule(t, "Europe/Berlin", "00:00")
	for date, want := range map[string]int64{"2026-03-29": 82800, "2026-10-25": 90000, "2026-11-23": 86400} {
		d := r.At(at(t, date+"T12:00:00Z"))
		if d.Seconds() != want {
			t.Errorf("%s has %d seconds, want %d", date, d.Seconds(), want)
		}
	}
	d := r.At(at(t, "2026-11-23T12:00:00Z"))
	for before, want := range map[time.Duration]int64{
		time.Hour: 3600, time.Second: 1, time.Second + 1: 2, 1: 1, 0: 0, -time.Second: 0,
	} {
		if got := d.SecondsLeft(d.End.Add(-before)); got != want {
			t.Errorf("%v before the reset: %d seconds left, want %d", before, got, want)
		}
	}
}

// Days follow each other without gap or overlap, and each instant lies in the day that At says, in every zone.
func TestDaysPartitionTime(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Africa/Cairo", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Tehran"}
	from, to := time.Date(2009, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	rapid.Check(t, func(t *rapid.T) {
		starts := time.Unix(rapid.Int64Range(0, 86399).Draw(t, "starts"), 0).UTC().Format("15:04:05")
		r := rule(t, rapid.SampledFrom(zones).Draw(t, "zone"), starts)
		now := time.Unix(rapid.Int64Range(from, to).Draw(t, "now"), 0)
		d := r.At(now)
		if !d.Contains(now) {
			t.Fatalf("%v is not in %+v", now, d)
		}
		if next := r.At(d.End); !next.Start.Equal(d.End) || next.Date <= d.Date {
			t.Fatalf("%+v is followed by %+v", d, next)
		}
		if last := r.At(d.End.Add(-1)); last != d {
			t.Fatalf("the last instant of %+v is in %+v", d, last)
		}
		if next := r.After(d); next != r.At(d.End) {
			t.Fatalf("After %+v comes %+v", d, next)
		}
	})
}

func TestDayAfterAChangedRule(t *testing.T) {
	for _, c := range []struct{ name, oldZone, oldStarts, newZone, newStarts, now, date, start, end string }{
		{"the new day is named later", "UTC", "00:00", "UTC", "06:00", "2026-11-23T12:00:00Z", "2026-11-23", "2026-11-23T00:00:00Z", "2026-11-24T06:00:00Z"},
		{"the running day goes on", "UTC", "00:00", "America/Los_Angeles", "00:00", "2026-11-23T12:00:00Z", "2026-11-23", "2026-11-23T00:00:00Z", "2026-11-24T08:00:00Z"},
		{"a new day begins and is short", "UTC", "06:00", "UTC", "00:00", "2026-11-23T12:00:00Z", "2026-11-24", "2026-11-24T06:00:00Z", "2026-11-25T00:00:00Z"},
		{"the new rule is a day behind", "Asia/Tokyo", "00:00", "America/Los_Angeles", "23:00", "2026-11-24T00:00:00Z", "2026-11-24", "2026-11-23T15:00:00Z", "2026-11-26T07:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			running := rule(t, c.oldZone, c.oldStarts).At(at(t, c.now))
			got := rule(t, c.newZone, c.newStarts).After(running)
			if got.Date.String() != c.date || !got.Start.Equal(at(t, c.start)) || !got.End.Equal(at(t, c.end)) || got.Zone != c.newZone {
				t.Errorf("after %+v: %v from %v to %v", running, got.Date, got.Start, got.End)
			}
		})
	}
}

func TestResume(t *testing.T) {
	r := rule(t, "UTC", "00:00")
	last := r.At(at(t, "2026-11-23T12:00:00Z"))
	for _, c := range []struct{ name, now, date string }{
		{"the same day", "2026-11-23T13:00:00Z", "2026-11-23"},
		{"the next day", "2026-11-24T00:00:00Z", "2026-11-24"},
		{"a week later", "2026-11-30T12:00:00Z", "2026-11-30"},
		{"a clock an hour back over midnight", "2026-11-22T23:00:00Z", "2026-11-23"},
		{"a clock a day back", "2026-11-22T00:00:00Z", "2026-11-23"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := r.Resume(last, at(t, c.now))
			if err != nil || d.Date.String() != c.date {
				t.Errorf("got %+v, %v", d, err)
			}
		})
	}
	if d, err := r.Resume(last, at(t, "2026-11-21T23:59:59Z")); err == nil {
		t.Errorf("a clock more than a day back: got %+v", d)
	}
	if d, err := r.Resume(quota.Day{}, at(t, "2026-11-21T23:59:59Z")); err != nil || d.Date.String() != "2026-11-21" {
		t.Errorf("a new ledger: got %+v, %v", d, err)
	}
}

func TestNewDayRule(t *testing.T) {
	for _, c := range []struct{ zone, starts string }{
		{"", "00:00"},
		{"Local", "00:00"},
		{"Mars/Olympus", "00:00"},
		{"../etc/passwd", "00:00"},
		{"UTC", ""},
		{"UTC", "24:00"},
		{"UTC", "0:00"},
		{"UTC", "00:60"},
		{"UTC", "00:00:60"},
		{"UTC", "00:00:0"},
		{"UTC", "noon"},
		{"UTC", "-1:00"},
	} {
		if r, err := quota.NewDayRule(c.zone, c.starts); err == nil {
			t.Errorf("NewDayRule(%q, %q) = %v: want an error", c.zone, c.starts, r)
		}
	}
	r := rule(t, "Europe/Berlin", "06:30")
	if r.Zone() != "Europe/Berlin" || r.Starts() != "06:30:00" {
		t.Errorf("got %s %s", r.Zone(), r.Starts())
	}
}

func TestDate(t *testing.T) {
	d, err := quota.ParseDate("2026-11-23")
	if err != nil || d.String() != "2026-11-23" {
		t.Errorf("got %v, %v", d, err)
	}
	for _, s := range []string{"", "2026-13-01", "2026-1-1", "23.11.2026"} {
		if _, err := quota.ParseDate(s); err == nil {
			t.Errorf("ParseDate(%q): want an error", s)
		}
	}
}
