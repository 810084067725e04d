package catalog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/internal/yamldoc"
	"github.com/perdiem/perdiem/quota"
)

// example is the catalog of the contract, section 2.
const example = `
endpoints:
  - id: posts.create
    match: POST /rest/posts                # method (optional) and path as in Go's http.ServeMux, no host: {id}, {rest...}
    application: 100000
    member: 150
  - id: posts.find
    match: GET /rest/posts                 # GET matches HEAD too
    when: {header: {X-RestLi-Method: FINDER}, query: {q: author, ids: "*"}}
    application: 500000
    member: unlimited
    cost: 2                                # calls charged for one request; 1 unless told
catch_all: {application: 1000, member: 100}   # endpoint ` + "`*`" + `: whatever matches nothing above; required
tiers:
  development:
    posts.create: {application: 500, member: 50}
applications:
  - {id: acme, name: Acme Scheduler, tier: development}
  - {id: beta, name: Beta, overrides: {posts.create: {application: 2000}}}
`

func TestParse(t *testing.T) {
	got, err := catalog.Parse("catalog.yaml", []byte(example), catalog.PathPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	want := &catalog.Catalog{
		Endpoints: []catalog.Endpoint{{
			ID: "posts.create", Method: "POST", Path: "/rest/posts", Cost: 1,
			Limits: quota.Limits{Application: 100000, Member: 150},
		}, {
			ID: "posts.find", Method: "GET", Path: "/rest/posts", Cost: 2,
			When: catalog.Conditions{
				Header: map[string]string{"X-Restli-Method": "FINDER"},
				Query:  map[string]string{"q": "author", "ids": "*"},
			},
			Limits: quota.Limits{Application: 500000, Member: quota.Unlimited},
		}},
		CatchAll: catalog.Endpoint{ID: "*", Cost: 1, Limits: quota.Limits{Application: 1000, Member: 100}},
		Tiers: []catalog.Tier{{
			Name:   "development",
			Limits: map[string]catalog.PartialLimits{"posts.create": {Application: new(quota.Limit(500)), Member: new(quota.Limit(50))}},
		}},
		Applications: []catalog.Application{
			{ID: "acme", Name: "Acme Scheduler", Tier: "development"},
			{ID: "beta", Name: "Beta", Overrides: map[string]catalog.PartialLimits{"posts.create": {Application: new(quota.Limit(2000))}}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseIsCanonical(t *testing.T) {
	one := parse(t, `
applications:
  - {id: b, overrides: {x: {}}}
  - {id: a, suspended: true, shadow: true, tier: t}
tiers: {u: , t: {"*": {member: 0}}}
endpoints:
  - {id: y, match: "/y/{z...}", when: {query: {}, header: {a-b: C}}}
  - {id: x, match: "GET \t /x", member: unlimited, shadow: true}
catch_all: {cost: 3, shadow: false}
`)
	other := parse(t, `
catch_all: {application: unlimited, cost: 3}
endpoints: [{match: GET /x, id: x, application: "unlimited", shadow: true, cost: 1}, {id: y, match: '/y/{z...}', when: {header: {A-B: C}}}]
tiers: {t: {'*': {member: 0}}, u: {}}
applications: [{id: a, tier: t, suspended: true, shadow: true, overrides: {}}, {id: b, name: "", overrides: }]
`)
	if diff := cmp.Diff(one, other); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(parse(t, "catch_all: {}"), parse(t, "{endpoints: , catch_all: {}, tiers: , applications: }")); diff != "" {
		t.Error(diff)
	}
}

func parse(t testing.TB, yaml string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Parse("catalog.yaml", []byte(yaml), catalog.PathPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func snapshot(t testing.TB, yaml string) *catalog.Snapshot {
	t.Helper()
	s, err := catalog.NewSnapshot(parse(t, yaml), catalog.Options{Version: 7})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	limitRange = "must be a whole number from 0 to 999999999999999, or unlimited, not "
	idRule     = "must be 1 to 256 bytes of UTF-8 without control characters"
	neither    = "a request can meet both, and neither contains the other's conditions; add to one, or declare an endpoint with the conditions of both"
)

func TestParseProblems(t *testing.T) {
	// Each catalog stands before, or holds, a catch-all in its first line, so that columns count from the line's own start.
	tests := []struct {
		name, yaml string
		want       string // the problems, a line each, without the file's name
	}{
		// The form of the file.
		{"empty", "", "1:1: catch_all is missing; it holds the limits of requests that match no endpoint"},
		{"no catch_all", "endpoints: []\n", "1:1: catch_all is missing; it holds the limits of requests that match no endpoint"},
		{"empty catch_all", "catch_all:\n", "1:1: catch_all: must be a mapping, not empty"},
		{"catch_all is a number", "catch_all: 5\n", "1:12: catch_all: must be a mapping, not 5"},
		{"broken YAML", "catch_all: {}\nendpoints: [\n", "2:12: not YAML: sequence end token ']' not found"},
		{"broken YAML, a tab", "catch_all: {}\nendpoints:\n\t- {id: a, match: /a}\n", "3:1: not YAML: found character '\t' that cannot start any token: indent with blanks, not tabs"},
		{"broken YAML, a flow with a pattern", "catch_all: {}\nendpoints:\n  - {id: a, match: /a/{x}}\n", "3:23: not YAML: ',' or '}' must be specified: quote a value that has braces, as in match: \"GET /a/{id}\""},
		{"a list", "- catch_all\n", "1:1: must be a mapping, not a list"},
		{"unknown section", "catch_all: {}\nendpoint: []\n", "2:1: unknown key \"endpoint\"; did you mean endpoints?"},
		{"duplicate section", "catch_all: {}\ntiers: {}\ntiers: {}\n", "3:1: key \"tiers\" comes twice; the first is in line 2"},
		{"an alias", "catch_all: &c {}\ntiers: {t: *c}\n", "1:12: anchors are not supported; write the value out\n2:12: aliases are not supported; write the value out, or put a text that begins with * in quotes"},
		{"a star without quotes", "catch_all: {}\ntiers: {t: {*: {member: 1}}}\n", "2:13: aliases are not supported; write the value out, or put a text that begins with * in quotes"},

		// Limits and costs, wherever they stand.
		{"limit -1", "catch_all: {member: -1}\n", "1:21: member: " + limitRange + "-1"},
		{"limit 1.5", "catch_all: {member: 1.5}\n", "1:21: member: " + limitRange + "1.5"},
		{"limit 2^63", "catch_all: {member: 9223372036854775808}\n", "1:21: member: " + limitRange + "9223372036854775808"},
		{"limit 2^64", "catch_all: {member: 18446744073709551616}\n", "1:21: member: " + limitRange + "18446744073709551616"},
		{"limit above the highest", "catch_all: {member: 1000000000000000}\n", "1:21: member: " + limitRange + "1000000000000000"},
		{"the number that is unlimited inside", "catch_all: {member: 9007199254740991}\n", "1:21: member: " + limitRange + "9007199254740991"},
		{"limit 1e3", "catch_all: {member: 1e3}\n", "1:21: member: " + limitRange + "1e3"},
		{"limit 0x10", "catch_all: {member: 0x10}\n", "1:21: member: " + limitRange + "0x10"},
		{"limit 010", "catch_all: {member: 010}\n", "1:21: member: " + limitRange + "010"},
		{"limit +1", "catch_all: {member: +1}\n", "1:21: member: " + limitRange + "+1"},
		{"limit 1_000", "catch_all: {member: 1_000}\n", "1:21: member: " + limitRange + "1_000"},
		{"limit quoted", "catch_all: {member: \"10\"}\n", "1:21: member: " + limitRange + "the text \"10\""},
		{"limit empty", "catch_all: {member: }\n", "1:13: member: " + limitRange + "empty"},
		{"limit null", "catch_all: {member: null}\n", "1:21: member: " + limitRange + "empty"},
		{"limit Unlimited", "catch_all: {member: Unlimited}\n", "1:21: member: " + limitRange + "Unlimited"},
		{"limit true", "catch_all: {member: true}\n", "1:21: member: " + limitRange + "true"},
		{"limit a list", "catch_all: {member: [1]}\n", "1:21: member: " + limitRange + "a list"},
		{"limits of an endpoint", "catch_all: {}\nendpoints:\n  - id: a\n    match: /a\n    application: -1\n    member: x\n", "5:18: application: " + limitRange + "-1\n6:13: member: " + limitRange + "x"},
		{"limits of a tier", "catch_all: {}\ntiers:\n  t:\n    \"*\": {application: -1, member: x}\n", "4:24: application: " + limitRange + "-1\n4:36: member: " + limitRange + "x"},
		{"limits of an override", "catch_all: {}\napplications:\n  - id: a\n    overrides:\n      \"*\":\n        application: -1\n        member: x\n", "6:22: application: " + limitRange + "-1\n7:17: member: " + limitRange + "x"},
		{"cost 0", "catch_all: {cost: 0}\n", "1:19: cost: must be a whole number from 1 to 1000000, not 0"},
		{"cost too high", "catch_all: {cost: 1000001}\n", "1:19: cost: must be a whole number from 1 to 1000000, not 1000001"},
		{"cost unlimited", "catch_all: {cost: unlimited}\n", "1:19: cost: must be a whole number from 1 to 1000000, not unlimited"},
		{"cost quoted", "catch_all: {cost: '1'}\n", "1:19: cost: must be a whole number from 1 to 1000000, not the text \"1\""},

		// Types and keys.
		{"endpoints a mapping", "catch_all: {}\nendpoints: {a: {}}\n", "2:12: endpoints: must be a list, not a mapping"},
		{"endpoint a text", "catch_all: {}\nendpoints:\n  - a\n  -\n", "3:5: endpoints[0]: must be a mapping, not a\n4:3: endpoints[1]: must be a mapping, not empty"},
		{"tiers a list", "catch_all: {}\ntiers: [a]\n", "2:8: tiers: must be a mapping, not a list"},
		{"a tier a list", "catch_all: {}\ntiers: {t: [a]}\n", "2:12: t: must be a mapping, not a list"},
		{"a tier's limits a number", "catch_all: {}\ntiers: {t: {\"*\": 5}}\n", "2:18: *: must be a mapping, not 5"},
		{"applications a mapping", "catch_all: {}\napplications: {a: {}}\n", "2:15: applications: must be a list, not a mapping"},
		{"overrides a list", "catch_all: {}\napplications:\n- {id: a, overrides: [b]}\n", "3:22: overrides: must be a mapping, not a list"},
		{"shadow yes", "catch_all: {shadow: yes}\n", "1:21: shadow: must be true or false, not yes"},
		{"suspended quoted", "catch_all: {}\napplications: [{id: a, suspended: 'true', shadow: 1}]\n", "2:35: suspended: must be true or false, not the text \"true\"\n2:51: shadow: must be true or false, not 1"},
		{"suspended endpoint", "catch_all: {suspended: true}\n", "1:13: unknown key \"suspended\"; known here: application, cost, member, shadow"},
		{"catch_all with a pattern", "catch_all: {match: /x, id: a, when: {}}\n", "1:13: unknown key \"match\"; known here: application, cost, member, shadow\n1:24: unknown key \"id\"; known here: application, cost, member, shadow\n1:31: unknown key \"when\"; known here: application, cost, member, shadow"},
		{"unknown keys", "catch_all: {}\nendpoints:\n- {id: a, match: /a, memebr: 5}\napplications:\n- {id: a, teir: t}\ntiers: {t: {\"*\": {members: 5}}}\n", "3:22: unknown key \"memebr\"; did you mean member?\n5:11: unknown key \"teir\"; did you mean tier?\n6:19: unknown key \"members\"; did you mean member?"},
		{"when a text", "catch_all: {}\nendpoints:\n- {id: a, match: /a, when: q}\n", "3:28: when: must be a mapping, not q"},
		{"unknown condition", "catch_all: {}\nendpoints:\n- {id: a, match: /a, when: {headers: {a: b}}}\n", "3:29: unknown key \"headers\"; did you mean header?"},
		{"a condition that is a number", "catch_all: {}\nendpoints:\n- {id: a, match: /a, when: {query: {v: 2}}}\n", "3:40: v: must be a text; write it in quotes: \"2\""},
		{"a condition that is a list", "catch_all: {}\nendpoints:\n- {id: a, match: /a, when: {query: {v: [a]}}}\n", "3:40: v: must be a text, not a list"},
		{"a condition without a value", "catch_all: {}\nendpoints:\n- {id: a, match: /a, when: {query: {v: }}}\n", "3:37: v: must be a text, not empty"},

		// Ids and names.
		{"no id, no match", "catch_all: {}\nendpoints:\n  - {application: 1}\napplications:\n  - {name: A}\n", "3:5: id is missing\n3:5: match is missing\n5:5: id is missing"},
		{"empty ids", "catch_all: {}\nendpoints:\n  - {id: '', match: /a}\napplications:\n  - {id: ''}\ntiers: {'': {}}\n", "3:10: id: " + idRule + "\n5:10: id: " + idRule + "\n6:9: its name " + idRule},
		{"ids of 257 bytes", "catch_all: {}\nendpoints: [{match: /a, id: " + long + "}]\napplications: [{id: " + long + "}]\ntiers: {" + long + ": {}}\n", "2:29: id: " + idRule + "\n3:21: id: " + idRule + "\n4:9: its name " + idRule},
		{"ids with control characters", "catch_all: {}\nendpoints:\n  - {id: \"a\\0b\", match: /a}\n  - {id: \"a\\nb\", match: /b}\napplications:\n  - {id: \"\\x7f\"}\n  - {id: \"\\x85\", name: \"a\\tb\"}\ntiers: {\"a\\rb\": {}}\n", "3:10: id: " + idRule + "\n4:10: id: " + idRule + "\n6:10: id: " + idRule + "\n7:10: id: " + idRule + "\n7:24: name: must be at most 1024 bytes of UTF-8 without control characters\n8:9: its name " + idRule},
		{"ids that are numbers", "catch_all: {}\nendpoints:\n  - {id: 5, match: /a}\napplications:\n  - {id: 0x5, tier: 7}\ntiers: {7: {5: {member: 1}}}\n", "3:10: id: must be a text; write it in quotes: \"5\"\n5:10: id: must be a text; write it in quotes: \"0x5\"\n5:21: tier: must be a text; write it in quotes: \"7\""},
		{"an endpoint called *", "catch_all: {}\nendpoints: [{id: '*', match: /a}]\n", "2:18: id: * is the catch-all's; give its limits under catch_all"},
		{"duplicate ids", "catch_all: {}\nendpoints:\n  - {id: a, match: /a}\n  - match: /b\n    id: a\napplications:\n  - {id: a}\n  - {id: b}\n  - {id: a}\n", "5:9: id: another endpoint is called a as well; ids must differ\n9:10: id: another application is called a as well; ids must differ"},
		{"duplicate tiers", "catch_all: {}\ntiers:\n  a: {}\n  'a': {}\n", "4:3: key \"a\" comes twice; the first is in line 3"},
		{"unknown names", "catch_all: {}\nendpoints: [{id: posts.create, match: /a}]\ntiers:\n  gold:\n    posts.craete: {member: 1}\napplications:\n  - {id: a, tier: glod}\n  - {id: b, tier: silver, overrides: {x.y: {member: 1}, '*': {member: 1}}}\n", "5:5: there is no endpoint \"posts.craete\"; did you mean posts.create?\n7:19: tier: there is no tier \"glod\"; did you mean gold?\n8:19: tier: there is no tier \"silver\"\n8:39: there is no endpoint \"x.y\""},

		// Patterns.
		{"no pattern", pattern(""), "3:21: match: write a method and a path, such as GET /rest/posts, or a path alone"},
		{"method alone", pattern("GET"), "3:21: match: begin the path with a slash"},
		{"host", pattern("GET api.example.com/a"), "3:21: match: a host cannot be matched; begin the path with a slash"},
		{"host without method", pattern("api.example.com/a"), "3:21: match: a host cannot be matched; begin the path with a slash"},
		{"lower case", pattern("get /a"), "3:21: match: methods are in upper case; write GET"},
		{"no method of HTTP", pattern("G@T /a"), "3:21: match: http.ServeMux refuses it: invalid method \"G@T\""},
		{"CONNECT", pattern("CONNECT /a"), "3:21: match: CONNECT requests are always refused; leave the endpoint out"},
		{"wildcard not at the start", pattern("/a{x}"), "3:21: match: http.ServeMux refuses it: bad wildcard segment (must start with '{')"},
		{"wildcard not at the end", pattern("/{x}a"), "3:21: match: http.ServeMux refuses it: bad wildcard segment (must end with '}')"},
		{"bad name", pattern("/{a-b}"), "3:21: match: http.ServeMux refuses it: bad wildcard name \"a-b\""},
		{"no name", pattern("/{}"), "3:21: match: http.ServeMux refuses it: empty wildcard"},
		{"duplicate name", pattern("GET /{a}/{a}"), "3:21: match: http.ServeMux refuses it: duplicate wildcard name \"a\""},
		{"rest in the middle", pattern("/{a...}/b"), "3:21: match: http.ServeMux refuses it: {...} wildcard not at end"},
		{"{$} in the middle", pattern("/{$}/b"), "3:21: match: http.ServeMux refuses it: {$} not at end"},
		{"dot segments", pattern("GET /a/../b"), "3:21: match: http.ServeMux refuses it: non-CONNECT pattern with unclean path can never match"},
		{"dot segments without method", pattern("/a/../b"), "3:21: match: no request can have this path: paths are normalised before they are matched, and this one becomes /b"},
		{"escaped dot segments", pattern("GET /a/%2e%2E/b"), "3:21: match: no request can have this path: paths are normalised before they are matched, and this one becomes /b"},
		{"usage", pattern("GET /perdiem/usage"), "3:21: match: no request can meet this: perdiem answers /perdiem/usage itself; leave the endpoint out"},
		{"usage, by no method", pattern("/%70erdiem/usage"), "3:21: match: no request can meet this: perdiem answers /perdiem/usage itself; leave the endpoint out"},
		{"usage, with a slash", pattern("POST /perdiem/usage/{$}"), "3:21: match: no request can meet this: perdiem answers /perdiem/usage itself; leave the endpoint out"},
		{"doubled slashes", pattern("/a//b"), "3:21: match: no request can have this path: doubled slashes are merged before paths are matched"},
		{"nothing but slashes", pattern("//"), "3:21: match: no request can have this path: doubled slashes are merged before paths are matched"},
		{"doubled slash at the end", pattern("/a//"), "3:21: match: no request can have this path: doubled slashes are merged before paths are matched"},
		{"encoded slash", pattern("/a%2Fb"), "3:21: match: no request can have this path: The path has an encoded slash, which could mean two things"},
		{"backslash", pattern(`/a\\b`), "3:21: match: no request can have this path: The path has a backslash, which could mean two things"},
		{"no escape", pattern("/a%zz"), "3:21: match: a percent sign must be followed by two hexadecimal digits"},
		{"query", pattern("/a?q=b"), "3:21: match: a pattern has no query; name its parameters under when"},
		{"parameter", pattern("/a;b"), "3:21: match: parameters are dropped from paths before they are matched; leave them out"},
		{"space", pattern("GET /a b"), "3:21: match: the path has a space or a control character; write it as an escape, such as %20"},
		{"long", pattern("/" + strings.Repeat("a", 4096)), "3:21: match: has 4097 bytes; at most 4096 are allowed"},
		{"number", "catch_all: {}\nendpoints: [{id: a, match: 5}]\n", "2:28: match: must be a text; write it in quotes: \"5\""},

		// Ambiguity.
		{"same pattern", patterns("GET /a/{x}", "GET /a/{y}"), "4:21: match: ambiguous with endpoint e0, which matches the same requests; tell them apart by when"},
		{"same but for {$}", patterns("GET /a", "GET /a/{$}"), "4:21: match: ambiguous with endpoint e0, which matches the same requests; tell them apart by when"},
		{"same but for the wildcard's name", patterns("/a/", "/a/{rest...}"), "4:21: match: ambiguous with endpoint e0, which matches the same requests; tell them apart by when"},
		{"same but for escapes", patterns("/a", "/%61"), "4:21: match: ambiguous with endpoint e0, which matches the same requests; tell them apart by when"},
		{"overlap", patterns("GET /a/{x}", "/c", "GET /{y}/b"), "5:21: match: ambiguous with GET /a/{x} of endpoint e0: both match /a/b; neither is more specific"},
		{"overlap of methods", patterns("/a/b", "GET /a/{x}"), "4:21: match: ambiguous with /a/b of endpoint e0: one has the more specific path, the other the more specific method; neither is more specific"},
		{"same pattern, bad id", "catch_all: {}\nendpoints:\n  - {id: \"a\\nb\", match: /a}\n  - {id: c, match: /a}\n", "3:10: id: " + idRule + "\n4:20: match: ambiguous with endpoint \"a\\nb\", which matches the same requests; tell them apart by when"},
		{"overlap of a slash", patterns("/a/{$}", "GET /a/"), "4:21: match: ambiguous with /a/{$} of endpoint e0: one has the more specific path, the other the more specific method; neither is more specific"},
		{"overlap without the slash", patterns("/a/{$}", "GET /{x}"), "4:21: match: ambiguous with /a/{$} of endpoint e0: one has the more specific path, the other the more specific method; neither is more specific"},
		{"overlap of the root", patterns("GET /", "/{$}"), "4:21: match: ambiguous with GET / of endpoint e0: one has the more specific path, the other the more specific method; neither is more specific"},
		{"overlap, all at once", patterns("/a/{x}", "/{y}/b", "/c", "GET /{z...}", "/c"), "4:21: match: ambiguous with /a/{x} of endpoint e0: both match /a/b; neither is more specific\n6:21: match: ambiguous with /a/{x} of endpoint e0: one has the more specific path, the other the more specific method; neither is more specific\n7:21: match: ambiguous with endpoint e2, which matches the same requests; tell them apart by when"},
		{"same conditions", when("{query: {q: a}}", "{query: {Q: A}}"), "4:31: when: ambiguous with endpoint e0, which has the same match and conditions"},
		{"empty conditions", when("{query: {}}", "{}"), "4:21: match: ambiguous with endpoint e0, which matches the same requests; tell them apart by when"},
		{"different names", when("{query: {q: a}}", "{query: {p: a}}"), "4:31: when: ambiguous with endpoint e0: " + neither},
		{"header and query", when("{query: {q: a}}", "{header: {q: a}}"), "4:31: when: ambiguous with endpoint e0: " + neither},
		{"presence and another", when("{query: {q: '*', p: a}}", "{query: {q: a}}"), "4:31: when: ambiguous with endpoint e0: " + neither},
		{"two of three decided", when("{query: {q: a}}", "{query: {p: a}}", "{query: {q: a, p: a}}", "{query: {r: a}}"), "6:31: when: ambiguous with endpoint e0: " + neither},

		// Conditions by themselves.
		{"name twice", when(`{header: {X-A: b, x-a: c}, query: {q: a, "\u212a": b, k: c}}`), "3:49: \"x-a\": names are compared without regard to case, and \"X-A\" is tested as well; leave one out\n3:72: \"\u212a\": names are compared without regard to case, and \"k\" is tested as well; leave one out"},
		{"bad names", when(`{header: {"": b, "X A": c, Hôte: d, HOST: e}, query: {"": a, "a\nb": c}}`), "3:41: a name must be 1 to 1024 bytes of UTF-8 without control characters\n3:48: \"X A\": not the name of a header\n3:58: \"Hôte\": not the name of a header\n3:67: \"HOST\": a host cannot be matched; leave it out\n3:85: a name must be 1 to 1024 bytes of UTF-8 without control characters\n3:92: a name must be 1 to 1024 bytes of UTF-8 without control characters"},
		{"names that are dropped", when(`{header: {X-Forwarded-For: b, x_perdiem_member: c, X-Forwarded: d}, query: {Forwarded: a}}`), "3:41: \"X-Forwarded-For\": a client's is dropped before requests are matched, so that none would match; leave it out\n3:61: \"x_perdiem_member\": a client's is dropped before requests are matched, so that none would match; leave it out"},
		{"bad value", when(`{query: {q: "a\0"}}`), "3:43: q: a value must be at most 1024 bytes of UTF-8 without control characters"},
		{"many", when(`{query: {a: x, b: x, c: x, d: x, e: x, f: x, g: x, h: x, i: x, j: x, k: x, l: x, m: x, n: x, o: x, p: x, q: x}}`), "3:31: when: 17 conditions are too many; at most 16 are allowed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := catalog.Parse("dir/c.yaml", []byte(test.yaml), catalog.PathPolicy{})
			want := "dir/c.yaml:" + strings.ReplaceAll(test.want, "\n", "\ndir/c.yaml:")
			if got := fmt.Sprint(err); got != want || c != nil {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if _, ok := errors.AsType[yamldoc.Problems](err); !ok {
				t.Errorf("the error is a %T", err)
			}
		})
	}
}

var long = strings.Repeat("x", 257)

// pattern returns a catalog whose pattern is in line 3, column 21.
func pattern(match string) string { return patterns(match) }

// patterns returns a catalog with a pattern a line, from line 3 on, in column 21.
func patterns(matches ...string) string {
	var b strings.Builder
	b.WriteString("catch_all: {}\nendpoints:\n")
	for i, match := range matches {
		fmt.Fprintf(&b, "  - {id: e%d, match: \"%s\"}\n", i, match)
	}
	return b.String()
}

// when returns a catalog whose endpoints have the same pattern and these conditions, a line each, from line 3 on, in column 31.
func when(conditions ...string) string {
	var b strings.Builder
	b.WriteString("catch_all: {}\nendpoints:\n")
	for i, c := range conditions {
		fmt.Fprintf(&b, "  - {id: e%d, match: /a, when: %s}\n", i, c)
	}
	return b.String()
}

// What is wrong in one place hides nothing that is wrong in another.
func TestParseReportsAllAtOnce(t *testing.T) {
	const yaml = `endpoints:
  - id: 5
    match: GET example.com/x
    application: -1
    cost: 0
  - match: GET /a/{x}
    id: a
    memebr: 5
  - {id: a, match: "GET /{y}/b", member: 0x10}
  - {id: c, match: "GET /b", when: {query: {q: a}}}
  - {id: d, match: "GET /b", when: {query: {p: a}}}
  - 5
tiers:
  dev: {a: {member: -1}, bb: {}}
applications:
- {id: x, tier: dve, overrides: {"*": 5}}
- id: x
  overrides: {zz: {member: yes}}
`
	want := []string{
		"c:1:1: catch_all is missing; it holds the limits of requests that match no endpoint",
		"c:2:9: id: must be a text; write it in quotes: \"5\"",
		"c:3:12: match: a host cannot be matched; begin the path with a slash",
		"c:4:18: application: " + limitRange + "-1",
		"c:5:11: cost: must be a whole number from 1 to 1000000, not 0",
		"c:8:5: unknown key \"memebr\"; did you mean member?",
		"c:9:10: id: another endpoint is called a as well; ids must differ",
		"c:9:20: match: ambiguous with GET /a/{x} of endpoint a: both match /a/b; neither is more specific",
		"c:9:42: member: " + limitRange + "0x10",
		"c:11:36: when: ambiguous with endpoint c: " + neither,
		"c:12:5: endpoints[5]: must be a mapping, not 5",
		"c:14:21: member: " + limitRange + "-1",
		"c:14:26: there is no endpoint \"bb\"",
		"c:16:17: tier: there is no tier \"dve\"",
		"c:16:39: *: must be a mapping, not 5",
		"c:17:7: id: another application is called x as well; ids must differ",
		"c:18:15: there is no endpoint \"zz\"",
		"c:18:28: member: " + limitRange + "yes",
	}
	_, err := catalog.Parse("c", []byte(yaml), catalog.PathPolicy{})
	if diff := cmp.Diff(want, strings.Split(fmt.Sprint(err), "\n")); diff != "" {
		t.Error(diff)
	}
}
