package yamldoc_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/internal/yamldoc"
)

// settings reads a document with one key of each type and returns what it read, a line a value.
func settings(doc *yamldoc.Doc) []string {
	var got []string
	add := func(n yamldoc.Node, v any, ok bool) {
		if ok {
			got = append(got, fmt.Sprintf("%s=%v", n.Name(), v))
		}
	}
	doc.Root().Map(map[string]func(yamldoc.Node){
		"text":     func(n yamldoc.Node) { v, ok := n.String(); add(n, v, ok) },
		"number":   func(n yamldoc.Node) { v, ok := n.Int(-5, 1000); add(n, v, ok) },
		"flag":     func(n yamldoc.Node) { v, ok := n.Bool(); add(n, v, ok) },
		"duration": func(n yamldoc.Node) { v, ok := n.Duration(time.Second); add(n, v, ok) },
		"mode":     func(n yamldoc.Node) { v, ok := n.OneOf("refuse", "admit"); add(n, v, ok) },
		"list": func(n yamldoc.Node) {
			n.List(func(_ int, n yamldoc.Node) { v, ok := n.String(); add(n, v, ok) })
		},
		"map": func(n yamldoc.Node) {
			n.Each(func(_ string, _, n yamldoc.Node) { v, ok := n.String(); add(n, v, ok) })
		},
	})
	return got
}

