package main

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/catalog"
	"github.com/perdiem/perdiem/gateway"
	"github.com/perdiem/perdiem/internal/yamldoc"
)

const configurationDoc = "../../docs/configuration.md"

// documented is a row of docs/configuration.md.
type documented struct {
	keys []string // with dots; a list's items are not named
	text string   // what the default is, as it stands there
}

// documentedKeys returns the rows of a section's tables.
func documentedKeys(t *testing.T, section string) (rows []documented) {
	t.Helper()
	data, err := os.ReadFile(configurationDoc)
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(data), "\n## "+section+"\n")
	if !found {
		t.Fatalf("%s has no section %s", configurationDoc, section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		names := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[0], -1)
		if !strings.HasPrefix(line, "| `") || len(cells) < 3 {
			continue
		}
		row := documented{text: strings.TrimSpace(cells[2])}
		for _, name := range names {
			row.keys = append(row.keys, name[1])
		}
		rows = append(rows, row)
	}
	if len(rows) < 10 {
		t.Fatalf("%s has %d rows under %s", configurationDoc, len(rows), section)
	}
	return rows
}

// place is where a key stands: its name, and whether its mapping is an item of a list.
type place struct {
	key  string
	item bool
}

// knownKeys returns the keys that a parser knows, with dots; a list's items are not named. It asks the parser: told a key that it does not know, it
// says which it does.
func knownKeys(t *testing.T, parse func(text string) error) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	var explore func(at []place)
	explore = func(at []place) {
		for _, item := range []bool{false, true} {
			text := `{"?": 0}`
			if item {
				text = `[{"?": 0}]`
			}
			for _, p := range slices.Backward(at) {
				if text = "{" + p.key + ": " + text + "}"; p.item {
					text = "[" + text + "]"
				}
			}
			m := regexp.MustCompile(`unknown key "\?"; known here: (.*)`).FindStringSubmatch(problemText(parse(text)))
			if m == nil || len(at) == 0 && item {
				continue
			}
			for key := range strings.SplitSeq(m[1], ", ") {
				path := append(slices.Clone(at), place{key, item})
				names := make([]string, len(path))
				for i, p := range path {
					names[i] = p.key
				}
				if name := strings.Join(names, "."); !known[name] {
					known[name] = true
					explore(path)
				}
			}
		}
	}
	explore(nil)
	return known
}

func parseConfigText(text string) error {
	_, err := parseConfig("perdiem.yaml", []byte(text), getenv)
	return err
}

func parseCatalogText(text string) error {
	_, err := catalog.Parse("catalog.yaml", []byte(text), catalog.PathPolicy{})
	return err
}

func problemText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// names reports whether a documented key stands for a known one: a part in capitals or in angle brackets stands for any.
func names(documented, known string) bool {
	parts, of := strings.Split(documented, "."), strings.Split(known, ".")
	return slices.EqualFunc(parts, of, func(part, of string) bool {
		return part == of || strings.ToUpper(part) == part || strings.HasPrefix(part, "<")
	})
}

// docs/configuration.md has a row for each key that the two files may have, at its place, and no other.
func TestKeysAreDocumented(t *testing.T) {
	for _, c := range []struct {
		file  string
		parse func(string) error
		least int    // keys that were found when this was written, about
		some  string // one of the deepest
	}{
		{"perdiem.yaml", parseConfigText, 60, "identity.headers.from"},
		{"catalog.yaml", parseCatalogText, 12, "endpoints.when.header"},
	} {
		t.Run(c.file, func(t *testing.T) {
			known := knownKeys(t, c.parse)
			if len(known) < c.least || !known[c.some] {
				t.Fatalf("the parser was found to know %d keys only: %v", len(known), slices.Sorted(maps.Keys(known)))
			}
			rows := documentedKeys(t, c.file)
			for _, row := range rows {
				for _, key := range row.keys {
					if !slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(k string) bool { return names(key, k) }) {
						t.Errorf("%s documents %s, which the parser does not know", configurationDoc, key)
					}
				}
			}
			for _, key := range slices.Sorted(maps.Keys(known)) {
				if !slices.ContainsFunc(rows, func(row documented) bool {
					return slices.ContainsFunc(row.keys, func(k string) bool { return names(k, key) })
				}) {
					t.Errorf("%s does not document %s", configurationDoc, key)
				}
			}
		})
	}
}

