package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w*)\(`)
	inQuotes = regexp.MustCompile("`([^`]+)`")
)

const scripts = "cmd/perdiem/testdata/script"

// Each defence that SECURITY.md tells of names a test that shows it, and each test that it names exists.
func TestDefencesAreShown(t *testing.T) {
	tests := map[string]bool{}
	walk(t, func(path string) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, m := range testName.FindAllStringSubmatch(read(t, path), -1) {
			tests[m[1]] = true
		}
	})
	entries, err := os.ReadDir(filepath.Join(root, scripts))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		tests[entry.Name()] = true
	}
	rows := 0
	for line := range strings.Lines(read(t, "SECURITY.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) == "shown by" }) {
			continue
		}
		rows++
		if len(cells) != 3 || strings.TrimSpace(cells[1]) == "" {
			t.Errorf("SECURITY.md: %s: want what may be done, what stops it, and the tests that show it", strings.TrimSpace(line))
			continue
		}
		names := inQuotes.FindAllStringSubmatch(cells[2], -1)
		if len(names) == 0 {
			t.Errorf("SECURITY.md names no test that shows what stops%s", cells[0])
		}
		for _, m := range names {
			if !tests[m[1]] {
				t.Errorf("SECURITY.md names %s, and there is no such test", m[1])
			}
		}
	}
	if rows < 20 {
		t.Errorf("SECURITY.md has %d rows only: are they written in another way now?", rows)
	}
}
