package adminapi_test

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/usage"
)

// edit asks for a change, first as a dry run, which must tell the same and change nothing.
func (h *host) edit(method, target, body string) adminapi.Edited {
	h.t.Helper()
	before, err := h.registry.Version(h.t.Context())
	check(h.t, err)
	changes := h.changes
	dry := target + "?dryRun=true"
	if strings.Contains(target, "?") {
		dry = target + "&dryRun=true"
	}
	var told, made adminapi.Edited
	h.want(200, h.ask(method, dry, body), &told)
	if after, err := h.registry.Version(h.t.Context()); err != nil || after != before || h.changes != changes {
		h.t.Errorf("%s %s: a dry run took the version from %d to %d, %v, and was taken up", method, target, before, after, err)
	}
	h.want(200, h.ask(method, target, body), &made)
	if diff := cmp.Diff(told, made); diff != "" {
		h.t.Errorf("%s %s: (-dry run +made)\n%s", method, target, diff)
	}
	if h.changes != changes+1 {
		h.t.Errorf("%s %s: %d changes were taken up", method, target, h.changes-changes)
	}
	return made
}

// An edit that is to do what its dry run told is not made once it would do something else.
func TestEditAsExpected(t *testing.T) {
	h := newHost(t)
	h.apply()
	const target, body = "/admin/v1/endpoints", `{"id": "posts.create", "limits": {"member": 200}}`
	var told adminapi.Edited
	h.want(200, h.ask("PUT", target+"?dryRun=true", body), &told)
	if told.Digest == "" {
		t.Fatal("a dry run has no digest")
	}
	h.want(204, h.ask("PUT", "/admin/v1/overrides", `{"application": "acme", "endpoint": "posts.create", "limits": {"member": 7}}`), nil)
	h.want(409, h.ask("PUT", target+"?expect="+told.Digest, body), nil)
	h.want(200, h.ask("PUT", target+"?dryRun=true", body), &told)
	h.want(200, h.ask("PUT", target+"?expect="+told.Digest, body), nil)
	var again adminapi.Edited // as somebody does whom the answer did not reach
	h.want(200, h.ask("PUT", target+"?expect="+told.Digest, body), &again)
	h.wantChanges(again, []string{}...)
}

// So it is with overrides.
func TestOverrideAsExpected(t *testing.T) {
	h := newHost(t)
	h.apply()
	const target, body = "/admin/v1/overrides", `{"application": "acme", "endpoint": "posts.create", "limits": {"member": 7}}`
	var told adminapi.Edited
	h.want(200, h.ask("PUT", target+"?dryRun=true", body), &told)
	h.want(200, h.ask("PUT", "/admin/v1/endpoints", `{"id": "posts.create", "limits": {"member": 200}}`), nil)
	h.wantProblem(409, "CONFLICT", h.ask("PUT", target+"?expect="+told.Digest, body))
	h.want(200, h.ask("PUT", target+"?dryRun=true", body), &told)
	for range 2 {
		if w := h.ask("PUT", target+"?expect="+told.Digest, body); w.Code != 204 || w.Body.Len() != 0 {
			t.Errorf("status %d, %s", w.Code, w.Body)
		}
	}
	const cleared = target + "?application=acme&endpoint=posts.create"
	h.want(200, h.ask("DELETE", cleared+"&dryRun=true", ""), &told)
	h.want(200, h.ask("PUT", "/admin/v1/endpoints", `{"id": "posts.create", "limits": {"member": 201}}`), nil)
	h.wantProblem(409, "CONFLICT", h.ask("DELETE", cleared+"&expect="+told.Digest, ""))
	h.want(200, h.ask("DELETE", cleared+"&dryRun=true", ""), &told)
	changes := h.changes
	h.want(204, h.ask("DELETE", cleared+"&expect="+told.Digest, ""), nil)
	if h.changes != changes+1 {
		t.Errorf("%d changes were taken up", h.changes-changes)
	}
}

func (h *host) wantChanges(e adminapi.Edited, want ...string) {
	h.t.Helper()
	if diff := cmp.Diff(want, e.Changes); diff != "" {
		h.t.Errorf("changes (-want +got)\n%s", diff)
	}
}

