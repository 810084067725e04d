package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// report prints what the proofs found, and counts the promises that do not hold.
type report struct {
	out      io.Writer
	failures int
}

// title begins a proof's part.
func (r *report) title(format string, args ...any) {
	fmt.Fprintf(r.out, "== "+format+"\n", args...)
}

// note prints a line.
func (r *report) note(format string, args ...any) {
	fmt.Fprintf(r.out, "   "+format+"\n", args...)
}

// promise prints whether what the format says holds.
func (r *report) promise(holds bool, format string, args ...any) {
	verdict := "met     "
	if !holds {
		verdict = "NOT MET "
		r.failures++
	}
	fmt.Fprintf(r.out, "   "+verdict+format+"\n", args...)
}

// table prints rows in columns, to the right.
func (r *report) table(head []string, rows [][]string) {
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{head}, rows...) {
		fmt.Fprintf(w, "   %s\t\n", strings.Join(row, "\t"))
	}
	_ = w.Flush() // a table that cannot be printed has nobody to be told to
}
