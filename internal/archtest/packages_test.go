package archtest

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// Each package says what it is for, once.
func TestPackageComments(t *testing.T) {
	all, _ := packages(t)
	for _, p := range all {
		var documented []string
		for _, f := range p.files {
			if f.Doc == nil {
				continue
			}
			documented = append(documented, f.path)
			want := "Package " + f.Name.Name + " "
			if f.Name.Name == "main" {
				want = "Command " + path.Base(p.name) + " "
			}
			if !strings.HasPrefix(f.Doc.Text(), want) {
				t.Errorf("%s: the package comment must begin with %q", f.path, want)
			}
		}
		if len(documented) != 1 {
			t.Errorf("%s: one file has the package comment; here %d have: %v", p.name, len(documented), documented)
		}
	}
}

// A folder is called after what it is about.
var emptyNames = []string{"base", "common", "core", "helper", "helpers", "impl", "lib", "manager", "misc", "shared", "types", "util", "utils"}

func TestNames(t *testing.T) {
	all, positions := packages(t)
	for _, p := range all {
		if slices.Contains(emptyNames, path.Base(p.name)) {
			t.Errorf("%s: a folder's name says what it is about; this one does not", p.name)
		}
		for _, f := range p.files {
			ast.Inspect(f.File, func(n ast.Node) bool {
				if s, ok := n.(*ast.TypeSpec); ok && (strings.HasSuffix(s.Name.Name, "Impl") || strings.HasSuffix(s.Name.Name, "Manager")) {
					t.Errorf("%s: the type %s is called after nothing that it is or does", positions.Position(s.Pos()), s.Name.Name)
				}
				return true
			})
		}
	}
}

// What the standard library has for what a package must not do behind its caller's back.
var hidden = map[string][]string{
	"os": {"Getenv", "LookupEnv", "Environ", "ExpandEnv"},
}

// mayRead are the packages that may, with the reason.
var mayRead = map[string]string{
	"cmd/perdiem": "it is the program: it hands the environment on, to where it is asked for",
}

// No package reads the environment, and none does anything when it is merely imported.
func TestNothingHidden(t *testing.T) {
	all, positions := packages(t)
	for _, p := range all {
		for _, f := range p.files {
			ast.Inspect(f.File, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && slices.Contains(hidden[x.Name], n.Sel.Name) && mayRead[p.name] == "" {
						t.Errorf("%s: %s reads the environment: take what it needs as an option", positions.Position(n.Pos()), p.name)
					}
				case *ast.FuncDecl:
					if n.Name.Name == "init" && n.Recv == nil {
						t.Errorf("%s: %s has an init: do it where somebody asks for it", positions.Position(n.Pos()), p.name)
					}
				}
				return true
			})
		}
	}
}
