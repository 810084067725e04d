package portal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// TestAuditWords reads which actions there are from where they are declared, and has a word for each.
func TestAuditWords(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../registry/audit.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	actions := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Action") {
			return true
		}
		action, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		if actions++; auditWords[action] == "" {
			t.Errorf("%s (%s) has no words", spec.Names[0].Name, action)
		}
		return true
	})
	if actions != len(auditWords) {
		t.Errorf("there are %d actions, and words for %d", actions, len(auditWords))
	}
}
