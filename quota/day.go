package quota

import (
	"fmt"
	"time"
)

// Date names a day: the number of days since 1970-01-01, which is 0, in the proleptic Gregorian calendar.
type Date int32

// DateOf returns the date that t's own zone shows.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// midnight returns the first instant of d in UTC.
func (d Date) midnight() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// String returns the date as 2006-01-02.
func (d Date) String() string { return d.midnight().Format(time.DateOnly) }

// ParseDate reads a date written as 2006-01-02.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("date %q: must be written as 2006-01-02", s)
	}
	return DateOf(t), nil
}

// Day is one day of calls: from Start, inclusive, to End, exclusive, which is the reset.
type Day struct {
	Date  Date
	Start time.Time
	End   time.Time
	Zone  string // the IANA name under which the date is meant, "UTC" for example
}

// Contains reports whether t lies in the day.
func (d Day) Contains(t time.Time) bool { return !t.Before(d.Start) && t.Before(d.End) }

// Seconds returns the day's true length: 86400, or 82800 and 90000 where daylight saving begins and ends.
func (d Day) Seconds() int64 { return int64(d.End.Sub(d.Start) / time.Second) }

// SecondsLeft returns the whole seconds from t to the reset, rounded up; 0 from the reset on.
func (d Day) SecondsLeft(t time.Time) int64 {
	left := d.End.Sub(t)
	return max(0, int64((left+time.Second-1)/time.Second))
}

// DayRule says when days begin: at a time of day in a zone. Use [NewDayRule]; the zero value is not a rule.
type DayRule struct {
	zone   *time.Location
	starts time.Duration // the time of day that the clock on the wall shows
}

// NewDayRule returns the rule for an IANA zone name and a time of day written as HH:MM or HH:MM:SS.
func NewDayRule(zone, starts string) (DayRule, error) {
	if zone == "" || zone == "Local" {
		return DayRule{}, fmt.Errorf("day.zone %q: name an IANA zone such as UTC or Europe/Berlin", zone)
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return DayRule{}, fmt.Errorf("day.zone %q: name an IANA zone such as UTC or Europe/Berlin", zone)
	}
	layout := "15:04"
	if len(starts) == len("15:04:05") {
		layout = "15:04:05"
	}
	t, err := time.Parse(layout, starts)
	if err != nil || len(starts) != len(layout) {
		return DayRule{}, fmt.Errorf("day.starts %q: write a time of day as HH:MM or HH:MM:SS", starts)
	}
	return DayRule{zone: loc, starts: time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second}, nil
}

// Zone returns the rule's IANA zone name.
func (r DayRule) Zone() string { return r.zone.String() }

// Starts returns the time of day at which days begin, as HH:MM:SS.
func (r DayRule) Starts() string {
	return time.Unix(0, 0).UTC().Add(r.starts).Format("15:04:05")
}

// At returns the day that contains t.
func (r DayRule) At(t time.Time) Day {
	// A day starts within a day of its date's midnight in UTC plus the zone's offset, so one of these three
	// dates holds t. A date that a zone skips (Samoa, 2011-12-30) begins when its successor does and is empty.
	date := DateOf(t.In(r.zone)) + 1
	for r.start(date).After(t) {
		date--
	}
	return r.day(date)
}

func (r DayRule) day(date Date) Day {
	return Day{Date: date, Start: r.start(date), End: r.start(date + 1), Zone: r.Zone()}
}

// start returns the first instant at which the zone's clock shows date and the rule's time of day, or later: where
// the clock skips that time, the day starts at the skip; where it shows it twice, the first time.
func (r DayRule) start(date Date) time.Time {
	wall := date.midnight().Add(r.starts) // the wall clock's reading, as if it were UTC
	// No offset exceeds 26 hours; walk the zone's stretches of constant offset from well before.
	for at := wall.Add(-26 * time.Hour).In(r.zone); ; {
		from, until := at.ZoneBounds()
		_, offset := at.Zone()
		first := wall.Add(-time.Duration(offset) * time.Second)
		if !from.IsZero() && first.Before(from) {
			first = from
		}
		if until.IsZero() || first.Before(until) {
			return first.UTC()
		}
		at = until.In(r.zone)
	}
}

// After returns the day that begins at the end of running, which another rule may have made. It goes to the end of
// this rule's day that contains that instant. Where that day bears running's date, or an earlier one, running itself
// goes on to the end of this rule's day of its own date, so that no date is ever opened twice.
func (r DayRule) After(running Day) Day {
	next := r.At(running.End)
	if next.Date > running.Date {
		next.Start = running.End
		return next
	}
	running.End, running.Zone = r.start(running.Date+1), r.Zone()
	return running
}

// Resume returns the day that a node begins with at now, when last is the last day that its ledger opened (the zero
// Day: none yet). A clock that was set back never reopens an earlier day: last goes on. A last day that starts more than
// a day after now is an error, since the clock or the ledger must be wrong.
func (r DayRule) Resume(last Day, now time.Time) (Day, error) {
	if last == (Day{}) {
		return r.At(now), nil
	}
	if last.Start.Sub(now) > 24*time.Hour {
		return Day{}, fmt.Errorf("the ledger's last day, %s, is more than one day ahead of the clock, %s", last.Date, now.UTC().Format(time.RFC3339))
	}
	day := last
	for !now.Before(day.End) {
		day = r.After(day)
	}
	return day, nil
}