func TestEdits(t *testing.T) {
	h := newHost(t)
	h.apply()
	e := h.edit("PUT", "/admin/v1/endpoints", `{"id": "posts.create", "limits": {"member": 200}, "cost": 2}`)
	h.wantChanges(e, "~ endpoint posts.create member 150 -> 200", "~ endpoint posts.create cost 1 -> 2")
	if e.Touched.Applications != 3 || len(e.Touched.First) != 3 || e.Touched.First[0].Application != ".." ||
		e.Touched.First[0].Before.Member != 150 || e.Touched.First[0].After.Member != 200 || quota.Limit(e.Touched.First[0].After.Application) != quota.Unlimited {
		t.Errorf("touched: %+v", e.Touched)
	}
	h.wantChanges(h.edit("PUT", "/admin/v1/endpoints", `{"id": "a", "match": "GET /a/{id}", "when": {"query": {"q": "*"}}, "limits": {"application": "unlimited"}}`), "+ endpoint a")
	h.wantChanges(h.edit("PUT", "/admin/v1/tiers", `{"name": "gold", "limits": {"a": {"member": 5}}}`), "+ tier gold")
	h.wantChanges(h.edit("PUT", "/admin/v1/applications", `{"id": "n/w?", "name": "New", "tier": "gold"}`), "+ application n/w?")
	h.wantChanges(h.edit("PUT", "/admin/v1/applications", `{"id": "acme", "suspended": true, "tier": "gold"}`),
		"~ application acme tier none -> gold", "~ application acme suspended false -> true")

	var app adminapi.Application
	h.want(200, h.ask("GET", "/admin/v1/application?id=acme", ""), &app)
	if diff := cmp.Diff(adminapi.Origin{File: true, Amended: []adminapi.Amendment{
		{Field: "tier", Value: "gold", Under: "none"}, {Field: "suspended", Value: "true", Under: "false"},
	}}, app.Origin); diff != "" || !app.Suspended || app.Tier != "gold" {
		t.Errorf("acme is %+v (-want +got)\n%s", app, diff)
	}
	var endpoint adminapi.Endpoint
	h.want(200, h.ask("GET", "/admin/v1/endpoint?id=a", ""), &endpoint)
	if endpoint.Match != "GET /a/{id}" || endpoint.When.Query["q"] != "*" || endpoint.Cost != 1 || !endpoint.Origin.Added || endpoint.Origin.File {
		t.Errorf("endpoint a is %+v", endpoint)
	}
	var tier adminapi.Tier
	h.want(200, h.ask("GET", "/admin/v1/tier?name=gold", ""), &tier)
	if tier.Applications != 2 || tier.Endpoints != 1 || *tier.Limits["a"].Member != 5 || tier.Limits["a"].Application != nil {
		t.Errorf("tier gold is %+v", tier)
	}

	h.wantProblem(400, "BAD_REQUEST", h.ask("DELETE", "/admin/v1/tiers?id=gold", "")) // applications are in it
	h.wantProblem(409, "CONFLICT", h.ask("DELETE", "/admin/v1/applications?id=acme", ""))
	h.wantProblem(409, "CONFLICT", h.ask("PUT", "/admin/v1/endpoints", `{"id": "posts.create", "match": "/elsewhere"}`))
	h.wantChanges(h.edit("DELETE", "/admin/v1/amendments?noun=application&id=acme&field=suspended", ""), "~ application acme suspended true -> false")
	h.wantChanges(h.edit("DELETE", "/admin/v1/amendments?noun=application&id=acme", ""), "~ application acme tier gold -> none")
	h.wantChanges(h.edit("DELETE", "/admin/v1/applications?id="+url.QueryEscape("n/w?"), ""), "- application n/w?")
	h.wantChanges(h.edit("DELETE", "/admin/v1/tiers?id=gold", ""), "- tier gold")
	h.wantChanges(h.edit("DELETE", "/admin/v1/endpoints?id=a", ""), "- endpoint a")
	for _, target := range []string{"/admin/v1/application?id=n", "/admin/v1/endpoint?id=a", "/admin/v1/tier?name=gold"} {
		h.wantProblem(404, "NOT_FOUND", h.ask("GET", target, ""))
	}

	var audit adminapi.AuditPage
	h.want(200, h.ask("GET", "/admin/v1/audit?limit=3", ""), &audit)
	if len(audit.Entries) != 3 || audit.Next == 0 || audit.Entries[0].Subject != "endpoint a" || audit.Entries[0].Actor != h.actor() || audit.Entries[0].Action != registry.ActionRemove {
		t.Errorf("the audit says %+v", audit)
	}
	var older adminapi.AuditPage
	h.want(200, h.ask("GET", fmt.Sprintf("/admin/v1/audit?before=%d", audit.Next), ""), &older)
	if len(older.Entries) == 0 || older.Entries[0].Seq >= audit.Entries[2].Seq || older.Next != 0 {
		t.Errorf("before that: %+v", older)
	}
}

