package portal

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/perdiem/perdiem/usage"
)

// How near used calls are to their limit.
const (
	nearPercent = 75 // of the limit: from here on it is near
	calm        = "" // the class of a meter that is neither
	near        = "near"
	wall        = "wall"
)

// meter draws how much of a limit is used, and says it.
type meter struct {
	ID    string  // the endpoint's
	Share float64 // used of the limit; 1 and more: nothing is left. -1: there is no limit
	Width int     // of 100
	Class string
	Says  string
}

// newMeter returns the meter of an endpoint, which holds until the reset.
func newMeter(id string, limit *int64, used int64, reset time.Time) meter {
	m := meter{ID: id, Share: share(limit, used)}
	switch percent := m.Percent(); {
	case limit == nil:
		m.Says = "No limit"
	case *limit == 0:
		m.Width, m.Class, m.Says = 100, wall, "■ No access"
	case m.Share >= 1:
		m.Width, m.Class, m.Says = 100, wall, "■ At the limit until "+reset.UTC().Format("15:04")+" UTC"
	case percent >= nearPercent:
		m.Width, m.Class, m.Says = percent, near, fmt.Sprintf("◐ %d %% used", percent)
	case percent == 0 && used > 0:
		m.Width, m.Says = 1, "Less than 1 % used"
	default:
		m.Width, m.Says = percent, fmt.Sprintf("%d %% used", percent)
	}
	return m
}

// share returns which share of a limit is used; -1 where there is none.
func share(limit *int64, used int64) float64 {
	switch {
	case limit == nil:
		return -1
	case used >= *limit:
		return max(1, float64(used)/max(1, float64(*limit)))
	default:
		return math.Min(float64(used)/float64(*limit), math.Nextafter(1, 0))
	}
}

// Percent returns the share in whole hundredths that are used, 0 to 100: only what is used up has 100.
func (m meter) Percent() int { return int(math.Floor(max(0, min(m.Share, 1)) * 100)) }

// nearest returns the meter of the endpoint that is nearest to its application's limit; nil where none has a limit.
func nearest(r *usage.Report) *meter {
	var found *usage.Endpoint
	for i := range r.Endpoints {
		e := &r.Endpoints[i]
		if e.Application.Limit == nil {
			continue
		}
		if found == nil || cmp.Compare(share(e.Application.Limit, e.Application.Used), share(found.Application.Limit, found.Application.Used)) > 0 {
			found = e
		}
	}
	if found == nil {
		return nil
	}
	m := newMeter(found.ID, found.Application.Limit, found.Application.Used, r.ResetsAt)
	return &m
}
