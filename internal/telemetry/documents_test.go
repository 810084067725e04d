package telemetry

import (
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// described is what a description in the registry, or a row of the document, says of a metric.
type described struct {
	labels string // sorted
	kind   string // empty: the registry does not say, since nothing was counted yet
}

var (
	descName   = regexp.MustCompile(`fqName: "(perdiem_[^"]*)"`)
	constName  = regexp.MustCompile(`([a-z_]+)="`)
	quotedName = regexp.MustCompile("`([^`]+)`")
	typeLine   = regexp.MustCompile(`(?m)^# TYPE (perdiem_\S+) (\S+)$`)
	labelLists = regexp.MustCompile(`constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
)

// TestMetricsAreDocumented: docs/metrics.md has a row for each metric of perdiem's, with its kind and its labels, and no other.
func TestMetricsAreDocumented(t *testing.T) {
	tel, err := New(Options{Ready: func() error { return nil }, Figures: func() Figures {
		return Figures{Certificates: map[string]time.Time{"gateway": time.Unix(0, 0)}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc)
	go func() {
		tel.metrics.Describe(descs)
		close(descs)
	}()
	registered := map[string]described{}
	for d := range descs {
		text := d.String()
		name := descName.FindStringSubmatch(text)
		if name == nil {
			continue // Go's own
		}
		lists := labelLists.FindStringSubmatch(text)
		if lists == nil {
			t.Fatalf("a description is written in another way now: %s", text)
		}
		var labels []string
		for _, m := range constName.FindAllStringSubmatch(lists[1], -1) {
			labels = append(labels, m[1])
		}
		if lists[2] != "" {
			labels = append(labels, strings.Split(lists[2], ",")...)
		}
		slices.Sort(labels)
		registered[name[1]] = described{labels: strings.Join(labels, " ")}
	}
	tel.Request(Request{Outcome: "admitted"})
	tel.Decision(0)
	w := httptest.NewRecorder()
	tel.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, m := range typeLine.FindAllStringSubmatch(w.Body.String(), -1) {
		d := registered[m[1]]
		d.kind = m[2]
		registered[m[1]] = d
	}
	if len(registered) < 15 {
		t.Fatalf("%d metrics are registered only", len(registered))
	}

	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]described{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| `perdiem_") || len(cells) != 4 { // the other table is of alerts
			continue
		}
		name := quotedName.FindStringSubmatch(cells[0])[1]
		var labels []string
		for _, m := range quotedName.FindAllStringSubmatch(cells[2], -1) {
			labels = append(labels, m[1])
		}
		slices.Sort(labels)
		row := described{labels: strings.Join(labels, " "), kind: strings.TrimSpace(cells[1])}
		if registered[name].kind == "" {
			row.kind = ""
		}
		if _, twice := rows[name]; twice || strings.TrimSpace(cells[3]) == "" {
			t.Errorf("docs/metrics.md has %s twice, or without a meaning", name)
		}
		rows[name] = row
	}
	if diff := cmp.Diff(registered, rows, cmp.AllowUnexported(described{})); diff != "" {
		t.Errorf("docs/metrics.md: -registered +documented\n%s", diff)
	}
}
