// Package yamldoc reads YAML that people write by hand and must get right: every value is asked for by its type,
// nothing is converted silently, and every problem is kept with its place, so that all of them can be shown at once.
//
//	doc := yamldoc.Parse("perdiem.yaml", data)
//	doc.Root().Map(map[string]func(yamldoc.Node){
//		"upstream": func(n yamldoc.Node) { upstream, _ = n.String() },
//		"nodes":    func(n yamldoc.Node) { nodes, _ = n.Int(1, 100) },
//	})
//	return doc.Err() // perdiem.yaml:3:8: nodes: must be a whole number from 1 to 100, not "many"
//
// A helper that cannot do what it is asked reports why and returns false; the caller goes on with the next value.
// A document that is not YAML has one problem, its syntax, and a root that is silent: nothing need be checked in between.
//
// What YAML offers and files for operators do not need is refused by name: anchors, aliases, merge keys, tags,
// directives, several documents, keys that are not scalars, duplicate keys. A document has at most [MaxSize] bytes,
// [MaxDepth] levels, and [MaxKeys] keys in a mapping.
package yamldoc

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// MaxSize is the size of the largest document that is read, in bytes.
	MaxSize = 16 << 20
	// MaxDepth is how deep lists and mappings may be nested, and how far a line that holds structure may be indented,
	// in columns.
	MaxDepth = 100
	// MaxKeys is how many keys a mapping in block style and those around it may have together. (One in braces is bounded by
	// the size of the document.)
	MaxKeys = 20_000
	// MaxProblems is how many problems are kept; further ones are counted.
	MaxProblems = 10_000
)

// Doc is a document that has been read, and what was found wrong with it so far. It is for one goroutine.
type Doc struct {
	file     string
	root     Node
	problems Problems
	more     int               // problems that were not kept
	faulty   map[ast.Node]bool // the values that a problem was reported for
}

// Parse reads a document. It never fails: what is wrong is told by [Doc.Err]. The name of the file is used in messages only.
func Parse(file string, data []byte) *Doc {
	d := &Doc{file: file, faulty: map[ast.Node]bool{}}
	d.root = Node{doc: d, line: 1, column: 1}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !d.readable(data) {
		return d
	}
	defer func() {
		// The scanner and the parser are not ours. What they cannot bear is a problem of the document.
		if r := recover(); r != nil {
			d.report(1, 1, "the YAML cannot be read: %v", r)
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if !d.supported(tokens) {
		return d
	}
	// Duplicate keys are allowed here and reported by Map and Each, which do not stop at the first.
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(err)
		return d
	}
	d.adopt(tree)
	return d
}

// Root returns the document's value: null where the document is empty.
func (d *Doc) Root() Node { return d.root }

// Err returns the [Problems] reported so far, in the order of their places, or nil where there is none.
func (d *Doc) Err() error {
	if len(d.problems) == 0 {
		return nil
	}
	problems := d.problems.sorted()
	if d.more > 0 {
		last := problems[len(problems)-1]
		last.Text = fmt.Sprintf("%d more problems", d.more)
		problems = append(problems, last)
	}
	return problems
}

func (d *Doc) report(line, column int, format string, args ...any) {
	if len(d.problems) == MaxProblems {
		d.more++
		return
	}
	d.problems = append(d.problems, Problem{File: d.file, Line: line, Column: column, Text: fmt.Sprintf(format, args...)})
}

// readable reports whether data is text of a size that is read.
func (d *Doc) readable(data []byte) bool {
	if len(data) > MaxSize {
		d.report(1, 1, "the file has %d bytes; at most %d are read", len(data), MaxSize)
		return false
	}
	line, column := 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size <= 1:
			d.report(line, column, "byte 0x%02x is not UTF-8; save the file as UTF-8", data[i])
			return false
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			d.report(line, column, "control character U+%04X; take it out, or write it as an escape in double quotes", r)
			return false
		}
		i += size
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return true
}

