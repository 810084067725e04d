package catalog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

// A catalog that comes from elsewhere than a file meets the same rules.
func TestValidate(t *testing.T) {
	limit := func(n quota.Limit) *quota.Limit { return &n }
	c := &catalog.Catalog{
		CatchAll: catalog.Endpoint{ID: "*", Limits: quota.Limits{Application: -1, Member: quota.Unlimited + 1}},
		Endpoints: []catalog.Endpoint{
			{ID: "a", Path: "/a", Cost: 1},
			{ID: "a", Path: "/b", Cost: quota.MaxCost + 1},
			{ID: "", Path: "", Cost: 1},
			{ID: "x\ny", Path: "//", Cost: 1},
			{ID: "b", Path: "/a", Cost: 1},
			{ID: "c", Path: "/c", Cost: 1, When: catalog.Conditions{Header: map[string]string{"a\n": "b", "Host": "c"}}},
			{ID: "d", Method: "GET", Path: "/c d", Cost: 1},
		},
		Tiers: []catalog.Tier{
			{Name: "t", Limits: map[string]catalog.PartialLimits{"a": {Member: limit(-2)}, "z": {}}},
			{Name: "t"},
			{Name: "\xff"},
		},
		Applications: []catalog.Application{
			{ID: "p", Tier: "u", Name: strings.Repeat("n", 1025), Overrides: map[string]catalog.PartialLimits{"*": {Application: limit(quota.MaxLimit + 1)}}},
			{ID: "p"},
		},
	}
	want := []string{
		"catch_all: application: " + limitRange + "-1",
		"catch_all: member: " + limitRange + "9007199254740992",
		"catch_all: cost: must be a whole number from 1 to 1000000, not 0",
		"endpoint a: id: another endpoint is called a as well; ids must differ",
		"endpoint a: cost: must be a whole number from 1 to 1000000, not 1000001",
		"endpoint number 3: id: " + idRule,
		`endpoint "x\ny": id: ` + idRule,
		`endpoint c: when: header: Host: "Host": a host cannot be matched; leave it out`,
		`endpoint c: when: header: "a\n": a name must be 1 to 1024 bytes of UTF-8 without control characters`,
		"endpoint number 3: match: write a method and a path, such as GET /rest/posts, or a path alone",
		`endpoint "x\ny": match: no request can have this path: doubled slashes are merged before paths are matched`,
		"endpoint d: match: the path has a space or a control character; write it as an escape, such as %20",
		"endpoint b: match: ambiguous with endpoint a, which matches the same requests; tell them apart by when",
		"tier t: a: member: " + limitRange + "-2",
		`tier t: z: there is no endpoint "z"`,
		"tier t: another tier is called t as well; names must differ",
		`tier "\xff": its name ` + idRule,
		"application p: name: must be at most 1024 bytes of UTF-8 without control characters",
		`application p: tier: there is no tier "u"`,
		"application p: overrides: *: application: " + limitRange + "1000000000000000",
		"application p: id: another application is called p as well; ids must differ",
	}
	err := c.Validate(catalog.PathPolicy{})
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("the error is a %T", err)
	}
	if diff := cmp.Diff(want, strings.Split(fault.Message(err), "\n")); diff != "" {
		t.Error(diff)
	}
	if err := parse(t, example).Validate(catalog.PathPolicy{}); err != nil {
		t.Error(err)
	}
}

func TestCatchAllMustBeOne(t *testing.T) {
	for _, change := range []func(*catalog.Endpoint){
		func(e *catalog.Endpoint) { e.ID = "" },
		func(e *catalog.Endpoint) { e.ID = "rest" },
		func(e *catalog.Endpoint) { e.Method = "GET" },
		func(e *catalog.Endpoint) { e.Path = "/" },
		func(e *catalog.Endpoint) { e.When.Query = map[string]string{"q": "*"} },
	} {
		c := parse(t, example)
		change(&c.CatchAll)
		if err := c.Validate(catalog.PathPolicy{}); err == nil || !strings.HasPrefix(err.Error(), "catch_all is missing") {
			t.Errorf("%+v: %v", c.CatchAll, err)
		}
	}
}

func TestCounts(t *testing.T) {
	c := parse(t, "catch_all: {}")
	for i := range catalog.MaxEndpoints + 1 {
		c.Endpoints = append(c.Endpoints, catalog.Endpoint{ID: fmt.Sprint("e", i), Path: fmt.Sprint("/e", i), Cost: 1})
	}
	for i := range catalog.MaxTiers + 1 {
		c.Tiers = append(c.Tiers, catalog.Tier{Name: fmt.Sprint("t", i)})
	}
	for i := range catalog.MaxApplications + 1 {
		c.Applications = append(c.Applications, catalog.Application{ID: fmt.Sprint("a", i)})
	}
	want := "endpoints: 10001 are too many; at most 10000 are allowed\n" +
		"tiers: 10001 are too many; at most 10000 are allowed\n" +
		"applications: 100001 are too many; at most 100000 are allowed"
	if got := fmt.Sprint(c.Validate(catalog.PathPolicy{})); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	c.Endpoints = slices.Delete(c.Endpoints, 0, 1)
	c.Tiers = slices.Delete(c.Tiers, 0, 1)
	c.Applications = slices.Delete(c.Applications, 0, 1)
	if err := c.Validate(catalog.PathPolicy{}); err != nil {
		t.Error(err)
	}
}