func TestValues(t *testing.T) {
	doc := yamldoc.Parse("f", []byte("\ufefftext: a b # comment\nnumber: -5\nflag: true\nduration: 1m30s\nmode: admit\nlist: [x, 'y']\nmap:\n  k: |\n    v\n  l: \"\"\n"))
	got := settings(doc)
	if err := doc.Err(); err != nil {
		t.Fatal(err)
	}
	want := []string{"text=a b", "number=-5", "flag=true", "duration=1m30s", "mode=admit", "list[0]=x", "list[1]=y", "k=v\n", "l="}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Keys are counted in what is open, not in the whole document.
func TestManyKeys(t *testing.T) {
	yaml := "list:\n" + strings.Repeat("- a: 1\n  b: 2\n", yamldoc.MaxKeys)
	if err := yamldoc.Parse("f", []byte(yaml)).Err(); err != nil {
		t.Error(err)
	}
}

func TestManyProblems(t *testing.T) {
	doc := yamldoc.Parse("f", []byte("list:\n"+strings.Repeat("- 5\n", yamldoc.MaxProblems+7)))
	settings(doc)
	problems, _ := errors.AsType[yamldoc.Problems](doc.Err())
	if n := len(problems); n != yamldoc.MaxProblems+1 || problems[n-1].String() != "f:10001:3: 7 more problems" {
		t.Errorf("%d problems, the last: %s", n, problems[n-1])
	}
}

func TestProblems(t *testing.T) {
	tests := []struct {
		name, yaml string
		want       string // the problems, one a line
	}{
		{"empty", "", "f:1:1: must be a mapping, not empty"},
		{"only comments", "# nothing\n", "f:1:1: must be a mapping, not empty"},
		{"no mapping", "- a\n", "f:1:1: must be a mapping, not a list"},
		{"number", "number: many", "f:1:9: number: must be a whole number from -5 to 1000, not many"},
		{"number too large", "number: 1001", "f:1:9: number: must be a whole number from -5 to 1000, not 1001"},
		{"number too small", "number: -6", "f:1:9: number: must be a whole number from -5 to 1000, not -6"},
		{"fraction", "number: 1.5", "f:1:9: number: must be a whole number from -5 to 1000, not 1.5"},
		{"fraction of nothing", "number: 1.0", "f:1:9: number: must be a whole number from -5 to 1000, not 1.0"},
		{"exponent", "number: 1e2", "f:1:9: number: must be a whole number from -5 to 1000, not 1e2"},
		{"hexadecimal", "number: 0x10", "f:1:9: number: must be a whole number from -5 to 1000, not 0x10"},
		{"octal", "number: 0o10", "f:1:9: number: must be a whole number from -5 to 1000, not 0o10"},
		{"binary", "number: 0b1", "f:1:9: number: must be a whole number from -5 to 1000, not 0b1"},
		{"leading zero", "number: 010", "f:1:9: number: must be a whole number from -5 to 1000, not 010"},
		{"plus", "number: +5", "f:1:9: number: must be a whole number from -5 to 1000, not +5"},
		{"minus nothing", "number: -0", "f:1:9: number: must be a whole number from -5 to 1000, not -0"},
		{"underscore", "number: 1_0", "f:1:9: number: must be a whole number from -5 to 1000, not 1_0"},
		{"infinity", "number: .inf", "f:1:9: number: must be a whole number from -5 to 1000, not .inf"},
		{"quoted number", "number: '5'", `f:1:9: number: must be a whole number from -5 to 1000, not the text "5"`},
		{"folded number", "number: |\n  5", `f:1:9: number: must be a whole number from -5 to 1000, not the text "5"`},
		{"no number", "number:", "f:1:1: number: must be a whole number from -5 to 1000, not empty"},
		{"null number", "number: ~", "f:1:9: number: must be a whole number from -5 to 1000, not empty"},
		{"beyond 64 bits", "number: 99999999999999999999", "f:1:9: number: must be a whole number from -5 to 1000, not 99999999999999999999"},
		{"a number as text", "text: 010", `f:1:7: text: must be a text; write it in quotes: "010"`},
		{"a flag as text", "text: true", `f:1:7: text: must be a text; write it in quotes: "true"`},
		{"a list as text", "text: [a]", "f:1:7: text: must be a text, not a list"},
		{"nothing as text", "text: null", "f:1:7: text: must be a text, not empty"},
		{"yes", "flag: yes", "f:1:7: flag: must be true or false, not yes"},
		{"True", "flag: True", "f:1:7: flag: must be true or false, not True"},
		{"quoted true", "flag: 'true'", `f:1:7: flag: must be true or false, not the text "true"`},
		{"duration without unit", "duration: 60", "f:1:11: duration: must be a duration such as 1m30s, at least 1s, not 60"},
		{"short duration", "duration: 1ms", "f:1:11: duration: must be a duration such as 1m30s, at least 1s, not 1ms"},
		{"mode", "mode: allow", "f:1:7: mode: must be refuse or admit, not allow"},
		{"list", "list: a", "f:1:7: list: must be a list, not a"},
		{"item", "list: [a, 5,\n   {b: c}]", "f:1:11: list[1]: must be a text; write it in quotes: \"5\"\nf:2:4: list[2]: must be a text, not a mapping"},
		{"empty item", "list:\n  - a\n  -\n", "f:3:3: list[1]: must be a text, not empty"},
		{"map", "map: [a]", "f:1:6: map: must be a mapping, not a list"},
		{"unknown key", "txet: a", "f:1:1: unknown key \"txet\"; did you mean text?"},
		{"unknown key, none near", "zzzzzz: a", `f:1:1: unknown key "zzzzzz"; known here: duration, flag, list, map, mode, number, text`},
		{"unknown key, long", strings.Repeat("z", 100) + ": a", `f:1:1: unknown key "` + strings.Repeat("z", 64) + `…"; known here: duration, flag, list, map, mode, number, text`},
		{"duplicate key", "text: a\ntext: b\n'text': c\n", "f:2:1: key \"text\" comes twice; the first is in line 1\nf:3:1: key \"text\" comes twice; the first is in line 1"},
		{"duplicate key in flow", "map: {a: x, a: y}", `f:1:13: key "a" comes twice; the first is in line 1`},
		{"columns are characters", "map: {é: x, ü: 1}", `f:1:16: ü: must be a text; write it in quotes: "1"`},
		{"Windows line ends", "text: a\r\nflag: 1\r\n", "f:2:7: flag: must be true or false, not 1"},
		{"all at once", "flag: 1\nnumber: x\nfoo: 1\n", "f:1:7: flag: must be true or false, not 1\nf:2:9: number: must be a whole number from -5 to 1000, not x\nf:3:1: unknown key \"foo\"; known here: duration, flag, list, map, mode, number, text"},
		{"long value", "number: " + strings.Repeat("x", 100), `f:1:9: number: must be a whole number from -5 to 1000, not "` + strings.Repeat("x", 64) + `…"`},
		{"line break in a value", `number: "a\nb"`, `f:1:9: number: must be a whole number from -5 to 1000, not the text "a\nb"`},

		{"broken flow", "list: [a, b\ntext: c\n", "f:2:1: not YAML: ',' or ']' must be specified"},
		{"broken quotes", "text: 'a\n", "f:1:7: not YAML: could not find end character of single-quoted text"},
		{"broken indentation", "text: a\n flag: true\n", "f:1:7: not YAML: mapping value is not allowed in this context"},
		{"broken escape", `text: "\q"`, "f:1:9: not YAML: found unknown escape character 'q'"},
		{"unquoted star", "map: {a: *}", "f:1:10: aliases are not supported; write the value out, or put a text that begins with * in quotes"},
		{"anchor and alias", "text: &x a\nmode: *x\nflag: 1\n", "f:1:7: anchors are not supported; write the value out\nf:2:7: aliases are not supported; write the value out, or put a text that begins with * in quotes\nf:3:7: flag: must be true or false, not 1"},
		{"merge key", "map:\n  <<: {a: b}\nflag: 1\n", "f:2:3: merge keys are not supported; write the keys out\nf:3:7: flag: must be true or false, not 1"},
		{"tag", "text: !!str 5\n", "f:1:7: tags are not supported; leave the tag out, or put a text that begins with ! in quotes\nf:1:12: text: must be a text; write it in quotes: \"5\""},
		{"directive", "%YAML 1.2\n---\nflag: 1\n", "f:1:1: directives are not supported; leave the line out\nf:3:7: flag: must be true or false, not 1"},
		{"complex key", "? text\n: a\n", "f:1:1: keys marked by ? are not supported; write key: value"},
		{"two documents", "text: a\n---\ntext: b\n", "f:3:1: a second document; a file holds one"},
		{"not UTF-8", "text: a\nmode: \xff\n", "f:2:7: byte 0xff is not UTF-8; save the file as UTF-8"},
		{"NUL", "text: a\x00b\n", "f:1:8: control character U+0000; take it out, or write it as an escape in double quotes"},
		{"deep list", strings.Repeat("[", 101), "f:1:101: nested too deep; at most 100 levels are read"},
		{"deep map", strings.Repeat("{a: ", 101), "f:1:401: nested too deep; at most 100 levels are read"},
		{"deep dashes", strings.Repeat("- ", 101), "f:1:101: nested too deep; at most 100 levels are read"},
		{"deep indentation", "text:\n" + strings.Repeat(" ", 101) + "a: b", "f:2:102: nested too deep; at most 100 levels are read"},
		{"many keys", strings.Repeat("a:\n", yamldoc.MaxKeys+1), "f:20001:2: too many keys; at most 20000 are read in a mapping and those around it"},
		{"many keys, nested", strings.Repeat("a:\n", yamldoc.MaxKeys/2) + "a:\n" + strings.Repeat(" b:\n", yamldoc.MaxKeys/2), "f:20001:3: too many keys; at most 20000 are read in a mapping and those around it"},
		{"large", "#" + strings.Repeat("x", yamldoc.MaxSize), "f:1:1: the file has 16777217 bytes; at most 16777216 are read"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			doc := yamldoc.Parse("f", []byte(test.yaml))
			settings(doc)
			if got := fmt.Sprint(doc.Err()); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestProblemsCanBeTakenApart(t *testing.T) {
	doc := yamldoc.Parse("dir/f.yaml", []byte("flag: 1\n"))
	settings(doc)
	problems, ok := errors.AsType[yamldoc.Problems](doc.Err())
	want := yamldoc.Problem{File: "dir/f.yaml", Line: 1, Column: 7, Text: "flag: must be true or false, not 1"}
	if !ok || len(problems) != 1 || problems[0] != want {
		t.Errorf("got %#v, want %#v", problems, want)
	}
}

func TestPlaces(t *testing.T) {
	doc := yamldoc.Parse("f", []byte("list:\n  - name: a\n    when: {b: c}\n  - 5\nempty:\n"))
	tests := []struct {
		path         []string
		line, column int
		whole        bool
	}{
		{nil, 1, 1, true},
		{[]string{"list"}, 2, 3, true},
		{[]string{"empty"}, 5, 1, true},
		{[]string{"lost", "deeper"}, 1, 1, false},
	}
	for _, test := range tests {
		n, whole := doc.Root().At(test.path...)
		if line, column := n.Place(); line != test.line || column != test.column || whole != test.whole {
			t.Errorf("At(%q) = %d:%d, %v; want %d:%d, %v", test.path, line, column, whole, test.line, test.column, test.whole)
		}
	}
	list, _ := doc.Root().At("list")
	list.List(func(i int, item yamldoc.Node) {
		switch i {
		case 0:
			c, whole := item.At("when", "b")
			if line, column := c.Place(); line != 3 || column != 15 || !whole {
				t.Errorf("when.b is at %d:%d", line, column)
			}
			if line, column := c.Key().Place(); line != 3 || column != 12 {
				t.Errorf("when.b's key is at %d:%d", line, column)
			}
			item.Missing("id")
		case 1:
			if _, ok := item.String(); ok || !item.Faulty() {
				t.Error("a number is taken for a text, or the value is not faulty after that")
			}
		}
	})
	if got, want := fmt.Sprint(doc.Err()), "f:2:5: id is missing\nf:4:5: list[1]: must be a text; write it in quotes: \"5\""; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A document that cannot be read has one problem, whatever is asked of it.
func TestSilence(t *testing.T) {
	doc := yamldoc.Parse("f", []byte("a: [\n"))
	before := fmt.Sprint(doc.Err())
	for _, n := range []yamldoc.Node{doc.Root(), {}} {
		n.Problem("nothing to see")
		n.Missing("id")
		n.Int(0, 1)
		n.List(nil)
		n.Each(nil)
		n.Key().Wrong("another thing")
		if at, whole := n.At("a", "b"); !n.Silent() || whole || at.Faulty() || n.IsNull() || n.IsMap() || n.IsList() {
			t.Error("there is something where nothing could be read")
		}
	}
	if after := fmt.Sprint(doc.Err()); after != before || strings.Count(after, "\n") != 0 {
		t.Errorf("%s\nbecame\n%s", before, after)
	}
}

// FuzzParse looks for documents that the reader cannot bear, and for problems that do not fit in a line or lie outside the document.
func FuzzParse(f *testing.F) {
	f.Add("text: a\nnumber: 5\nlist: [a, {b: c}]\nmap: {a: |\n  b}\n")
	f.Add("text: &a !!str x\nmode: *a\n<<: {}\n? [a]\n: b\n---\n...\n")
	f.Add("list:\n- - - a\n  -\n\t- b")
	f.Fuzz(func(t *testing.T, s string) {
		doc := yamldoc.Parse("f", []byte(s))
		settings(doc)
		if doc.Root().Silent() && doc.Err() == nil {
			t.Error("nothing was read, and nothing is wrong")
		}
		lines := strings.Count(s, "\n") + strings.Count(s, "\r") + 1
		problems, _ := errors.AsType[yamldoc.Problems](doc.Err())
		for _, p := range problems {
			if strings.ContainsAny(p.Text, "\n\r") || p.Text == "" || p.Line < 1 || p.Column < 1 || p.Line > lines {
				t.Errorf("%+q", p.String())
			}
		}
	})
}
