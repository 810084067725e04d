package adminapi_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/usage"
)

// TestSchemas calls every operation of the description with parameters and bodies made from their schemas, as they allow and as they do not,
// and sees that each answer is one that the operation tells of, with a body that fits its schema; that whatever a schema forbids is refused; and that
// what an operation tells of does happen. Each call that changes something must have left who made it in the audit.
func TestSchemas(t *testing.T) {
	h := newHost(t)
	h.want(200, h.ask("PUT", "/admin/v1/catalog", schemaCatalog), nil)
	h.near.Note(usage.Near{Day: h.Day().Date, Application: "acme", Endpoint: "posts.create", Member: "m-1", Percent: 80})
	h.members = map[string]usage.MemberCounts{"m-1": {Used: 120}}
	h.decided = []usage.Decided{{Day: h.Day(), Application: "acme", Endpoint: "posts.create", Calls: usage.Calls{Admitted: 3, Refused: 1}}}
	h.counts = []usage.Counts{{Endpoint: "posts.create", Used: 3, Refused: 1, LastCall: h.Day().Start}, {Endpoint: "*", Used: 900, LastCall: h.Day().Start}}
	backups := 0
	h.backup = func(context.Context) (func(io.Writer) error, error) {
		if backups++; backups%2 == 0 {
			return nil, fault.New(fault.Conflict, "A backup is under way.")
		}
		return func(w io.Writer) error { _, err := io.WriteString(w, "archive"); return err }, nil
	}
	d := describe(t, h)
	g := &generator{Rand: rand.New(rand.NewPCG(1, 2)), d: d, tokens: []string{"tok_0"}}
	seen := map[string]map[int]int{} // how often each operation gave each status
	for _, op := range d.operations {
		seen[op.id] = map[int]int{}
	}
	changes, changed := h.changesCounter(), map[string]bool{}
	for _, op := range d.operations {
		if _, told := op.answers[http.StatusRequestEntityTooLarge]; told {
			call := g.call(op)
			call.body, call.forbidden = large, "a large body"
			w := h.send(call)
			seen[op.id][w.Code]++
			d.fits(t, op, call, w)
		}
	}
	for round := range 300 {
		h.mayApply, h.unhashed = nil, nil
		if round%5 == 0 {
			h.mayApply = fault.New(fault.Conflict, "Another file holds.")
			h.unhashed = fault.New(fault.Exhausted, "Too many people sign in.")
		}
		for _, op := range d.operations {
			call := g.call(op)
			count, who, newest := changes(), h.actor(), h.newest()
			w := h.send(call)
			seen[op.id][w.Code]++
			d.fits(t, op, call, w)
			if changes() != count {
				changed[op.id] = true
				if entry := h.newest(); entry.Seq == newest.Seq || entry.Actor != who {
					t.Errorf("%s by %s changed something, and is answered with %d; the newest of the audit is %+v", call, who, w.Code, entry)
				}
			}
			if call.forbidden != "" && (w.Code < 400 || w.Code > 499) {
				t.Errorf("%s is answered with %d", call, w.Code)
			}
			if t.Failed() {
				return
			}
			var told struct{ ID, Secret, Key string }
			if w.Code < 300 && json.Unmarshal(w.Body.Bytes(), &told) == nil {
				if told.Key != "" { // it was rotated
					h.key = told.Key
				}
				if told.Secret != "" {
					g.tokens = append(g.tokens, told.ID)
				}
			}
		}
	}
	for _, op := range d.operations {
		// A backup is read, and a test of alerts goes to whoever delivers them, which the host does not.
		if mutates := op.method != http.MethodGet && op.id != "make-backup" && op.id != "test-alerts"; mutates != changed[op.id] {
			t.Errorf("%s %s changed something: %v", op.method, op.id, changed[op.id])
		}
		for _, status := range slices.Sorted(maps.Keys(op.answers)) {
			switch status {
			case http.StatusUnauthorized, http.StatusInternalServerError, http.StatusServiceUnavailable: // below, never, and when a store is away
			default:
				if seen[op.id][status] == 0 {
					t.Errorf("%s tells of %d, and never answered it; these it did: %v", op.id, status, seen[op.id])
				}
			}
		}
		call := g.call(op)
		key := h.key
		h.key = "none"
		w := h.send(call)
		h.key = key
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s without a key: %d", call, w.Code)
		}
		d.fits(t, op, call, w)
	}
}

