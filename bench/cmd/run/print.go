package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"text/tabwriter"
)

// sample is a figure, once a round.
type sample []float64

// median returns the middle of the figures, or the mean of the two in the middle.
func (s sample) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// String returns the median and, when the figures differ, the spread.
func (s sample) String() string {
	if least, most := slices.Min(s), slices.Max(s); least != most {
		return fmt.Sprintf("%s (%s to %s)", short(s.median()), short(least), short(most))
	}
	return short(s.median())
}

// short writes a figure with three digits that count, or as a whole number.
func short(x float64) string {
	if math.Abs(x) >= 100 || x == math.Trunc(x) {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

// sample returns a benchmark's figures in a unit.
func (m *measured) sample(benchmark, unit string) (s sample) {
	for _, r := range m.rounds {
		if x, ok := r[benchmark][unit]; ok {
			s = append(s, x)
		}
	}
	return s
}

// keep compares a promise with what was measured: the figures, or their ratios to the floor's in the same round, what they were to be, and
// whether they are.
func (p promise) keep(m *measured) (s sample, bound float64, met bool) {
	s, bound = m.sample(p.subject, p.unit), p.bound
	if p.floor != "" {
		floor := m.sample(p.floor, p.unit)
		if len(floor) != len(s) {
			return nil, bound, false
		}
		for i := range s {
			s[i] /= floor[i]
		}
	}
	if p.allowed != "" {
		bound = min(bound, m.sample(p.subject, p.allowed).median())
	}
	if len(s) == 0 {
		return nil, bound, false
	}
	if p.most {
		return s, bound, s.median() <= bound
	}
	return s, bound, s.median() >= bound
}

// tooBusy is how many processors may be busy with other things before the figures are worth little.
const tooBusy = 0.05

// print prints a suite's figures and reports whether its promises are met.
func (s suite) print(to io.Writer, m *measured) (met bool) {
	met = true
	fmt.Fprintf(to, "\n%s: %s\n", s.name, s.title)
	for _, note := range m.notes {
		fmt.Fprintf(to, "  %s\n", note)
	}
	if busy := sample(m.others); slices.Max(busy) > tooBusy {
		fmt.Fprintf(to, "  other things kept %v processors busy: measure again on a quiet machine\n", busy)
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, benchmark := range m.benchmarks() {
		units := map[string]bool{}
		for _, r := range m.rounds {
			for unit := range r[benchmark] {
				units[unit] = true
			}
		}
		name := benchmark
		for _, unit := range slices.Sorted(maps.Keys(units)) {
			fmt.Fprintf(w, "  %s\t%s\t%v\n", name, unit, m.sample(benchmark, unit))
			name = "" // it is named once
		}
	}
	w.Flush()
	for _, p := range s.promises {
		values, bound, ok := p.keep(m)
		word, verdict := "at least", "met"
		if p.most {
			word = "at most"
		}
		if !ok {
			verdict, met = "NOT MET", false
		}
		if len(values) == 0 {
			fmt.Fprintf(w, "  %s\tnot measured\t%s %s\t%s\n", p.says, word, short(bound), verdict)
			continue
		}
		fmt.Fprintf(w, "  %s\t%v\t%s %s\t%s\n", p.says, values, word, short(bound), verdict)
	}
	w.Flush()
	return met
}

// benchmarks returns the names of what was measured.
func (m *measured) benchmarks() []string {
	names := map[string]bool{}
	for _, r := range m.rounds {
		for name := range r {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
