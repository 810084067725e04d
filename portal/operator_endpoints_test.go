package portal

import (
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/quota"
	"github.com/perdiem/perdiem/registry"
)

func TestEndpointIsChangedAfterAPreview(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	form := url.Values{"do": {"set"}, "application": {"600"}, "member": {"20"}, "cost": {"1"}, "shadow": {"false"}}
	preview := b.save("/operator/endpoints/posts.create", form)
	if got := preview.one(t, "touched"); got != "Touches 4 limits of 4 applications." {
		t.Errorf("it touches: %s", got)
	}
	touches := preview.one(t, "touches")
	for _, want := range []string{"acme posts.create 400 50 → 20", "beta posts.create 500 → 600 50 → 20"} {
		if !strings.Contains(touches, want) {
			t.Errorf("no %q among %s", want, touches)
		}
	}
	if changes := preview.one(t, "changes"); !strings.Contains(changes, "endpoint posts.create application limit 500 600") {
		t.Errorf("changes: %s", changes)
	}
	if got, _ := s.holds("beta", "posts.create"); got != (quota.Limits{Application: 600, Member: 20}) {
		t.Errorf("%+v holds", got)
	}
	if e := s.audited(); e.Actor != operatorEmail || e.Action != registry.ActionPut {
		t.Errorf("the audit has %+v", e)
	}
	// What was set is told apart from the file's, field by field, and taken back.
	page := b.get("/operator/endpoints/posts.create")
	if got := page.one(t, "amended"); !strings.Contains(got, "application limit 600 500") || !strings.Contains(got, "member limit 20 50") || strings.Contains(got, "cost") {
		t.Errorf("set at run time: %s", got)
	}
	b.save("/operator/endpoints/posts.create", url.Values{"do": {"revert"}, "field": {"member"}})
	if got, _ := s.holds("beta", "posts.create"); got != (quota.Limits{Application: 600, Member: 50}) {
		t.Errorf("%+v holds", got)
	}
	b.save("/operator/endpoints/posts.create", url.Values{"do": {"revert"}, "field": {""}})
	if got, _ := s.holds("beta", "posts.create"); got != (quota.Limits{Application: 500, Member: 50}) {
		t.Errorf("%+v holds", got)
	}
	if e := s.audited(); e.Actor != operatorEmail || e.Action != registry.ActionRevert {
		t.Errorf("the audit has %+v", e)
	}
}

// Conditions come back from their form as they went into it, whatever the catalog takes for one.
func FuzzConditions(f *testing.F) {
	f.Add("X-RestLi-Method", "q", "FINDER")
	f.Add("x", "a:b", "")
	f.Add("x", " outer ", "\u00a0")
	f.Add("x", `"`, `"quoted"`)
	f.Add("x", `back\slash`, `: header y: z`)
	f.Add("x", "é", "a  b\u2028")
	f.Add("x", "header", "*")
	f.Fuzz(func(t *testing.T, header, query, value string) {
		for _, s := range []string{header, query, value} {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) { // which the catalog refuses
				return
			}
		}
		if header == "" || query == "" {
			return
		}
		want := catalog.Conditions{Header: map[string]string{header: value}, Query: map[string]string{query: value, query + "2": "*"}}
		lines := conditionLines(want)
		for _, text := range []string{lines, strings.ReplaceAll(lines, "\n", "\r\n")} { // as browsers send it
			if got, err := readConditions(text); err != nil || !maps.Equal(got.Header, want.Header) || !maps.Equal(got.Query, want.Query) {
				t.Errorf("%q comes back as %+v, %v, want %+v", text, got, err, want)
			}
		}
	})
}

// A form that is sent as it was filled in changes nothing of the conditions.
func TestConditionsSurviveTheirForm(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	const odd = "header X-A: plain\r\nquery \"a:b\": \"\"\r\nquery c: \" outer \"\r\n query d: e:f"
	b.save("/operator/endpoints", url.Values{"do": {"add"}, "id": {"odd"}, "match": {"GET /odd"}, "when": {odd}, "application": {"9"}, "member": {"9"}, "cost": {"1"}, "shadow": {"false"}})
	when := func() catalog.Conditions { e, _ := s.now.Load().Endpoint("odd"); return e.When }
	want := catalog.Conditions{Header: map[string]string{"X-A": "plain"}, Query: map[string]string{"a:b": "", "c": " outer ", "d": "e:f"}}
	if got := when(); !maps.Equal(got.Header, want.Header) || !maps.Equal(got.Query, want.Query) {
		t.Fatalf("%+v", got)
	}
	filled := all(b.get("/operator/endpoints/odd").document(t), having("id", "set-when"))
	form := url.Values{"do": {"set"}, "match": {"GET /odd"}, "application": {"10"}, "member": {"9"}, "cost": {"1"}, "shadow": {"false"}}
	form.Set("when", filled[0].FirstChild.Data)
	preview := b.save("/operator/endpoints/odd", form)
	if got := preview.one(t, "changes"); strings.Contains(got, "when") || !strings.Contains(got, "application limit 9 10") {
		t.Errorf("changes: %s", got)
	}
	for _, wrong := range []string{`query "a: b`, `query "a" b`, `query a: "b" c`, `query "": a`, `query a:`, `query : a`, `header`} {
		form.Set("when", wrong)
		if got := b.post("/operator/endpoints/odd", form); got.status != 422 {
			t.Errorf("%s: %d", wrong, got.status)
		}
	}
}

// The longest conditions that the catalog takes fit into their form. What is longer than any form is refused as such.
func TestLongForms(t *testing.T) {
	s := openSite(t, sample)
	b := s.browser(operatorEmail)
	var when strings.Builder
	for i := range catalog.MaxConditions {
		fmt.Fprintf(&when, "query %c%s: %s\r\n", 'a'+i, strings.Repeat("€", (catalog.MaxCondition-1)/3), strings.Repeat("€", catalog.MaxCondition/3))
	}
	form := url.Values{"do": {"add"}, "id": {"long"}, "match": {"GET /" + strings.Repeat("l", 1000)}, "when": {when.String()}, "application": {"9"}, "member": {"9"}, "cost": {"1"}, "shadow": {"false"}}
	b.save("/operator/endpoints", form)
	form.Set("when", strings.Repeat("a", maxBody))
	for _, path := range []string{"/operator/endpoints", "/operator/accounts", "/apps/acme/alerts", "/apps/acme/team", "/signin"} {
		if got := b.post(path, form); got.status != 413 || !strings.Contains(got.body, "<h1>Too long</h1>") {
			t.Errorf("%s: %d %s", path, got.status, got.one(t, "content"))
		}
	}
}