// changesCounter returns a function whose result changes whenever something was written to the registry.
func (h *host) changesCounter() func() (version int64) {
	db, err := sql.Open("sqlite", filepath.Join(filepath.Dir(h.keyFile), "registry.db"))
	check(h.t, err)
	h.t.Cleanup(func() { check(h.t, db.Close()) })
	db.SetMaxOpenConns(1) // the version is each connection's own
	return func() (version int64) {
		check(h.t, db.QueryRowContext(h.t.Context(), "PRAGMA data_version").Scan(&version))
		return version
	}
}

// description is the API's own description, and a compiler of the schemas in it.
type description struct {
	root       map[string]any
	compiler   *jsonschema.Compiler
	operations []operation
}

type operation struct {
	id, method, path string
	at               string // where it is in the description, as a JSON pointer
	parameters       []parameter
	body             string         // the content type of the request's; "" for none
	schema           map[string]any // of the request's body
	answers          map[int]string // the content types by status; "" for no body
}

type parameter struct {
	name     string
	required bool
	schema   map[string]any
}

func describe(t *testing.T, h *host) *description {
	t.Helper()
	w := h.ask("GET", "/openapi.json", "")
	h.want(200, w, nil)
	root, err := jsonschema.UnmarshalJSON(w.Body)
	check(t, err)
	d := &description{root: root.(map[string]any), compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	check(t, d.compiler.AddResource("openapi.json", root))
	paths := d.root["paths"].(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		methods := paths[path].(map[string]any)
		for _, method := range slices.Sorted(maps.Keys(methods)) {
			said := methods[method].(map[string]any)
			op := operation{
				id: said["operationId"].(string), method: strings.ToUpper(method), path: path, answers: map[int]string{},
				at: "/paths/" + strings.ReplaceAll(path, "/", "~1") + "/" + method,
			}
			parameters, _ := said["parameters"].([]any)
			for _, one := range parameters {
				p := one.(map[string]any)
				if p["in"] != "query" {
					t.Fatalf("%s has a parameter in %v: ids belong into queries and bodies", op.id, p["in"])
				}
				required, _ := p["required"].(bool)
				op.parameters = append(op.parameters, parameter{p["name"].(string), required, p["schema"].(map[string]any)})
			}
			if body, ok := said["requestBody"].(map[string]any); ok {
				op.body, op.schema = content(t, op.id, body)
			}
			for status, answer := range said["responses"].(map[string]any) {
				code, err := strconv.Atoi(status)
				check(t, err)
				op.answers[code], _ = content(t, op.id, answer.(map[string]any))
			}
			d.operations = append(d.operations, op)
		}
	}
	if len(d.operations) < 20 {
		t.Fatalf("%d operations are described", len(d.operations))
	}
	return d
}

// content returns the one type that a body may have, and its schema; "" where there is none.
func content(t *testing.T, operation string, of map[string]any) (contentType string, schema map[string]any) {
	t.Helper()
	types, _ := of["content"].(map[string]any)
	if len(types) > 1 {
		t.Fatalf("%s has bodies of %d types", operation, len(types))
	}
	for name, media := range types {
		schema, _ = media.(map[string]any)["schema"].(map[string]any)
		return name, schema
	}
	return "", nil
}

// fits fails the test unless an answer is one that the operation tells of.
func (d *description) fits(t *testing.T, op operation, c call, w *httptest.ResponseRecorder) {
	t.Helper()
	contentType, told := op.answers[w.Code]
	switch got := w.Header().Get("Content-Type"); {
	case !told:
		t.Errorf("%s is answered with %d, which is not told of: %s", c, w.Code, w.Body)
	case w.Code == http.StatusInternalServerError:
		t.Errorf("%s is answered with 500: %s", c, w.Body)
	case contentType == "":
		if w.Body.Len() > 0 {
			t.Errorf("%s is answered with %d and a body: %s", c, w.Code, w.Body)
		}
	case got != contentType:
		t.Errorf("%s is answered with %d and %q, not %q", c, w.Code, got, contentType)
	case strings.HasSuffix(contentType, "json"):
		body, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
		if err == nil {
			err = d.schema(t, fmt.Sprintf("%s/responses/%d/content/%s/schema", op.at, w.Code, strings.ReplaceAll(contentType, "/", "~1"))).Validate(body)
		}
		if err != nil {
			t.Errorf("%s is answered with %d and what does not fit: %v: %s", c, w.Code, err, w.Body)
		}
	}
}

// schema returns the schema at a place of the description.
func (d *description) schema(t *testing.T, pointer string) *jsonschema.Schema {
	t.Helper()
	s, err := d.compiler.Compile("openapi.json#" + pointer)
	check(t, err)
	return s
}

// resolve follows a schema's reference.
func (d *description) resolve(schema map[string]any) map[string]any {
	ref, ok := schema["$ref"].(string)
	if !ok {
		return schema
	}
	at := d.root
	for key := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at = at[key].(map[string]any)
	}
	return at
}

