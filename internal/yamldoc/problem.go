package yamldoc

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a document, and where.
type Problem struct {
	File   string // as it was given to [Parse]
	Line   int    // from 1
	Column int    // from 1, in characters
	Text   string // what is wrong and what to do, in one line
}

// String returns the problem as file:line:column: text.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// Problems is everything that is wrong with a document, in the order of the places. It is an error.
type Problems []Problem

// Error returns the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Join returns the problems of a and b: those of one file together, in the order of their places, the files in the order in which a and b
// name them first.
func Join(a, b Problems) Problems {
	all := slices.Concat(a, b).sorted()
	var files []string
	for _, p := range slices.Concat(a, b) {
		if !slices.Contains(files, p.File) {
			files = append(files, p.File)
		}
	}
	slices.SortStableFunc(all, func(a, b Problem) int {
		return cmp.Compare(slices.Index(files, a.File), slices.Index(files, b.File))
	})
	return all
}

// sorted returns the problems in the order of their places; those of one place stay in the order in which they were found.
func (p Problems) sorted() Problems {
	p = slices.Clone(p)
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p
}
