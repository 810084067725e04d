package catalog_test

import (
	"strings"
	"testing"

	"github.com/perdiem/perdiem/catalog"
)

func TestDiff(t *testing.T) {
	const old = `
endpoints:
  - {id: posts.create, match: POST /posts, application: 100, member: 150}
  - {id: posts.find, match: GET /posts, when: {query: {q: author}}}
  - {id: posts.gone, match: /gone}
catch_all: {application: 1000}
tiers:
  development: {posts.create: {member: 50}, "*": {member: 1, application: 2}}
  gone: {}
applications:
  - {id: acme, name: Acme, tier: development, overrides: {posts.create: {application: 2000, member: 9}}}
  - {id: beta}
  - {id: gone, overrides: {"*": {member: 1}}}
`
	const new = `
endpoints:
  - {id: a.new, match: /new}
  - {id: posts.create, match: PUT /posts, application: unlimited, member: 200, cost: 2, shadow: true}
  - {id: posts.find, match: GET /posts, when: {query: {q: author, ids: "*"}, header: {a: b}}}
catch_all: {application: 1000, member: 5}
tiers:
  development: {posts.create: {member: 60, application: 7}, "*": {application: 2}}
  new: {"*": {member: 1}}
applications:
  - {id: acme, name: Acme Scheduler, suspended: true, overrides: {posts.create: {application: 3000}, "*": {member: 0}}}
  - {id: beta, tier: new, shadow: true}
  - {id: new, tier: new}
`
	want := `
~ endpoint * member unlimited -> 5
+ endpoint a.new
~ endpoint posts.create match POST /posts -> PUT /posts
~ endpoint posts.create application 100 -> unlimited
~ endpoint posts.create member 150 -> 200
~ endpoint posts.create cost 1 -> 2
~ endpoint posts.create shadow false -> true
~ endpoint posts.find when {query: {q: "author"}} -> {header: {A: "b"}, query: {ids: "*", q: "author"}}
- endpoint posts.gone
- tier development * member 1
+ tier development posts.create application 7
~ tier development posts.create member 50 -> 60
- tier gone
+ tier new
~ application acme name "Acme" -> "Acme Scheduler"
~ application acme tier development -> none
~ application acme suspended false -> true
+ override acme * member 0
~ override acme posts.create application 2000 -> 3000
- override acme posts.create member 9
~ application beta tier none -> new
~ application beta shadow false -> true
- application gone
+ application new
`
	before, after := parse(t, old), parse(t, new)
	if got := lines(catalog.Diff(before, after)); got != want {
		t.Errorf("got%swant%s", got, want)
	}
	if got := lines(catalog.Diff(before, before.Clone())); got != "\n" {
		t.Errorf("a catalog differs from itself:%s", got)
	}
	if got := lines(catalog.Diff(nil, parse(t, example))); got != "\n+ endpoint *\n+ endpoint posts.create\n+ endpoint posts.find\n+ tier development\n+ application acme\n+ application beta\n" {
		t.Errorf("from nothing:%s", got)
	}
	if got := lines(catalog.Diff(parse(t, "catch_all: {}"), nil)); got != "\n- endpoint *\n" {
		t.Errorf("to nothing:%s", got)
	}
}

func lines(changes []catalog.Change) string {
	var b strings.Builder
	b.WriteByte('\n')
	for _, c := range changes {
		b.WriteString(c.String() + "\n")
	}
	return b.String()
}

func TestKept(t *testing.T) {
	c := catalog.Change{Op: catalog.Kept, Noun: "override", Name: "acme posts.create", Field: "member", From: "20", To: "30"}
	if got := c.String(); got != "! kept override acme posts.create member 20; the file says 30" {
		t.Error(got)
	}
	c.Field = ""
	if got := c.String(); got != "! kept override acme posts.create" {
		t.Error(got)
	}
}