// TestCatalogComesBack has the catalog that holds applied, which must change nothing.
func TestCatalogComesBack(t *testing.T) {
	h := newHost(t)
	h.want(200, h.ask("PUT", "/admin/v1/catalog", `
endpoints:
  - {id: posts.create, match: POST /rest/posts, application: 7, member: 0, cost: 3, shadow: true}
  - {id: posts.find, match: /rest/posts, when: {header: {X-A: b, X-C: "*"}, query: {q: "<ü>"}}}
catch_all: {application: 1000, cost: 2}
tiers: {empty: {}, "odd: #tier": {posts.create: {member: unlimited}, "*": {application: 999999999999999}}}
applications: [{id: acme, name: "Acme \"&\" Co", tier: "odd: #tier", shadow: true}, {id: .., suspended: true, overrides: {"*": {application: 0}}}, {id: "true"}, {id: "7"}]
`), nil)
	whole := h.ask("GET", "/admin/v1/catalog", "")
	h.want(200, whole, nil)
	var again struct{ Changes []string }
	h.want(200, h.ask("PUT", "/admin/v1/catalog", whole.Body.String()), &again)
	if len(again.Changes) != 0 {
		t.Errorf("%s\nchanges: %q", whole.Body, again.Changes)
	}
}

func TestPages(t *testing.T) {
	h := newHost(t)
	var yaml strings.Builder
	yaml.WriteString("catch_all: {application: 1}\nendpoints:\n")
	for i := range 7 {
		fmt.Fprintf(&yaml, "  - {id: e%d, match: /e/%d}\n", i, i)
	}
	yaml.WriteString("tiers: {a: {}, b: {}, c: {}}\napplications:\n")
	for i := range 25 {
		fmt.Fprintf(&yaml, "  - {id: app-%02d, name: Name %d}\n", i, i%10)
	}
	h.want(200, h.ask("PUT", "/admin/v1/catalog", yaml.String()), nil)
	ids := func(search string, limit int) (all []string) {
		for after := ""; ; {
			var page adminapi.ApplicationPage
			h.want(200, h.ask("GET", fmt.Sprintf("/admin/v1/applications?search=%s&limit=%d&after=%s", url.QueryEscape(search), limit, url.QueryEscape(after)), ""), &page)
			if len(page.Applications) > limit || page.Next != "" && len(page.Applications) < limit {
				t.Fatalf("a page of %d has %d applications, and %q is next", limit, len(page.Applications), page.Next)
			}
			for _, app := range page.Applications {
				all = append(all, app.ID)
			}
			if after = page.Next; after == "" {
				return all
			}
		}
	}
	for _, limit := range []int{1, 4, 5, 25, 1000} {
		if all := ids("", limit); len(all) != 25 || all[0] != "app-00" || all[24] != "app-24" {
			t.Errorf("%d at a time: %q", limit, all)
		}
		if found := ids("nAME 3", limit); !cmp.Equal(found, []string{"app-03", "app-13", "app-23"}) {
			t.Errorf("%d at a time, of that name: %q", limit, found)
		}
	}
	if found := ids("nothing of the kind", 10); len(found) != 0 {
		t.Errorf("found %q", found)
	}
	var gone adminapi.ApplicationPage // the last of the page before was removed since
	h.want(200, h.ask("GET", "/admin/v1/applications?after=app-23x", ""), &gone)
	if len(gone.Applications) != 1 || gone.Applications[0].ID != "app-24" {
		t.Errorf("after one that is gone: %+v", gone)
	}
	var endpoints adminapi.EndpointPage
	h.want(200, h.ask("GET", "/admin/v1/endpoints?search=/e/3", ""), &endpoints)
	if len(endpoints.Endpoints) != 1 || endpoints.Endpoints[0].ID != "e3" {
		t.Errorf("found %+v", endpoints)
	}
	var tiers adminapi.TierPage
	h.want(200, h.ask("GET", "/admin/v1/tiers?after=a&limit=1", ""), &tiers)
	if len(tiers.Tiers) != 1 || tiers.Tiers[0].Name != "b" || tiers.Next != "b" {
		t.Errorf("found %+v", tiers)
	}
}

