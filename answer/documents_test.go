package answer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/quota"
)

// example writes an answer as docs/answers.md shows it.
func example(t *testing.T, status int, h http.Header, body []byte) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\n", status, http.StatusText(status))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		fmt.Fprintf(&b, "%s: %s\n", name, h[name][0])
	}
	if len(body) > 0 {
		var indented bytes.Buffer
		if err := json.Indent(&indented, bytes.TrimSpace(body), "", "  "); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n" + indented.String() + "\n")
	}
	return b.String()
}

// TestAnswersAreDocumented holds docs/answers.md to what is answered: its examples are, byte for byte, and its tables have each member and each
// status, and no other.
func TestAnswersAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../docs/answers.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	start := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	at := start.Add(18 * time.Hour)
	decision := func(used int64, refused quota.Kind) *quota.Decision {
		return &quota.Decision{
			Refused: refused, Cost: 1, HasMember: true,
			Application: quota.Allowance{Limit: 500, Used: used}, Member: quota.Allowance{Limit: 50, Used: 3},
			Day: quota.Day{Date: quota.DateOf(start), Start: start, End: start.AddDate(0, 0, 1), Zone: "UTC"},
		}
	}
	want := map[string]string{}
	for name, w := range map[string]Writer{"admitted": {Headers: IETF}, "legacy": {Headers: Legacy}} {
		h := http.Header{}
		w.Limits(h, decision(12, quota.None), at)
		want[name] = example(t, http.StatusOK, h, nil)
	}
	h := http.Header{}
	status, refused := Writer{}.Refusal(h, nil, Refusal{Decision: decision(500, quota.Application), Application: "acme", Member: "m-1", Endpoint: "posts.create", At: at})
	want["refused"] = example(t, status, h, refused)
	h = http.Header{}
	status, body := Reduced(h, nil)
	h["Retry-After"] = []string{"3"} // it is drawn
	want["protected"] = example(t, status, h, body)
	h = http.Header{}
	status, body = Fault(h, nil, fault.New(fault.Forbidden, "Application acme has no access to posts.create."))
	want["forbidden"] = example(t, status, h, body)

	found := map[string]bool{}
	for _, m := range regexp.MustCompile("(?s)<!-- example: (\\w+) -->\n```http\n(.*?)```\n").FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
		if m[2] != want[m[1]] {
			t.Errorf("the example %s is\n%s\nand should be\n%s", m[1], m[2], want[m[1]])
		}
	}
	for name := range want {
		if !found[name] {
			t.Errorf("there is no example %s", name)
		}
	}

	var members map[string]any
	if err := json.Unmarshal(refused, &members); err != nil {
		t.Fatal(err)
	}
	var codes []string
	for status, p := range problems {
		codes = append(codes, fmt.Sprintf("| %d | `%s` |", status, p.code))
	}
	rows := regexp.MustCompile("(?m)^\\| (?:`[a-zA-Z-]+`|\\d{3} \\| `[A-Z_]+`) \\|").FindAllString(text, -1)
	for name := range members {
		codes = append(codes, "| `"+name+"` |")
	}
	slices.Sort(codes)
	slices.Sort(rows)
	if !slices.Equal(codes, rows) {
		t.Errorf("the tables have the rows\n%s\nand should have\n%s", strings.Join(rows, "\n"), strings.Join(codes, "\n"))
	}
}
