package portal

import "net/http"

// settingsBody is what the tab Settings is told.
type settingsBody struct {
	App       application
	Overrides bool   // the application has limits of its own
	Contact   string // whom to ask for more; empty: whoever runs this API
	Link      string // that leads to them
}

// settings shows the tab Settings: what the application is, and whom to ask for more. Its limits are on Analytics, for what was called today and for that alone.
func (p *Portal) settings(v *visit) error {
	body := settingsBody{App: v.application("settings"), Overrides: len(v.app.Overrides) > 0}
	if p.Contact != nil {
		body.Link = p.Contact.String()
		if body.Contact = p.Contact.Opaque; body.Contact == "" { // an address of mail has nothing else
			body.Contact = body.Link
		}
	}
	return v.show(http.StatusOK, "settings", page{Title: "Settings · " + displayName(v.app), Body: body})
}