// call is a request that was made from schemas.
type call struct {
	method, target, contentType, body string
	forbidden                         string // what of it the schemas forbid; "" for nothing
}

func (c call) String() string {
	return fmt.Sprintf("%s %.300s %.300q (forbidden: %s)", c.method, c.target, c.body, c.forbidden)
}

func (h *host) send(c call) *httptest.ResponseRecorder {
	r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
	r.Header.Set("Authorization", "Bearer "+h.key)
	if c.contentType != "" {
		r.Header.Set("Content-Type", c.contentType)
	}
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, r)
	return w
}

// generator makes calls.
type generator struct {
	*rand.Rand
	d      *description
	tokens []string // ids of some
}

const schemaCatalog = `
endpoints: [{id: posts.create, match: POST /rest/posts, member: 150}]
catch_all: {application: 1000}
tiers: {gold: {posts.create: {member: 5}}}
applications: [{id: acme, overrides: {"*": {application: 900}}}, {id: .., name: strange, tier: gold}, {id: a/b}]
`

// words are what parameters and fields of a name may well be, so that many calls meet something that is there; elsewhere and among
// them there is what outsiders send.
var (
	words = map[string][]string{
		"application":   {"acme", "acme", "nobody"},
		"endpoint":      {"posts.create", "*", "none"},
		"id":            {"acme", "posts.create", "gold", "made", "made", "made"},
		"name":          {"made", "gold"}, // a tier's as well
		"match":         {"POST /rest/posts", "GET /made/{id}", "no match", "/a/{"},
		"noun":          nil,
		"tier":          {"", "made"},
		"email":         {"ann@example.com", "ann@example.com", "bob@example.com", "no address"},
		"password":      {"a long enough password", "too short"},
		"role":          {"admin", "viewer"},
		"ttl":           {"24h", "90m", "soon"},
		"day":           {"2026-11-23", "2026-11-22", "2026-02-30", "today"},
		"mail":          {"ann@example.com", "ann@example.com", "no address"},
		"webhookUrl":    {"https://hooks.example/perdiem", "no address"},
		"webhookSecret": {"", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "no secret"},
		"field":         {"", "", "shadow", "posts.create", "posts.create member"},
		"key":           {"posts.create", "*", "none"}, // of an object
	}
	odd      = []string{"", "a", "..", "a/b?c#d", "ü 日本 \u2028", "a\nb", "\x00", "<script>alert(1)</script>", "'; DROP TABLE tokens; --", "%00%ff", "\u202e"}
	large    = `{"x": "` + strings.Repeat("x", 17<<20) + `"}`
	catalogs = []string{schemaCatalog, schemaCatalog, strings.Replace(schemaCatalog, "150", "151", 1), "{", "endpoints: 1", "catch_all: {member: -1}", "", "\x00", "a: &a [*a]", "- 1"}
)