var literal = regexp.MustCompile("^`([^`]+)`$")

// Each default that docs/configuration.md gives is the default: told, it changes nothing. Where it gives words, nothing can be compared.
func TestDefaultsAreDocumented(t *testing.T) {
	parse := func(text string) *config {
		t.Helper()
		c, err := parseConfig("perdiem.yaml", []byte(text), getenv)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		c.CatalogNamed, c.Places = yamldoc.Problem{}, nil
		return c
	}
	required := map[string]string{"cors": "origins: ['*']", "smtp": "host: mail.example, from: perdiem@mail.example", "oidc": "issuer: 'https://id.example', client_id: a, client_secret: b"} // beside each other key of these
	compared := 0
	for _, row := range documentedKeys(t, "perdiem.yaml") {
		m := literal.FindStringSubmatch(row.text)
		if m == nil || strings.HasPrefix(row.keys[0], "identity.") { // an item of a list, which others' keys belong to
			continue
		}
		for _, key := range row.keys {
			text, without := m[1], ""
			section, _, _ := strings.Cut(key, ".")
			for _, part := range slices.Backward(strings.Split(key, ".")) {
				text = part + ": " + text
				if also := required[section]; also != "" && part != section {
					text += ", " + also
					without = "{" + section + ": {" + also + "}}"
				}
				text = "{" + text + "}"
			}
			if compared++; !reflect.DeepEqual(parse(text), parse(without)) {
				t.Errorf("%s gives %s the default %s, which it is not", configurationDoc, key, m[1])
			}
		}
	}
	if compared < 15 {
		t.Errorf("%d defaults were compared only", compared)
	}
}

// The same of catalog.yaml.
func TestDefaultsOfCatalogAreDocumented(t *testing.T) {
	const template = "endpoints: [{id: a, match: /a%e}]\ncatch_all: {}\napplications: [{id: a%a}]\n"
	parse := func(endpoint, application string) *catalog.Catalog {
		t.Helper()
		c, err := catalog.Parse("catalog.yaml", []byte(strings.NewReplacer("%e", endpoint, "%a", application).Replace(template)), catalog.PathPolicy{})
		if err != nil {
			t.Errorf("%s%s: %v", endpoint, application, err)
		}
		return c
	}
	want, compared := parse("", ""), 0
	for _, row := range documentedKeys(t, "catalog.yaml") {
		m := literal.FindStringSubmatch(row.text)
		if m == nil {
			continue
		}
		for _, key := range row.keys {
			var got *catalog.Catalog
			if name, ok := strings.CutPrefix(key, "endpoints."); ok {
				got = parse(", "+name+": "+m[1], "")
			} else if name, ok := strings.CutPrefix(key, "applications."); ok {
				got = parse("", ", "+name+": "+m[1])
			} else {
				continue
			}
			if compared++; !reflect.DeepEqual(got, want) {
				t.Errorf("%s gives %s the default %s, which it is not", configurationDoc, key, m[1])
			}
		}
	}
	if compared < 5 {
		t.Errorf("%d defaults were compared only", compared)
	}
}

// docs/metrics.md tells each outcome of a request that a label may have.
func TestOutcomesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	outcomes := slices.Collect(maps.Values(rejections))
	for o := gateway.Outcome(0); !strings.HasPrefix(o.String(), "outcome_"); o++ {
		outcomes = append(outcomes, o.String())
	}
	for _, outcome := range outcomes {
		if !strings.Contains(string(text), "`"+outcome+"`") {
			t.Errorf("docs/metrics.md does not tell the outcome %s", outcome)
		}
	}
	if len(outcomes) < 12 {
		t.Errorf("%d outcomes were found only", len(outcomes))
	}
}
