package catalog_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/perdiem/perdiem/catalog"
)

// Whatever conditions a catalog may have: of the endpoints whose conditions a request meets, it gets the one that contains
// the conditions of all the others. And a catalog is refused only where some request would have no such endpoint.
func TestConditionsDecide(t *testing.T) {
	names := []string{"a", "b", "c"}
	values := []string{"*", "1", "2"}
	rapid.Check(t, func(t *rapid.T) {
		conditions := rapid.SliceOfNDistinct(rapid.MapOfN(rapid.SampledFrom(names), rapid.SampledFrom(values), 0, 3), 1, 6,
			func(m map[string]string) string { return fmt.Sprint(m) }).Draw(t, "conditions")
		c := &catalog.Catalog{CatchAll: catalog.Endpoint{ID: "*", Cost: 1}}
		for i, m := range conditions {
			e := catalog.Endpoint{ID: fmt.Sprint(i), Path: "/x", Cost: 1}
			for name, value := range m {
				if name == "c" { // one of the names is a header's
					e.When.Header = map[string]string{name: value}
					continue
				}
				if e.When.Query == nil {
					e.When.Query = map[string]string{}
				}
				e.When.Query[name] = value
			}
			c.Endpoints = append(c.Endpoints, e)
		}
		s, err := catalog.NewSnapshot(c, catalog.Options{})

		undecided := false
		for _, a := range []string{"", "1", "2", "3"} {
			for _, b := range []string{"", "1", "2", "3"} {
				for _, h := range []string{"", "1", "2", "3"} {
					request := map[string]string{"a": a, "b": b, "c": h}
					want, decided := decide(conditions, request)
					if !decided {
						undecided = true
						continue
					}
					if err != nil {
						continue
					}
					header := http.Header{}
					if h != "" {
						header.Set("C", h)
					}
					query := ""
					for _, name := range names[:2] {
						if request[name] != "" {
							query += "&" + name + "=" + request[name]
						}
					}
					if e, err := s.Match(catalog.Path{Match: "/x"}, "GET", header, query); err != nil || e.ID != want {
						t.Fatalf("%v meets %v, %v; want %s", request, e, err, want)
					}
				}
			}
		}
		if undecided != (err != nil) {
			t.Fatalf("some request is undecided: %v; the catalog: %v", undecided, err)
		}
	})
}

// decide returns the endpoint whose conditions the request meets and contain those of all others that it meets; "*" where
// it meets none.
func decide(conditions []map[string]string, request map[string]string) (id string, ok bool) {
	var met []int
	for i, m := range conditions {
		if contains(request, m) {
			met = append(met, i)
		}
	}
	for _, i := range met {
		if !slices.ContainsFunc(met, func(j int) bool { return !contains(conditions[i], conditions[j]) }) {
			return fmt.Sprint(i), true
		}
	}
	return "*", len(met) == 0
}

func contains(outer, inner map[string]string) bool {
	for name, value := range inner {
		if outer[name] == "" || value != "*" && outer[name] != value {
			return false
		}
	}
	return true
}

func TestConditionsString(t *testing.T) {
	for _, test := range []struct {
		c    catalog.Conditions
		want string
	}{
		{catalog.Conditions{}, "{}"},
		{catalog.Conditions{Query: map[string]string{"q": "a b", "ids": "*"}}, `{query: {ids: "*", q: "a b"}}`},
		{catalog.Conditions{Header: map[string]string{"X-A": ""}, Query: map[string]string{"q": "\""}}, `{header: {X-A: ""}, query: {q: "\""}}`},
	} {
		if got := test.c.String(); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}
