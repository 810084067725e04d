package portal

import (
	"strconv"
	"strings"
	"time"
)

// group returns a number with its thousands set apart: 12,480.
func group(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	first := (len(digits)-1)%3 + 1
	var b strings.Builder
	b.WriteString(sign + digits[:first])
	for ; first < len(digits); first += 3 {
		b.WriteString("," + digits[first:first+3])
	}
	return b.String()
}

// count returns a number of things, with the word for one or for more of them.
func count(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return group(n) + " " + more
}

// An instant as people read it, in UTC: 23 Nov 2026, 18:47; exact to the second where that matters.
const (
	instantLayout = "2 Jan 2006, 15:04"
	exactLayout   = "2 Jan 2006, 15:04:05"
)

// date returns an instant for a sentence.
func date(t time.Time) string { return t.UTC().Format(instantLayout + " UTC") }

func join(words []string) string { return strings.Join(words, ", ") }

// text returns a number of calls as a program reads it; nil is no limit.
func text(n *int64) string {
	if n == nil {
		return "unlimited"
	}
	return strconv.FormatInt(*n, 10)
}

// calls is a cell with a number of calls.
type calls struct {
	Field, Label string
	Value        string // for programs
	Shown        string // for people
}

// newCalls returns the cell of a number of calls; nil is no limit.
func newCalls(field, label string, n *int64) calls {
	c := calls{Field: field, Label: label, Value: text(n), Shown: text(n)}
	if n != nil {
		c.Shown = group(*n)
	}
	return c
}
