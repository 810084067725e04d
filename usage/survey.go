package usage

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

// Survey is today's usage of all applications, as far as operators have to look at it.
type Survey struct {
	At           time.Time // when it was begun
	Day          quota.Day
	Applications int         // how many were read
	Nearest      []NearLimit // to their limits, the nearest first
	Shadow       []InShadow  // what would have been refused, the most first
	WouldRefuse  int64       // calls in all that would have been refused
}

// NearLimit is an application and an endpoint of which it has used something today, and has a limit for.
type NearLimit struct {
	Application string
	Endpoint    string
	Limit       quota.Limit // more than 0, and not unlimited
	Used        int64       // calls
	Refused     int64       // calls, for either limit
}

// InShadow is an application and an endpoint of which one is in shadow mode, and calls that were let pass.
type InShadow struct {
	Application      string
	Endpoint         string
	Refused          int64 // calls that would have been refused, for either limit
	RefusedForMember int64 // those of them for a member's
}

// MaxSurvey is how many entries each list of a [Survey] has at most.
const MaxSurvey = 100

const (
	surveyAge   = 5 * time.Second
	surveyShare = 20 // a survey is at least as many times as old as it took before the next is made: it takes a twentieth of a processor at most
)

// surveys makes one survey at a time, for all that ask.
type surveys struct {
	turn chan struct{} // holds one while nobody makes a survey; guards the rest
	last *Survey
	took time.Duration
}

func newSurveys() surveys {
	s := surveys{turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

// Survey reads today's usage of all applications, one by one, or returns what was read within the last five seconds; within the last
// minute or so where there are many: it costs a reading of each application, some ten microseconds. It belongs to all that ask, and must not be changed. The error
// is [fault.Unavailable] where the counters cannot be read.
func (r *Reader) Survey(ctx context.Context) (*Survey, error) {
	select {
	case <-r.surveys.turn:
	case <-ctx.Done():
		return nil, late(ctx.Err())
	}
	defer func() { r.surveys.turn <- struct{}{} }()
	s, now := &r.surveys, r.now()
	if s.last != nil && s.last.Day.Date == r.counters.Day().Date {
		if age := now.Sub(s.last.At); age >= 0 && age < max(surveyAge, surveyShare*s.took) {
			return s.last, nil
		}
	}
	for {
		day := r.counters.Day()
		made, err := r.survey(ctx, now, day)
		if err != nil {
			return nil, err
		}
		if r.counters.Day().Date == day.Date { // else the reset fell into the reading
			s.last, s.took = made, r.now().Sub(now)
			return made, nil
		}
	}
}

func (r *Reader) survey(ctx context.Context, now time.Time, day quota.Day) (*Survey, error) {
	snapshot := r.catalog()
	made := &Survey{At: now, Day: day, Applications: len(snapshot.Applications())}
	near := top[NearLimit]{compare: compareNear}
	shadow := top[InShadow]{compare: compareShadow}
	for _, app := range snapshot.Applications() {
		if err := ctx.Err(); err != nil {
			return nil, late(err)
		}
		counts, err := r.counters.Application(ctx, app.ID)
		if err != nil {
			return nil, err
		}
		for _, c := range counts {
			endpoint, known := snapshot.Endpoint(c.Endpoint)
			if !known {
				continue
			}
			if limit := snapshot.Limits(app, endpoint).Application; limit > quota.NoAccess && limit != quota.Unlimited && c.Used > 0 {
				near.add(NearLimit{Application: app.ID, Endpoint: c.Endpoint, Limit: limit, Used: c.Used, Refused: c.Refused})
			}
			if inShadow(app, endpoint) && c.Refused > 0 {
				shadow.add(InShadow{Application: app.ID, Endpoint: c.Endpoint, Refused: c.Refused, RefusedForMember: c.RefusedForMember})
				made.WouldRefuse += c.Refused
			}
		}
	}
	made.Nearest, made.Shadow = near.first(), shadow.first()
	return made, nil
}

func late(err error) error {
	return fault.Wrap(fault.Unavailable, err, "All applications' usage could not be read in time.")
}

func inShadow(app *catalog.Application, e *catalog.Endpoint) bool { return app.Shadow || e.Shadow }

func compareNear(a, b NearLimit) int {
	share := func(n NearLimit) float64 { return float64(n.Used) / float64(n.Limit) }
	return cmp.Or(cmp.Compare(share(b), share(a)), cmp.Compare(b.Refused, a.Refused), strings.Compare(a.Application, b.Application), strings.Compare(a.Endpoint, b.Endpoint))
}

func compareShadow(a, b InShadow) int {
	return cmp.Or(cmp.Compare(b.Refused, a.Refused), strings.Compare(a.Application, b.Application), strings.Compare(a.Endpoint, b.Endpoint))
}

// top keeps the first MaxSurvey of many, in order, in little memory.
type top[T any] struct {
	compare func(a, b T) int
	kept    []T
}

func (t *top[T]) add(one T) {
	if t.kept = append(t.kept, one); len(t.kept) >= 4*MaxSurvey {
		t.first()
	}
}

// first sorts what is kept, and drops the rest.
func (t *top[T]) first() []T {
	slices.SortFunc(t.kept, t.compare)
	t.kept = t.kept[:min(len(t.kept), MaxSurvey)]
	return t.kept
}
