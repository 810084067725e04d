package testkit

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

//go:embed axe/package.json axe/package-lock.json
var axeFiles embed.FS

// Axe is axe-core, which finds what keeps people from using a page.
type Axe struct{ source string }

// Violation is what axe-core finds on a page.
type Violation struct {
	ID     string // of the rule
	Impact string // minor, moderate, serious or critical
	Help   string
	Nodes  []struct {
		HTML           string
		FailureSummary string
	}
}

// String says what is wrong, and where.
func (v Violation) String() string {
	lines := []string{fmt.Sprintf("%s (%s): %s", v.ID, v.Impact, v.Help)}
	for _, n := range v.Nodes {
		lines = append(lines, n.HTML, n.FailureSummary)
	}
	return strings.Join(lines, "\n  ")
}

// NewAxe returns axe-core, which npm installs as it does an [Issuer].
func NewAxe(t testing.TB) *Axe {
	t.Helper()
	folder, err := installNode("axe", axeFiles)
	if err != nil {
		t.Fatalf("axe-core cannot be installed (it needs npm: on Debian, apt-get install nodejs npm): %v", err)
	}
	source, err := os.ReadFile(filepath.Join(folder, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return &Axe{string(source)}
}

// Look returns all that axe-core finds on the page that a tab shows.
func (a *Axe) Look(tab context.Context) ([]Violation, error) {
	// The page's Content-Security-Policy does not hold for what the browser is told this way.
	if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](a.source+"\n;true")); err != nil {
		return nil, err
	}
	const look = `axe.run(document, {resultTypes: ["violations"]}).then(found => JSON.stringify(found.violations))`
	text, err := chromedp.Run(tab, chromedp.Evaluate[string](look, chromedp.EvalAwaitPromise))
	if err != nil {
		return nil, err
	}
	var found []Violation
	return found, json.Unmarshal([]byte(text), &found)
}
