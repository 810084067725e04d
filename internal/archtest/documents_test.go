package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const configuration = "docs/configuration.md"

// docs/configuration.md names every key that is read, and no other.
func TestKeysAreDocumented(t *testing.T) {
	for _, c := range []struct{ section, sources string }{
		{"perdiem.yaml", "cmd/perdiem/config*.go"},
		{"catalog.yaml", "catalog/parse.go"},
	} {
		t.Run(c.section, func(t *testing.T) {
			read := keys(t, c.sources)
			documented := map[string]bool{}
			for _, cells := range rows(t, configuration, c.section) {
				for _, key := range quoted(cells[0]) {
					documented[key[strings.LastIndex(key, ".")+1:]] = true
				}
			}
			for _, key := range slices.Sorted(maps.Keys(read)) {
				if !documented[key] {
					t.Errorf("%s does not document %s, which %s reads", configuration, key, c.sources)
				}
			}
			for _, key := range slices.Sorted(maps.Keys(documented)) {
				if !read[key] {
					t.Errorf("%s documents %s, which %s does not read", configuration, key, c.sources)
				}
			}
		})
	}
}

// keys returns the keys for which files have readers: they keep them in maps of type map[string]func(yamldoc.Node), which they write out, or fill
// by fields[key] = …, where key may run through a list or a map that is written out.
func keys(t *testing.T, pattern string) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, path := range paths {
		if !strings.HasSuffix(path, "_test.go") {
			addKeys(t, path, found)
		}
	}
	if len(found) < 10 {
		t.Fatalf("found %d keys in %s only: are they read in another way now?", len(found), pattern)
	}
	return found
}

// addKeys adds the keys for which a file has readers.
func addKeys(t *testing.T, path string, found map[string]bool) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	add := func(e ast.Expr) {
		if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
			key, err := strconv.Unquote(l.Value)
			if err != nil {
				t.Fatal(err)
			}
			found[key] = true
		}
	}
	addAll := func(l *ast.CompositeLit) {
		for _, e := range l.Elts {
			if pair, ok := e.(*ast.KeyValueExpr); ok {
				e = pair.Key
			}
			add(e)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if m, ok := n.Type.(*ast.MapType); ok {
				if _, ok := m.Value.(*ast.FuncType); ok {
					addAll(n)
				}
			}
		case *ast.IndexExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "fields" {
				add(n.Index)
			}
		case *ast.RangeStmt:
			if l, ok := n.X.(*ast.CompositeLit); ok && mentions(n.Body, "fields") {
				addAll(l)
			}
		}
		return true
	})
}

func mentions(n ast.Node, name string) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		x, ok := n.(*ast.Ident)
		found = found || ok && x.Name == name
		return !found
	})
	return found
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Links between documents lead somewhere.
func TestLinks(t *testing.T) {
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".md") {
			return
		}
		for _, m := range link.FindAllStringSubmatch(read(t, path), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, m[1])
			}
		}
	})
}

var recordName = regexp.MustCompile(`^(\d{4})-[a-z0-9-]+\.md$`)

// Decision records are numbered one by one, and each has the three parts.
func TestDecisionRecords(t *testing.T) {
	const folder = "docs/decisions"
	entries, err := os.ReadDir(filepath.Join(root, folder))
	if err != nil {
		t.Fatal(err)
	}
	for i, entry := range entries { // in order of their names
		m := recordName.FindStringSubmatch(entry.Name())
		if m == nil || m[1] != fmt.Sprintf("%04d", i+1) {
			t.Errorf("%s/%s: want a record called %04d-title.md", folder, entry.Name(), i+1)
			continue
		}
		text := read(t, folder+"/"+entry.Name())
		for _, part := range []string{"# " + strconv.Itoa(i+1) + ". ", "\n## Context\n", "\n## Choice\n", "\n## Consequence\n"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s/%s has no %q", folder, entry.Name(), strings.TrimSpace(part))
			}
		}
	}
}
