package main

import (
	"strings"
	"testing"
)

const said = `goos: linux
pkg: example
BenchmarkFloor-2          	 5000000	       400.0 ns/op	       0 allocs/op
BenchmarkTake/refused=member-2 	 5000000	       300.0 ns/op	         0.0005 borrows/op	       1 allocs/op
BenchmarkGateway/perdiem 1 9000 requests/s
PASS
`

func TestRead(t *testing.T) {
	r := round{}
	if err := r.read([]byte(said)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		benchmark, unit string
		want            float64
	}{
		{"Floor", "ns/op", 400},
		{"Take/refused=member", "ns/op", 300},
		{"Take/refused=member", "borrows/op", 0.0005},
		{"Take/refused=member", "allocs/op", 1},
		{"Gateway/perdiem", "requests/s", 9000},
	} {
		if got, ok := r[c.benchmark][c.unit]; !ok || got != c.want {
			t.Errorf("%s %s = %v, %v; want %v", c.benchmark, c.unit, got, ok, c.want)
		}
	}
}

func TestKeep(t *testing.T) {
	m := &measured{others: []float64{0}}
	for _, ns := range []float64{110, 130, 90} {
		m.rounds = append(m.rounds, round{
			"Floor":   {"ns/op": 100},
			"Subject": {"ns/op": ns, "calls/s": 1e9 / ns, "disk-allows/s": 8e6},
		})
	}
	for _, c := range []struct {
		name   string
		p      promise
		median float64
		met    bool
	}{
		{"ratio within", promise{subject: "Subject", floor: "Floor", unit: "ns/op", most: true, bound: 1.2}, 1.1, true},
		{"ratio beyond", promise{subject: "Subject", floor: "Floor", unit: "ns/op", most: true, bound: 1}, 1.1, false},
		{"enough", promise{subject: "Subject", unit: "calls/s", bound: 9e6}, 1e9 / 110, true},
		{"too little", promise{subject: "Subject", unit: "calls/s", bound: 1e7}, 1e9 / 110, false},
		{"as much as the disk allows", promise{subject: "Subject", unit: "calls/s", bound: 1e7, allowed: "disk-allows/s"}, 1e9 / 110, true},
	} {
		s, _, met := c.p.keep(m)
		if s.median() != c.median || met != c.met {
			t.Errorf("%s: %v, met %v; want %v, %v", c.name, s.median(), met, c.median, c.met)
		}
	}
	if _, _, met := (promise{subject: "Missing", unit: "ns/op", most: true, bound: 1}).keep(m); met {
		t.Error("a promise that was not measured counts as met")
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		s    sample
		want float64
		text string
	}{
		{sample{3}, 3, "3"},
		{sample{3, 1}, 2, "2 (1 to 3)"},
		{sample{1.25, 0.5, 2}, 1.25, "1.25 (0.5 to 2)"},
	} {
		if got := c.s.median(); got != c.want || c.s.String() != c.text {
			t.Errorf("%v: %v, %q; want %v, %q", []float64(c.s), got, c.s.String(), c.want, c.text)
		}
	}
}

func TestPrint(t *testing.T) {
	m := &measured{others: []float64{0.01}, rounds: []round{{"Subject": {"ns/op": 100}}}}
	s := suite{name: "name", promises: []promise{{says: "fast", subject: "Subject", unit: "ns/op", most: true, bound: 50}}}
	var b strings.Builder
	if s.print(&b, m) || !strings.Contains(b.String(), "NOT MET") || strings.Contains(b.String(), "measure again") {
		t.Errorf("printed:\n%s", b.String())
	}
}

// Each promise names benchmarks that its suite measures, as far as that can be told from their names.
func TestSuites(t *testing.T) {
	for _, s := range suites() {
		for _, p := range s.promises {
			for _, name := range []string{p.subject, p.floor} {
				first, _, _ := strings.Cut(name, "/")
				found := name == ""
				for _, c := range s.sources {
					found = found || c.target != "" && name == "Gateway/"+string(c.target) || c.bench != "" && strings.Contains(c.bench, "^Benchmark"+first+"$")
				}
				if !found {
					t.Errorf("%s: nothing measures %s", s.name, name)
				}
			}
		}
	}
}
