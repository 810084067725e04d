package archtest

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// everything in the table stands for all packages of this module but those for tests.
const everything = "…"

// allowance is what a package may import besides the standard library.
type allowance struct {
	forTests  bool // only tests may import it
	own       []string
	libraries []string
}

// table reads who may import whom.
func table(t *testing.T) map[string]allowance {
	allowances := map[string]allowance{}
	for _, cells := range rows(t, "ARCHITECTURE.md", "Who may import whom") {
		if len(cells) != 4 || len(quoted(cells[0])) != 1 {
			t.Fatalf("the table of imports has the row %q: want package, what it is about, of this module, libraries", cells)
		}
		name := quoted(cells[0])[0]
		if _, twice := allowances[name]; twice {
			t.Errorf("the table of imports names %s twice", name)
		}
		a := allowance{forTests: strings.HasSuffix(cells[0], "(tests)"), own: quoted(cells[2]), libraries: quoted(cells[3])}
		if cells[2] == everything {
			a.own = []string{everything}
		}
		allowances[name] = a
	}
	return allowances
}

func TestImports(t *testing.T) {
	table := table(t)
	all, positions := packages(t)
	for name := range table {
		if !slices.ContainsFunc(all, func(p goPackage) bool { return p.name == name }) {
			t.Errorf("the table of imports names %s, which does not exist: take it out of ARCHITECTURE.md", name)
		}
	}
	for _, p := range all {
		a, ok := table[p.name]
		if !ok {
			t.Errorf("the table of imports has no %s: say in ARCHITECTURE.md what it is about, and what it may import", p.name)
			continue
		}
		for _, f := range p.files {
			for _, spec := range f.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if !a.allows(path, table) {
					t.Errorf("%s: %s may not import %s: hand over what it needs in cmd/perdiem, or change the table in ARCHITECTURE.md and say why",
						positions.Position(spec.Pos()), p.name, path)
				}
			}
		}
	}
}

func (a allowance) allows(path string, table map[string]allowance) bool {
	if own, ok := strings.CutPrefix(path, modulePath+"/"); ok {
		if table[own].forTests && !a.forTests {
			return false
		}
		return slices.Contains(a.own, own) || slices.Contains(a.own, everything)
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return true // the standard library's
	}
	path = strings.TrimPrefix(path, "github.com/")
	return slices.ContainsFunc(a.libraries, func(l string) bool { return path == l || strings.HasPrefix(path, l+"/") })
}

// The test above would be worth nothing if these passed.
func TestImportsAreRefused(t *testing.T) {
	table := map[string]allowance{
		"quota":            {},
		"lease":            {own: []string{"quota"}, libraries: []string{"dchest/siphash"}},
		"lease/ledgertest": {forTests: true, own: []string{"lease", "lease/othertest"}},
		"lease/othertest":  {forTests: true},
		"cmd/perdiem":      {own: []string{everything}},
	}
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"quota", "time", true},
		{"quota", "net/http", true},
		{"quota", modulePath + "/lease", false},
		{"quota", "github.com/dchest/siphash", false},
		{"quota", "golang.org/x/sys/unix", false},
		{"lease", modulePath + "/quota", true},
		{"lease", modulePath + "/quota/more", false},
		{"lease", modulePath + "/lease/ledgertest", false},
		{"lease", "github.com/dchest/siphash", true},
		{"lease", "github.com/dchest/siphash/v2", true},
		{"lease", "github.com/dchest/siphashes", false},
		{"lease", "example.org/dchest/siphash", false},
		{"lease/ledgertest", modulePath + "/lease/othertest", true},
		{"lease/ledgertest", modulePath + "/quota", false},
		{"cmd/perdiem", modulePath + "/lease", true},
		{"cmd/perdiem", modulePath + "/lease/ledgertest", false},
		{"cmd/perdiem", "github.com/dchest/siphash", false},
	} {
		if got := table[c.from].allows(c.to, table); got != c.allowed {
			t.Errorf("%s imports %s: allowed %v, want %v", c.from, c.to, got, c.allowed)
		}
	}
}
