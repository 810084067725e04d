package main

import (
	"strings"
	"testing"
)

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{{"nothing"}, {"-rate", "0"}, {"-resets", "-1", "reset"}, {"-durability", "memory"}, {"-rate", "fast"}} {
		if status, _ := run(t.Context(), args, &strings.Builder{}); status != 2 {
			t.Errorf("%q: status %d, want 2", args, status)
		}
	}
}

func TestReport(t *testing.T) {
	var out strings.Builder
	r := &report{out: &out}
	r.title("a proof")
	r.table([]string{"kill", "left"}, [][]string{{"1", "900"}, {"10", "0"}})
	r.promise(true, "%d calls were left", 900)
	r.promise(false, "%d calls were left", 0)
	want := `== a proof
     kill  left
        1   900
       10     0
   met     900 calls were left
   NOT MET 0 calls were left
`
	if out.String() != want || r.failures != 1 {
		t.Errorf("%d failures, and\n%s", r.failures, out.String())
	}
}