func one[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

// call makes a call of an operation, of which the schemas forbid something in one of three.
func (g *generator) call(op operation) call {
	c := call{method: op.method, contentType: op.body}
	query := url.Values{}
	for _, p := range op.parameters {
		if p.required || g.IntN(3) > 0 {
			query.Set(p.name, fmt.Sprint(g.allowed(p.name, p.schema, 0)))
			if op.id == "revoke-token" && p.name == "id" && g.IntN(3) == 0 {
				query.Set(p.name, one(g, g.tokens...))
			}
		}
	}
	var body any
	switch op.body {
	case "":
	case "application/json":
		body = g.allowed("", op.schema, 0)
	default:
		c.body = one(g, catalogs...)
	}
	if g.IntN(3) == 0 {
		c.forbidden = g.forbid(op, query, &body, &c)
	}
	if op.body == "application/json" && c.body == "" {
		text, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		c.body = string(text)
	}
	c.target = op.path
	if len(query) > 0 {
		c.target += "?" + query.Encode()
	}
	return c
}

// forbid changes a call so that the schemas forbid it, and says how.
func (g *generator) forbid(op operation, query url.Values, body *any, c *call) string {
	for {
		switch g.IntN(6) {
		case 0:
			query.Set("unknown", "1")
			return "an unknown parameter"
		case 1:
			if len(op.parameters) > 0 {
				p := one(g, op.parameters...)
				if value, how := g.forbiddenText(p); how != "" {
					query.Set(p.name, value)
					return p.name + ": " + how
				}
			}
		case 2:
			if len(op.parameters) > 0 {
				if p := one(g, op.parameters...); p.required {
					query.Del(p.name)
					return "no " + p.name
				}
			}
		case 3:
			if op.body == "application/json" {
				if how := g.spoil(op.schema, body, 0); how != "" {
					return "body: " + how
				}
			}
		case 4:
			if op.body == "application/json" {
				c.body = one(g, "{", "]", "nul", `{"a":`, "\xff", "{}{}", `{"id": 1e999}`, strings.Repeat("[", 20_000))
				return "no JSON that fits"
			}
		case 5:
			if op.body != "" && g.IntN(4) == 0 {
				c.body = large
				return "a large body"
			}
		}
	}
}

// types returns the types that a schema allows.
func types(schema map[string]any) []string {
	switch said := schema["type"].(type) {
	case string:
		return []string{said}
	case []any:
		var all []string
		for _, one := range said {
			all = append(all, one.(string))
		}
		return all
	}
	return nil
}

func number(schema map[string]any, key string) (int64, bool) {
	text, ok := schema[key].(json.Number)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseFloat(text.String(), 64)
	return int64(n), err == nil
}

// allowed returns a value that a schema allows.
func (g *generator) allowed(name string, schema map[string]any, depth int) any {
	schema = g.d.resolve(schema)
	if either, ok := schema["oneOf"].([]any); ok {
		return g.allowed(name, one(g, either...).(map[string]any), depth)
	}
	if values, ok := schema["enum"].([]any); ok {
		return one(g, values...)
	}
	switch kind := one(g, types(schema)...); kind {
	case "null":
		return nil
	case "boolean":
		return g.IntN(2) == 0
	case "integer", "number":
		low, ok := number(schema, "minimum")
		if !ok {
			low = 0
		}
		high, ok := number(schema, "maximum")
		if !ok {
			high = 1 << 53
		}
		return one(g, low, low, high, low+g.Int64N(high-low+1), min(high, low+g.Int64N(1000)))
	case "string":
		return g.text(name, schema)
	case "array":
		var list []any
		for range g.IntN(3) {
			list = append(list, g.allowed(name, schema["items"].(map[string]any), depth+1))
		}
		return list
	case "object":
		object := map[string]any{}
		properties, _ := schema["properties"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			if required(schema, name) || g.IntN(3) > 0 {
				object[name] = g.allowed(name, properties[name].(map[string]any), depth+1)
			}
		}
		if values, ok := schema["additionalProperties"].(map[string]any); ok {
			for range g.IntN(3) {
				object[g.text("key", map[string]any{})] = g.allowed("", values, depth+1)
			}
		}
		return object
	default:
		panic(fmt.Sprintf("%s: a schema of type %q", name, kind))
	}
}

func required(schema map[string]any, name string) bool {
	all, _ := schema["required"].([]any)
	return slices.Contains(all, any(name))
}

// text returns a string that a schema allows: often one that is there, sometimes an odd one.
func (g *generator) text(name string, schema map[string]any) string {
	if pattern, ok := schema["pattern"].(string); ok {
		if pattern != "^[0-9a-f]{64}$" {
			panic("no text is known for the pattern " + pattern)
		}
		return fmt.Sprintf("%064x", g.Uint64())
	}
	least, _ := number(schema, "minLength")
	most, bounded := number(schema, "maxLength")
	if !bounded {
		most = 300
	}
	for {
		text := one(g, odd...)
		switch g.IntN(8) {
		case 0:
		case 1:
			text = strings.Repeat("m", int(most))
		default:
			if near := words[name]; len(near) > 0 {
				text = one(g, near...)
			}
		}
		if n := int64(len([]rune(text))); least <= n && n <= most {
			return text
		}
	}
}

// forbiddenText returns a parameter's value that its schema forbids, and how; "" where there is none.
func (g *generator) forbiddenText(p parameter) (value, how string) {
	schema := g.d.resolve(p.schema)
	if _, ok := schema["enum"]; ok {
		return "other", "none of its values"
	}
	switch types(schema)[0] {
	case "boolean":
		return one(g, "perhaps", "2", "[]"), "no boolean"
	case "integer":
		if high, ok := number(schema, "maximum"); ok && g.IntN(2) == 0 {
			return strconv.FormatInt(high+1, 10), "too much"
		}
		if low, ok := number(schema, "minimum"); ok && g.IntN(2) == 0 {
			return strconv.FormatInt(low-1, 10), "too little"
		}
		return one(g, "x", "1.5", "1e3", "9223372036854775808"), "no integer"
	case "string":
		if _, ok := schema["pattern"]; ok {
			return "XYZ", "not of the pattern"
		}
		if most, ok := number(schema, "maxLength"); ok {
			return strings.Repeat("m", int(most)+1), "too long"
		}
	}
	return "", ""
}

// spoil changes a value that a schema allows to one that it forbids, and says how; "" where it finds no way.
func (g *generator) spoil(schema map[string]any, value *any, depth int) (how string) {
	schema = g.d.resolve(schema)
	object, ok := (*value).(map[string]any)
	if !ok || g.IntN(8) == 0 {
		return g.spoilValue(schema, value)
	}
	properties, _ := schema["properties"].(map[string]any)
	names := slices.Sorted(maps.Keys(properties))
	for range 10 {
		switch name := one(g, append(names, "")...); {
		case name == "":
			if _, open := schema["additionalProperties"].(map[string]any); !open {
				object["unknown"] = 1
				return "an unknown field"
			}
		case required(schema, name) && g.IntN(2) == 0:
			delete(object, name)
			return "no " + name
		default:
			inner, ok := object[name]
			if !ok {
				continue
			}
			if how := g.spoil(properties[name].(map[string]any), &inner, depth+1); how != "" {
				object[name] = inner
				return name + ": " + how
			}
		}
	}
	return ""
}

func (g *generator) spoilValue(schema map[string]any, value *any) (how string) {
	if _, ok := schema["oneOf"]; ok {
		*value = one[any](g, -1, 1.5, "many", true, []any{}, map[string]any{}, json.Number("1e15"))
		return "none of its forms"
	}
	kinds := types(schema)
	if slices.Contains(kinds, "string") && g.IntN(2) == 0 {
		if most, ok := number(schema, "maxLength"); ok {
			*value = strings.Repeat("m", int(most)+1)
			return "too long"
		}
	}
	if slices.Contains(kinds, "integer") && g.IntN(2) == 0 {
		if high, ok := number(schema, "maximum"); ok {
			*value = high + 1
			return "too much"
		}
	}
	others := map[string]any{"string": "text", "boolean": true, "integer": 1, "array": []any{}, "object": map[string]any{}, "number": 1.5}
	for _, kind := range kinds {
		delete(others, kind)
	}
	kind := one(g, slices.Sorted(maps.Keys(others))...)
	*value = others[kind]
	return kind + " instead of " + strings.Join(kinds, " or ")
}
