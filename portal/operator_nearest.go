package portal

import (
	"net/http"
	"time"

	"github.com/perdiem/perdiem/usage"
)

const shownNearest = 25 // entries of each list, at most

// operatorNearestBody is what the page of those who are nearest to their limits is told.
type operatorNearestBody struct {
	operating
	At           time.Time
	Applications string // how many were read
	Nearest      []nearestRow
	Shadow       []shadowRow
	WouldRefuse  int64
	Most         int // entries that each list has at most
}

// nearestRow is an application that is near its limit for an endpoint.
type nearestRow struct {
	Application, Path    string
	Endpoint             string
	Used, Limit, Refused int64
	Meter                meter
}

// shadowRow is what would have been refused of an application for an endpoint.
type shadowRow struct {
	Application, Path string
	usage.InShadow
}

// ForApplication returns how many calls would have been refused for the application's limit.
func (r shadowRow) ForApplication() int64 { return r.Refused - r.RefusedForMember }

// operatorNearest shows which applications are nearest to their limits today, and what shadow mode would have refused.
func (p *Portal) operatorNearest(v *visit) error {
	s, err := p.Usage.Survey(v.r.Context())
	if err != nil {
		return err
	}
	body := operatorNearestBody{
		operating: v.operating("nearest", "Nearest limits", nil), At: s.At, Applications: count(int64(s.Applications), "application", "applications"),
		WouldRefuse: s.WouldRefuse, Most: shownNearest,
	}
	for _, n := range s.Nearest[:min(len(s.Nearest), shownNearest)] {
		limit := int64(n.Limit)
		body.Nearest = append(body.Nearest, nearestRow{
			Application: p.nameOf(n.Application), Path: p.itemPath("apps", n.Application), Endpoint: n.Endpoint,
			Used: n.Used, Limit: limit, Refused: n.Refused, Meter: newMeter(n.Endpoint, &limit, n.Used, s.Day.End),
		})
	}
	for _, one := range s.Shadow[:min(len(s.Shadow), shownNearest)] {
		body.Shadow = append(body.Shadow, shadowRow{p.nameOf(one.Application), p.itemPath("apps", one.Application), one})
	}
	return v.show(http.StatusOK, "operator-nearest", page{Title: "Nearest limits · operators", Body: body})
}

// nameOf is what an application is called, which may be gone by now.
func (p *Portal) nameOf(id string) string {
	if app, known := p.Catalog().Application(id); known {
		return displayName(app)
	}
	return id
}
