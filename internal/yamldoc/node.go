package yamldoc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Node is a value in a document. A Node of a document that is not YAML, and the zero Node, are silent: each of its helpers
// returns false and reports nothing.
type Node struct {
	doc    *Doc
	value  ast.Node
	key    *token.Token // what it stands behind; nil for the root and a list's items
	name   string       // what messages call it: its key, or its list's with a number; "" for the root
	line   int
	column int
}

// node wraps a value. Where the value is left out its place is the key's.
func (d *Doc) node(value ast.Node, name string, key *token.Token) Node {
	for {
		switch v := value.(type) {
		case *ast.AnchorNode:
			value = v.Value
			continue
		case *ast.TagNode:
			value = v.Value
			continue
		case *ast.AliasNode:
			value = nil
		}
		break
	}
	n := Node{doc: d, value: value, key: key, name: name}
	t := start(value)
	if key != nil && (t == nil || t.Type == token.ImplicitNullType) {
		t = key
	}
	if t != nil && t.Position != nil {
		n.line, n.column = t.Position.Line, t.Position.Column
	}
	return n
}

// start returns the first token of a value.
func start(value ast.Node) *token.Token {
	switch v := value.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			return start(v.Values[0])
		}
	case *ast.MappingValueNode:
		return v.Key.GetToken()
	}
	return value.GetToken()
}

// Name returns what messages call the value: its key, or its list's name with its number from 0.
func (n Node) Name() string { return n.name }

// Place returns the line and the column at which the value begins, both from 1.
func (n Node) Place() (line, column int) { return n.line, n.column }

// Key returns the key that the value stands behind, for messages about it; the value itself where it has none.
func (n Node) Key() Node {
	if n.value == nil || n.key == nil {
		return n
	}
	return n.doc.node(ast.String(n.key), "", nil)
}

// Problem reports that something is wrong with the value. The message is preceded by the value's name.
func (n Node) Problem(format string, args ...any) {
	if n.value == nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if n.name != "" || n.key != nil {
		text = label(n.name) + ": " + text
	}
	n.doc.report(n.line, n.column, "%s", text)
	n.doc.faulty[n.value] = true
}

// Missing reports that a mapping lacks a key.
func (n Node) Missing(key string) {
	if n.doc != nil && n.value != nil {
		n.doc.report(n.line, n.column, "%s is missing", key)
	}
}

// Faulty reports whether a problem was reported for the value itself.
func (n Node) Faulty() bool { return n.doc != nil && n.doc.faulty[n.value] }

// Silent reports whether there is no value because the document could not be read that far.
func (n Node) Silent() bool { return n.value == nil }

// IsNull reports whether the value is null or left out.
func (n Node) IsNull() bool { _, ok := n.value.(*ast.NullNode); return ok }

// IsMap reports whether the value is a mapping.
func (n Node) IsMap() bool {
	switch n.value.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	default:
		return false
	}
}

// IsList reports whether the value is a list.
func (n Node) IsList() bool { _, ok := n.value.(*ast.SequenceNode); return ok }

// IsEmpty reports whether the value is a mapping or a list that holds nothing.
func (n Node) IsEmpty() bool {
	list, ok := n.value.(*ast.SequenceNode)
	return ok && len(list.Values) == 0 || n.IsMap() && len(n.entries()) == 0
}

// Map calls, for each key of a mapping in the order of the document, the func that fields holds for it. It reports
// keys that fields does not know, and keys that come twice, of which the first counts. It returns false where the value is no mapping.
func (n Node) Map(fields map[string]func(Node)) bool {
	return n.Each(func(key string, at, value Node) {
		field, known := fields[key]
		if !known {
			at.Problem("unknown key %s; %s", quote(key), suggestion(key, fields))
			return
		}
		field(value)
	})
}

// Each calls f for each key of a mapping in the order of the document: at is the key itself, for messages about it.
// It reports keys that are not scalars, and keys that come twice, of which the first counts. It returns false where the value is no mapping.
func (n Node) Each(f func(key string, at, value Node)) bool {
	if !n.IsMap() {
		n.Wrong("a mapping")
		return false
	}
	seen := map[string]int{}
	for _, entry := range n.entries() {
		switch entry.Key.(type) {
		case *ast.MappingKeyNode, *ast.MergeKeyNode:
			continue // reported as a token
		}
		at := n.doc.node(entry.Key, "", nil)
		key, ok := scalar(entry.Key)
		if !ok {
			at.Problem("a key must be plain text")
			continue
		}
		if line, twice := seen[key]; twice {
			at.Problem("key %s comes twice; the first is in line %d", quote(key), line)
			continue
		}
		seen[key] = at.line
		f(key, at, n.doc.node(entry.Value, key, entry.Key.GetToken()))
	}
	return true
}

func (n Node) entries() []*ast.MappingValueNode {
	switch v := n.value.(type) {
	case *ast.MappingNode:
		return v.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{v}
	default:
		return nil
	}
}

// List calls f for each item of a list. It returns false where the value is no list.
func (n Node) List(f func(i int, item Node)) bool {
	list, ok := n.value.(*ast.SequenceNode)
	if !ok {
		n.Wrong("a list")
		return false
	}
	for i, value := range list.Values {
		item := n.doc.node(value, n.name+"["+strconv.Itoa(i)+"]", nil)
		if item.IsNull() && i < len(list.Entries) && list.Entries[i].Start != nil {
			item.line, item.column = list.Entries[i].Start.Position.Line, list.Entries[i].Start.Position.Column
		}
		f(i, item)
	}
	return true
}