// unsupported says what is refused of YAML's own means, by the token that begins it.
var unsupported = map[token.Type]string{
	token.AnchorType:     "anchors are not supported; write the value out",
	token.AliasType:      "aliases are not supported; write the value out, or put a text that begins with * in quotes",
	token.MergeKeyType:   "merge keys are not supported; write the keys out",
	token.TagType:        "tags are not supported; leave the tag out, or put a text that begins with ! in quotes",
	token.DirectiveType:  "directives are not supported; leave the line out",
	token.MappingKeyType: "keys marked by ? are not supported; write key: value",
}

// supported reports whether the parser can be given tokens. The parser calls itself for each level, and in block style for each
// key of a mapping, too; both are bounded before. What is refused by name is reported, and does not make it return false.
func (d *Doc) supported(tokens token.Tokens) bool {
	flow, prefixes := 0, 0
	var keys keyCount
	for i, t := range tokens {
		if text, refused := unsupported[t.Type]; refused {
			d.report(t.Position.Line, t.Position.Column, "%s", text)
			prefixes++ // a tag, an anchor and a ? each nest what follows
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(0, flow-1)
		}
		deep := flow > MaxDepth || prefixes > MaxDepth
		if flow == 0 && t.Type != token.CommentType {
			// In block style a level is a deeper column: that of the first token of a line, or of a dash after a dash.
			first := i == 0 || tokens[i-1].Position.Line < t.Position.Line
			deep = deep || (first || t.Type == token.SequenceEntryType) && t.Position.Column > MaxDepth
			switch {
			case t.Type == token.SequenceEntryType:
				keys.item(t.Position.Column)
			case t.Type == token.MappingValueType && i > 0:
				keys.key(tokens[i-1].Position.Column)
			}
		}
		if deep {
			d.report(t.Position.Line, t.Position.Column, "nested too deep; at most %d levels are read", MaxDepth)
			return false
		}
		if keys.total > MaxKeys {
			d.report(t.Position.Line, t.Position.Column, "too many keys; at most %d are read in a mapping and those around it", MaxKeys)
			return false
		}
	}
	return true
}

// keyCount counts the keys of the mappings in block style that are open, by the columns in which they stand.
type keyCount struct {
	open  []struct{ column, keys int }
	total int
}

// key counts a key. It closes the mappings that stand deeper.
func (k *keyCount) key(column int) {
	k.item(column)
	if n := len(k.open); n == 0 || k.open[n-1].column < column {
		k.open = append(k.open, struct{ column, keys int }{column: column})
	}
	k.open[len(k.open)-1].keys++
	k.total++
}

// item closes the mappings that stand deeper than a list's dash.
func (k *keyCount) item(column int) {
	for n := len(k.open); n > 0 && k.open[n-1].column > column; n = len(k.open) {
		k.total -= k.open[n-1].keys
		k.open = k.open[:n-1]
	}
}

// syntaxHints say what is behind an error of the parser's more often than not.
var syntaxHints = map[string]string{
	"',' or '}' must be specified":                     ": quote a value that has braces, as in match: \"GET /a/{id}\"",
	"found character '\t' that cannot start any token": ": indent with blanks, not tabs",
}

// syntax reports the parser's error: one problem, in one line. What is refused by name in the same line explains it better.
func (d *Doc) syntax(err error) {
	placed, ok := err.(interface {
		GetToken() *token.Token
		GetMessage() string
	})
	if !ok || placed.GetToken() == nil || placed.GetToken().Position == nil {
		d.report(1, 1, "not YAML: %.200q", err.Error())
		return
	}
	at := placed.GetToken().Position
	if slices.ContainsFunc(d.problems, func(p Problem) bool { return p.Line == at.Line }) {
		return
	}
	d.report(at.Line, at.Column, "not YAML: %s%s", placed.GetMessage(), syntaxHints[placed.GetMessage()])
}

// adopt takes the one document of a file as the root.
func (d *Doc) adopt(tree *ast.File) {
	found := false
	for _, document := range tree.Docs {
		if document.Body == nil {
			continue
		}
		if _, directive := document.Body.(*ast.DirectiveNode); directive {
			continue // reported as a token
		}
		n := d.node(document.Body, "", nil)
		if found {
			n.Problem("a second document; a file holds one")
			return
		}
		d.root, found = n, true
	}
	if !found {
		d.root.value = ast.Null(token.New("null", "", &token.Position{Line: 1, Column: 1}))
	}
}
