package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	root       = "../.."
	modulePath = "github.com/perdiem/perdiem"
)

// goPackage is a package of the module, its tests left out.
type goPackage struct {
	name  string // its folder, from the module's root
	files []goFile
}

type goFile struct {
	path string // from the module's root
	*ast.File
}

// packages reads the module's packages. Build tags are ignored: a rule holds on every system.
func packages(t *testing.T) (packages []goPackage, positions *token.FileSet) {
	t.Helper()
	positions = token.NewFileSet()
	byName := map[string]int{}
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return
		}
		file, err := parser.ParseFile(positions, filepath.Join(root, path), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.ToSlash(filepath.Dir(path))
		i, ok := byName[name]
		if !ok {
			i = len(packages)
			byName[name] = i
			packages = append(packages, goPackage{name: name})
		}
		packages[i].files = append(packages[i].files, goFile{path, file})
	})
	if len(packages) < 10 {
		t.Fatalf("found %d packages only: is %s still the module's root?", len(packages), root)
	}
	return packages, positions
}

// walk visits the files of the module, by their paths from its root: not those of other modules, of test data, or hidden ones.
func walk(t *testing.T, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		if !entry.IsDir() {
			path, err = filepath.Rel(root, path)
			visit(path)
			return err
		}
		_, err = os.Stat(filepath.Join(path, "go.mod"))
		if err == nil || entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// read returns a file of the module.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rows returns the cells of the tables under a heading of a document, without their first two lines.
func rows(t *testing.T, path, heading string) (rows [][]string) {
	t.Helper()
	_, section, found := strings.Cut(read(t, path), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", path, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	line := 0
	for text := range strings.Lines(section) {
		text = strings.TrimSpace(text)
		if !strings.HasPrefix(text, "|") {
			line = 0
			continue
		}
		if line++; line <= 2 {
			continue
		}
		cells := strings.Split(strings.Trim(text, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	if len(rows) == 0 {
		t.Fatalf("%s has no table under %q", path, heading)
	}
	return rows
}

// quoted returns the texts that stand between backquotes.
func quoted(cell string) (texts []string) {
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			texts = append(texts, part)
		}
	}
	return texts
}
