package portal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

// hiddenOf returns what the form of a preview sends on.
func (r reply) hiddenOf(t *testing.T) url.Values {
	t.Helper()
	previews := all(r.document(t), having("id", "preview"))
	if len(previews) != 1 {
		t.Fatalf("no preview: %d %s", r.status, r.body)
	}
	form := url.Values{}
	for _, input := range all(previews[0], having("type", "hidden")) {
		name, _ := attribute(input, "name")
		value, _ := attribute(input, "value")
		form.Add(name, value)
	}
	return form
}

// save sends a form, looks at its preview, and sends that. It returns the preview.
func (b *browser) save(path string, form url.Values) reply {
	b.site.Helper()
	before := b.site.now.Load().Version()
	preview := b.post(path, form)
	if preview.status != 200 {
		b.site.Fatalf("%s %v: %d %s", path, form, preview.status, preview.one(b.site.T, "content"))
	}
	if version, err := b.site.registry.Version(b.site.Context()); err != nil || (before != 0 && version != before) {
		b.site.Errorf("the preview of %v changed the catalog: version %d, then %d (%v)", form, before, version, err)
	}
	saved := b.post(path, preview.hiddenOf(b.site.T))
	location := saved.header.Get("Location")
	if saved.status != 303 || !strings.HasSuffix(location, "?saved") {
		b.site.Fatalf("%s %v: %d to %q: %s", path, form, saved.status, location, saved.one(b.site.T, "content"))
	}
	if shown := b.get(location); shown.status != 200 || shown.one(b.site.T, "saved") == "" {
		b.site.Errorf("%s: %d, and does not say that it is done", location, shown.status)
	}
	return preview
}

// holds returns what holds on the node of an application and an endpoint.
func (s *site) holds(application, endpoint string) (quota.Limits, *catalog.Application) {
	s.Helper()
	now := s.now.Load()
	app, known := now.Application(application)
	e, alsoKnown := now.Endpoint(endpoint)
	if !known || !alsoKnown {
		s.Fatalf("%s or %s is gone", application, endpoint)
	}
	return now.Limits(app, e), app
}

// A preview that is no longer true is not what is done: it is shown anew.
func TestPreviewIsWhatIsDone(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	form := url.Values{"do": {"override"}, "endpoint": {"posts.create"}, "application": {"7"}}
	preview := b.post("/operator/apps/acme", form)
	seven := quota.Limit(9)
	if err := s.registry.SetOverride(t.Context(), "acme", "posts.create", catalog.PartialLimits{Application: &seven}, "somebody else"); err != nil {
		t.Fatal(err)
	}
	again := b.post("/operator/apps/acme", preview.hiddenOf(t))
	if again.status != 200 || !strings.Contains(again.one(t, "preview"), "has changed since you looked") || !strings.Contains(again.one(t, "touches"), "9 → 7") {
		t.Fatalf("%d %s", again.status, again.one(t, "content"))
	}
	if e := s.audited(); e.Actor != "somebody else" {
		t.Errorf("it was done: %+v", e)
	}
	if got := b.post("/operator/apps/acme", again.hiddenOf(t)); got.status != 303 {
		t.Errorf("%d", got.status)
	}
	if got, _ := s.holds("acme", "posts.create"); got.Application != 7 {
		t.Errorf("%+v holds", got)
	}
}

// Save that is pressed twice is done once, and ends well twice.
func TestSaveTwice(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	for _, c := range []struct {
		path string
		form url.Values
	}{
		{"/operator/apps/acme", url.Values{"do": {"override"}, "endpoint": {"posts.create"}, "application": {"7"}}},
		{"/operator/apps/acme", url.Values{"do": {"suspend"}}},
		{"/operator/apps/acme", url.Values{"do": {"set"}, "name": {"Acme"}, "tier": {"development"}}},
		{"/operator/endpoints/posts.create", url.Values{"do": {"set"}, "application": {"501"}, "member": {"50"}, "cost": {"2"}, "shadow": {"false"}}},
		{"/operator/tiers", url.Values{"do": {"add"}, "name": {"partner"}}},
		{"/operator/tiers/partner", url.Values{"do": {"set"}, "endpoint": {"posts.create"}, "application": {"77"}}},
		{"/operator/apps", url.Values{"do": {"add"}, "id": {"gamma"}, "name": {"Gamma"}, "tier": {"partner"}}},
		{"/operator/endpoints", url.Values{"do": {"add"}, "id": {"likes"}, "match": {"GET /likes"}, "application": {"9"}, "member": {"9"}, "cost": {"1"}, "shadow": {"false"}}},
		{"/operator/apps/acme", url.Values{"do": {"clear"}, "endpoint": {"posts.create"}}},
		{"/operator/apps/acme", url.Values{"do": {"revert"}, "field": {"suspended"}}},
		{"/operator/apps/gamma", url.Values{"do": {"remove"}}},
		{"/operator/endpoints/likes", url.Values{"do": {"remove"}}},
		{"/operator/tiers/partner", url.Values{"do": {"remove"}}},
	} {
		form := b.post(c.path, c.form).hiddenOf(t)
		for range 2 {
			if got := b.post(c.path, form); got.status != 303 || !strings.HasSuffix(got.header.Get("Location"), "?saved") {
				t.Errorf("%s %v: %d %s", c.path, c.form, got.status, got.one(t, "content"))
			}
		}
	}
	if got := b.post("/operator/apps/nobody", url.Values{"do": {"remove"}}); got.status != 404 {
		t.Errorf("what there never was: %d", got.status)
	}
	// What somebody else added in the meantime, and otherwise, was not added by this.
	add := url.Values{"do": {"add"}, "id": {"hearts"}, "match": {"GET /hearts"}, "application": {"unlimited"}, "member": {"unlimited"}, "cost": {"1"}, "shadow": {"false"}}
	form := b.post("/operator/endpoints", add).hiddenOf(t)
	add.Set("member", "5")
	b.save("/operator/endpoints", add)
	if got := b.post("/operator/endpoints", form); got.status != 409 || !strings.Contains(got.one(t, "content"), "There is an endpoint of this id already.") {
		t.Errorf("added otherwise: %d %s", got.status, got.one(t, "content"))
	}
}

