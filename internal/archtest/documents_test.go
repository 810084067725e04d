package archtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

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