func TestOverridePages(t *testing.T) {
	h := newHost(t)
	h.apply()
	for _, application := range []string{"..", "a/b", "acme"} {
		body := `{"application": "` + application + `", "endpoint": "posts.create", "limits": {"member": 7}}`
		var told adminapi.Edited
		h.want(200, h.ask("PUT", "/admin/v1/overrides?dryRun=true", body), &told)
		if len(told.Changes) != 1 || told.Touched.Applications != 1 {
			t.Errorf("a dry run told %+v", told)
		}
		if w := h.ask("PUT", "/admin/v1/overrides", body); w.Code != 204 || w.Body.Len() != 0 {
			t.Errorf("status %d, %s", w.Code, w.Body)
		}
	}
	var all []string
	query := ""
	for {
		var page adminapi.OverridePage
		h.want(200, h.ask("GET", "/admin/v1/overrides?limit=2"+query, ""), &page)
		for _, o := range page.Overrides {
			all = append(all, o.Application)
		}
		if page.Next == nil {
			break
		}
		query = "&afterApplication=" + url.QueryEscape(page.Next.Application) + "&afterEndpoint=" + url.QueryEscape(page.Next.Endpoint)
	}
	if !cmp.Equal(all, []string{"..", "a/b", "acme"}) {
		t.Errorf("overrides of %q", all)
	}
	h.want(200, h.ask("DELETE", "/admin/v1/overrides?application=acme&endpoint=posts.create&dryRun=true", ""), nil)
	h.want(204, h.ask("DELETE", "/admin/v1/overrides?application=acme&endpoint=posts.create", ""), nil)
	h.wantProblem(404, "NOT_FOUND", h.ask("DELETE", "/admin/v1/overrides?application=acme&endpoint=posts.create", ""))
}

func TestSurvey(t *testing.T) {
	h := newHost(t)
	h.apply()
	h.edit("PUT", "/admin/v1/applications", `{"id": "acme", "shadow": true}`)
	h.counts = []usage.Counts{{Endpoint: "*", Used: 900, Refused: 4, RefusedForMember: 1}} // of each of the three
	var s adminapi.Survey
	h.want(200, h.ask("GET", "/admin/v1/survey?limit=2", ""), &s)
	if len(s.Nearest) != 2 || s.Nearest[0] != (adminapi.Near{Application: "..", Endpoint: "*", Limit: 1000, Used: 900, Refused: 4}) || s.Applications != 3 {
		t.Errorf("nearest: %+v", s)
	}
	if len(s.Shadow) != 1 || s.Shadow[0] != (adminapi.Shadow{Application: "acme", Endpoint: "*", Refused: 4, RefusedForMember: 1}) || s.WouldRefuse != 4 || s.Day != "2026-11-23" {
		t.Errorf("in shadow mode: %+v", s)
	}
}

// TestNotTakenUp has an edit that the node could not take up.
func TestNotTakenUp(t *testing.T) {
	h := newHost(t)
	h.apply()
	h.unchanged = errors.New("the registry is away")
	if detail := h.wantProblem(503, "SERVICE_UNAVAILABLE", h.ask("PUT", "/admin/v1/applications", `{"id": "acme", "suspended": true}`)); !strings.Contains(detail, "kept") {
		t.Errorf("it says %q", detail)
	}
}

// TestDocs reads the page as a browser would: nothing of it comes from elsewhere, and it has all there is.
func TestDocs(t *testing.T) {
	h := newHost(t)
	h.key = "none" // no key is needed
	w := h.ask("GET", "/docs", "")
	h.want(200, w, nil)
	page := w.Body.String()
	if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy %q", policy)
	}
	for _, address := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if target := address[1]; strings.HasPrefix(target, "#") {
			if !strings.Contains(page, `id="`+target[1:]+`"`) {
				t.Errorf("a link to %s, which is not there", target)
			}
		} else if w := h.ask("GET", "/"+target, ""); w.Code != 200 {
			t.Errorf("a link to %s: %d", target, w.Code)
		}
	}
	for _, never := range []string{"<script", "style=", "http://", "https://", "ZgotmplZ"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %s", never)
		}
	}
	var description struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	h.want(200, h.ask("GET", "/openapi.json", ""), &description)
	for _, methods := range description.Paths {
		for _, op := range methods {
			if !strings.Contains(page, `<section id="`+op.OperationID+`"`) {
				t.Errorf("the page says nothing of %s", op.OperationID)
			}
		}
	}
	if w := h.ask("GET", "/docs.css", ""); w.Code != 200 || w.Header().Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("the style: %d %q", w.Code, w.Header().Get("Content-Type"))
	}
	if w := h.ask("HEAD", "/docs", ""); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
	h.wantProblem(405, "METHOD_NOT_ALLOWED", h.ask("POST", "/docs", ""))
}