// At goes down the keys of path as far as they exist, and returns where that ends; whole is false when it ended early.
func (n Node) At(path ...string) (at Node, whole bool) {
	for _, key := range path {
		i := slices.IndexFunc(n.entries(), func(e *ast.MappingValueNode) bool {
			text, ok := scalar(e.Key)
			return ok && text == key
		})
		if i < 0 {
			return n, false
		}
		e := n.entries()[i]
		n = n.doc.node(e.Value, key, e.Key.GetToken())
	}
	return n, true
}

// Text returns a text without reporting anything: ok is false where the value is another thing, such as a number.
func (n Node) Text() (text string, ok bool) {
	switch n.value.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return scalar(n.value)
	default:
		return "", false
	}
}

// Integer returns a whole number without reporting anything: ok is false unless the value is written in decimal
// digits, without quotes, sign (but -), leading zeros, underscores or exponent, and fits in 64 bits.
func (n Node) Integer() (v int64, ok bool) {
	if n.quoted() {
		return 0, false
	}
	text, ok := scalar(n.value)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseInt(text, 10, 64)
	return v, err == nil && strconv.FormatInt(v, 10) == text
}

func (n Node) quoted() bool {
	switch v := n.value.(type) {
	case *ast.LiteralNode:
		return true
	case *ast.StringNode:
		return v.Token.Type == token.SingleQuoteType || v.Token.Type == token.DoubleQuoteType
	default:
		return false
	}
}

// String returns a text, and reports where the value is another thing. A number is no text: it has to be quoted, so
// that 010 and 10 never mean the same name.
func (n Node) String() (text string, ok bool) {
	if text, ok = n.Text(); ok {
		return text, true
	}
	if text, ok = scalar(n.value); ok && !n.IsNull() {
		n.Problem("must be a text; write it in quotes: %s", quote(text))
		return text, false
	}
	n.Wrong("a text")
	return "", false
}

// OneOf returns a text that is one of values, and reports where it is none of them.
func (n Node) OneOf(values ...string) (text string, ok bool) {
	text, ok = n.Text()
	if ok && slices.Contains(values, text) {
		return text, true
	}
	n.Wrong(strings.Join(values, " or "))
	return "", false
}

// Int returns a whole number from low to high, and reports where the value is none. See [Node.Integer].
func (n Node) Int(low, high int64) (v int64, ok bool) {
	if v, ok = n.Integer(); ok && low <= v && v <= high {
		return v, true
	}
	n.Wrong(fmt.Sprintf("a whole number from %d to %d", low, high))
	return 0, false
}

// Bool returns true or false, and reports where the value is neither.
func (n Node) Bool() (v, ok bool) {
	if _, isBool := n.value.(*ast.BoolNode); isBool {
		switch text, _ := scalar(n.value); text {
		case "true":
			return true, true
		case "false":
			return false, true
		}
	}
	n.Wrong("true or false")
	return false, false
}

// Duration returns a duration of at least low, written as Go writes it (1m30s), and reports where the value is none.
func (n Node) Duration(low time.Duration) (v time.Duration, ok bool) {
	if text, isText := n.Text(); isText {
		if v, err := time.ParseDuration(text); err == nil && v >= low {
			return v, true
		}
	}
	n.Wrong(fmt.Sprintf("a duration such as 1m30s, at least %s", low))
	return 0, false
}

// Wrong reports that the value is not what it must be, such as "a list", and what it is.
func (n Node) Wrong(want string) {
	n.Problem("must be %s, not %s", want, n.describe())
}

// describe says what was written, shortened.
func (n Node) describe() string {
	switch {
	case n.IsMap():
		return "a mapping"
	case n.IsList():
		return "a list"
	case n.IsNull():
		return "empty"
	}
	text, _ := scalar(n.value)
	if n.quoted() {
		return "the text " + quote(text)
	}
	return label(text)
}

const longest = 64 // bytes of the document that a message repeats

// label returns text as it is where that is plain enough, else in quotes.
func label(text string) string {
	if text == "" || len(text) > longest || strings.ContainsFunc(text, func(r rune) bool { return r == '"' || r == ' ' || !unicode.IsPrint(r) }) {
		return quote(text)
	}
	return text
}

// quote returns text in quotes, shortened.
func quote(text string) string {
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return strconv.Quote(text)
}

// scalar returns the text of a scalar: as written, or what its quotes hold.
func scalar(value ast.Node) (string, bool) {
	switch v := value.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode, *ast.AliasNode, *ast.MappingKeyNode, nil:
		return "", false
	}
	t := value.GetToken()
	if t == nil {
		return "", false
	}
	return t.Value, true
}

// suggestion says which keys are known: the nearest to key, or all.
func suggestion(key string, fields map[string]func(Node)) string {
	known := make([]string, 0, len(fields))
	for name := range fields {
		known = append(known, name)
	}
	slices.Sort(known)
	if near := Nearest(key, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "known here: " + strings.Join(known, ", ")
}

// Nearest returns the one of names that word is most likely a misspelling of, or "" where none is near.
func Nearest(word string, names []string) string {
	if len(word) > longest {
		return ""
	}
	best, nearest := "", min(len(word), 1+(len(word)+2)/3)
	for _, name := range names {
		if d := distance(word, name); d < nearest {
			best, nearest = name, d
		}
	}
	return best
}

// distance returns how many bytes have to be put in, taken out or replaced to make a into b, not counting case.
func distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if len(b) > 2*longest {
		return len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