// A preview names the first that it touches, and says how many more there are.
func TestPreviewOfMany(t *testing.T) {
	var text strings.Builder
	text.WriteString("catch_all: {application: 1, member: 1}\napplications:\n")
	for i := range 150 {
		fmt.Fprintf(&text, "  - {id: app-%03d}\n", i)
	}
	b := openSite(t, text.String()).browser(operatorEmail)
	got := b.save("/operator/endpoints/%2A", url.Values{"do": {"set"}, "application": {"2"}, "member": {"1"}, "cost": {"1"}, "shadow": {"false"}})
	if touches := got.one(t, "touches"); got.one(t, "touched") != "Touches 150 limits of 150 applications." || strings.Count(touches, "1 → 2") != shownTouches || !strings.Contains(got.body, "and 125 more") {
		t.Errorf("%s %s", got.one(t, "touched"), touches)
	}
}

// What is kept although the node could not take it up is not said to have failed, nor to hold.
func TestChangeThatIsNotTakenUp(t *testing.T) {
	s := openSite(t, sample, func(o *Options) {
		o.Operators.Changed = func(context.Context) error { return errors.New("secret cause") }
	})
	b := s.browser(operatorEmail)
	got := b.post("/operator/apps/acme", b.post("/operator/apps/acme", url.Values{"do": {"suspend"}}).hiddenOf(t))
	says := got.one(t, "content")
	if got.status != 202 || !strings.Contains(says, "The change is kept") || !strings.Contains(says, "Do not send it again") || strings.Contains(got.body, "secret cause") {
		t.Errorf("%d %s", got.status, says)
	}
	if !strings.Contains(s.logged.String(), "secret cause") {
		t.Errorf("the log: %s", s.logged)
	}
	if e := s.audited(); e.Actor != operatorEmail {
		t.Errorf("it is not kept: %+v", e)
	}
}

