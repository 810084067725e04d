package portal

import (
	"fmt"
	"net/http"
	"strconv"
)

// settingsBody is what the tab Settings is told.
type settingsBody struct {
	App     application
	Limits  []settingsRow
	Contact string // whom to ask for more; empty: whoever runs this API
	Link    string // that leads to them
}

// settingsRow is an endpoint whose limits are the application's tier's, or its own.
type settingsRow struct {
	ID, Match, When     string
	Application, Member calls
	Own                 bool // an override holds
}

// settings shows the tab Settings: what the application is, which limits its tier gives it, and whom to ask for others.
func (p *Portal) settings(v *visit) error {
	body := settingsBody{App: v.application("settings")}
	if p.Contact != nil {
		body.Link = p.Contact.String()
		if body.Contact = p.Contact.Opaque; body.Contact == "" { // an address of mail has nothing else
			body.Contact = body.Link
		}
	}
	snapshot := p.Catalog()
	tier, _ := snapshot.Tier(v.app.Tier)
	for _, e := range snapshot.Endpoints() {
		_, own := v.app.Overrides[e.ID]
		told := own
		if tier != nil && !told {
			_, told = tier.Limits[e.ID]
		}
		if !told {
			continue
		}
		limits := snapshot.Limits(v.app, e)
		body.Limits = append(body.Limits, settingsRow{
			ID: e.ID, Match: e.Match(), When: conditions(snapshot, e.ID), Own: own,
			Application: limitCell("application-limit", "Application", limits.Application), Member: limitCell("member-limit", "Each member", limits.Member),
		})
	}
	return v.show(http.StatusOK, "settings", page{Title: "Settings · " + displayName(v.app), Body: body})
}

// limitCell returns the cell of a limit.
func limitCell(field, label string, limit fmt.Stringer) calls {
	if n, err := strconv.ParseInt(limit.String(), 10, 64); err == nil {
		return newCalls(field, label, &n)
	}
	return newCalls(field, label, nil)
}