func TestItemsAreAddedAndRemoved(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	b.save("/operator/endpoints", url.Values{
		"do": {"add"}, "id": {"likes"}, "match": {"GET /rest/likes"}, "when": {"header X-RestLi-Method: FINDER\r\nquery q: *\r\n"},
		"application": {"9"}, "member": {"unlimited"}, "cost": {"2"}, "shadow": {"true"},
	})
	e, known := s.now.Load().Endpoint("likes")
	if !known || e.Match() != "GET /rest/likes" || e.When.Header["X-Restli-Method"] != "FINDER" || e.When.Query["q"] != "*" || e.Cost != 2 || !e.Shadow || e.Limits != (quota.Limits{Application: 9, Member: quota.Unlimited}) {
		t.Fatalf("%+v", e)
	}
	b.save("/operator/endpoints/likes", url.Values{ // what it matches is its own to change
		"do": {"set"}, "match": {"GET /rest/hearts"}, "when": {"query q: *"}, "application": {"9"}, "member": {"unlimited"}, "cost": {"2"}, "shadow": {"true"},
	})
	if e, _ := s.now.Load().Endpoint("likes"); e.Match() != "GET /rest/hearts" || len(e.When.Header) != 0 {
		t.Errorf("%+v", e)
	}
	b.save("/operator/tiers", url.Values{"do": {"add"}, "name": {"partner"}})
	b.save("/operator/tiers/partner", url.Values{"do": {"set"}, "endpoint": {"likes"}, "application": {"77"}})
	b.save("/operator/apps", url.Values{"do": {"add"}, "id": {"gamma"}, "name": {"Gamma"}, "tier": {"partner"}})
	if got, _ := s.holds("gamma", "likes"); got.Application != 77 {
		t.Errorf("%+v holds", got)
	}
	for _, list := range []struct{ path, id, row string }{
		{"/operator/endpoints", "all-endpoints", "likes"}, {"/operator/tiers", "all-tiers", "partner"}, {"/operator/apps", "all-applications", "Gamma"},
	} {
		got := b.get(list.path).one(t, list.id)
		if !strings.Contains(got, list.row) || strings.Count(got, "Run time") != 1 || !strings.Contains(got, "Catalog file") {
			t.Errorf("%s: %s", list.path, got)
		}
	}
	if got := b.post("/operator/tiers/partner", url.Values{"do": {"remove"}}); got.status != 422 || !strings.Contains(got.one(t, "problem"), "ier partner is named elsewhere; change that first: ") || !strings.Contains(got.one(t, "problem"), "gamma") {
		t.Errorf("a tier in use: %d %s", got.status, got.one(t, "problem"))
	}
	if err := s.registry.Grant(t.Context(), registry.Grant{Email: operatorEmail, Application: "gamma", Role: registry.Viewer}, ""); err != nil {
		t.Fatal(err)
	}
	if got := b.save("/operator/apps/gamma", url.Values{"do": {"remove"}}).one(t, "changes"); !strings.Contains(got, "Removed application gamma grants 1") {
		t.Errorf("what goes with the application is not previewed: %s", got)
	}
	b.save("/operator/tiers/partner", url.Values{"do": {"remove"}})
	b.save("/operator/endpoints/likes", url.Values{"do": {"remove"}})
	for _, path := range []string{"/operator/apps/gamma", "/operator/tiers/partner", "/operator/endpoints/likes"} {
		if got := b.get(path); got.status != 404 {
			t.Errorf("%s: %d", path, got.status)
		}
		if got := b.post(path, url.Values{"do": {"remove"}}); got.status != 404 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	if got := b.post("/operator/endpoints/posts.find", url.Values{"do": {"remove"}}); got.status != 409 || !strings.Contains(got.one(t, "problem"), "belongs to the catalog's file") {
		t.Errorf("the file's: %d %s", got.status, got.one(t, "problem"))
	}
}

// A preview says what follows from a change of something that is no limit, and does not say that nobody is touched by it.
func TestPreviewSaysWhatFollows(t *testing.T) {
	s := openSite(t, strings.Replace(sample, "{id: posts.find,", "{id: posts.find, shadow: true,", 1))
	b := s.browser(operatorEmail)
	b.save("/operator/endpoints", url.Values{"do": {"add"}, "id": {"likes"}, "match": {"GET /likes"}, "application": {"9"}, "member": {"9"}, "cost": {"1"}, "shadow": {"false"}})
	find := url.Values{"do": {"set"}, "application": {"10000"}, "member": {"unlimited"}, "cost": {"1"}, "shadow": {"true"}}
	likes := url.Values{"do": {"set"}, "match": {"GET /likes"}, "when": {""}, "application": {"9"}, "member": {"9"}, "cost": {"1"}, "shadow": {"false"}}
	with := func(form url.Values, pairs ...string) url.Values {
		form = maps.Clone(form)
		for i := 0; i < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		return form
	}
	for _, c := range []struct {
		path string
		form url.Values
		says string
	}{
		{"/operator/endpoints/posts.find", with(find, "cost", "1000"), "costs 1,000 from then on, instead of 1, whichever application"},
		{"/operator/endpoints/posts.find", with(find, "shadow", "false"), "Limits refuse calls to posts.find again"},
		{"/operator/endpoints/likes", with(likes, "shadow", "true"), "In shadow mode nobody is refused for likes"},
		{"/operator/endpoints/likes", with(likes, "match", "GET /hearts"), "those that it no longer matches"},
		{"/operator/endpoints/likes", with(likes, "match", "GET /hearts", "when", "query q: a"), "those that it no longer matches"},
		{"/operator/apps/acme", url.Values{"do": {"suspend"}}, "Every call of the application is answered 403"},
		{"/operator/apps/acme", url.Values{"do": {"shadow"}}, "It is refused nothing"},
	} {
		got := b.post(c.path, c.form)
		says := got.one(t, "content")
		if got.status != 200 || strings.Count(says, c.says) != 1 {
			t.Errorf("%s %v: %d %s", c.path, c.form, got.status, says)
		}
		if got.one(t, "touched") != "" || strings.Contains(says, "Limits that change") || strings.Contains(says, "Nobody") {
			t.Errorf("%s %v: limits change: %s", c.path, c.form, says)
		}
	}
	// Also what takes something back.
	b.save("/operator/endpoints/posts.create", url.Values{"do": {"set"}, "application": {"500"}, "member": {"50"}, "cost": {"7"}, "shadow": {"false"}})
	if got := b.post("/operator/endpoints/posts.create", url.Values{"do": {"revert"}, "field": {"cost"}}).one(t, "preview"); !strings.Contains(got, "costs 1 from then on, instead of 7") {
		t.Errorf("taken back: %s", got)
	}
}
