package portal

import (
	"fmt"
	"strconv"
	"time"
)

// span is what was called in an hour or on a day.
type span struct {
	Start    time.Time
	Admitted int64
	Refused  int64
}

// The measures of a chart, in units of its viewBox. A wide and a narrow one are drawn, of which the style shows one, so that text has the same size
// on both.
const (
	chartHeight = 170
	chartFoot   = 150 // where the bars stand
	chartHead   = 14  // how high the highest may reach
	chartText   = 7   // the width of a digit of the scale, about
)

// chart is a bar chart of calls, admitted and refused, drawn as SVG, with its numbers in a table behind it.
type chart struct {
	ID    string // of the element
	Title string // what it shows, for those who do not see it
	First string // the head of the table's first column
	Sizes []drawing
	Rows  []chartRow
}

// drawing is a chart at one width.
type drawing struct {
	Class string
	Width int
	Scale []gridLine
	Bars  []bar
	Left  int    // where bars begin
	Now   string // where the moment is that it shows; empty: on its right edge
}

type gridLine struct {
	Y    string
	Says string
}

// bar is one span's.
type bar struct {
	X, Width, Middle    string
	Admitted, AdmittedY string // height and top; empty: none
	Refused, RefusedY   string
	Label               string // empty: there is no room for one
	Says                string // for a pointer that rests on it
}

type chartRow struct {
	Name              string
	Admitted, Refused int64
}

// plot is what a chart is made of.
type plot struct {
	ID, Title, First string              // as in [chart]
	Spans            []span              // in order, all as long, at least one
	Now              time.Time           // the moment that it shows; zero: the end of the last span
	Name             func(s span) string // what a span is called
	Label            func(s span) string // the same, as short as can be
}

// newChart draws a plot. Spans that begin after now are left blank, and have no row in the table.
func newChart(p plot) chart {
	c := chart{ID: p.ID, Title: p.Title, First: p.First}
	var most int64
	for _, s := range p.Spans {
		most = max(most, s.Admitted+s.Refused)
		if p.Now.IsZero() || !s.Start.After(p.Now) {
			c.Rows = append(c.Rows, chartRow{p.Name(s), s.Admitted, s.Refused})
		}
	}
	step := gridStep(most)
	// The least room for a label, in units: it differs, since labels at the narrow width are as large as at the wide one.
	c.Sizes = []drawing{p.draw("wide", 1080, 48, step), p.draw("narrow", 330, 48, step)}
	return c
}

func (p plot) draw(class string, width int, room float64, step int64) drawing {
	top := step * gridLines
	d := drawing{Class: class, Width: width, Left: 12 + chartText*len(group(top))}
	height := func(calls int64) float64 { return float64(calls) / float64(top) * (chartFoot - chartHead) }
	for i := range int64(gridLines + 1) {
		d.Scale = append(d.Scale, gridLine{Y: units(chartFoot - height(i*step)), Says: group(i * step)})
	}
	pitch := float64(width-d.Left-4) / float64(len(p.Spans))
	every := 1 // spans from one label to the next
	for float64(every)*pitch < room {
		every++
	}
	for i, s := range p.Spans {
		x := float64(d.Left) + pitch*float64(i)
		b := bar{X: units(x + pitch*.15), Width: units(pitch * .7), Middle: units(x + pitch/2)}
		admitted, refused := height(s.Admitted), height(s.Refused)
		if s.Admitted > 0 {
			admitted = max(admitted, 1) // one call among thousands is seen, too
			b.Admitted, b.AdmittedY = units(admitted), units(chartFoot-admitted)
		}
		if s.Refused > 0 {
			refused = max(refused, 1)
			b.Refused, b.RefusedY = units(refused), units(chartFoot-admitted-refused)
		}
		if i%every == 0 {
			b.Label = p.Label(s)
		}
		b.Says = fmt.Sprintf("%s: %s, %s refused", p.Name(s), count(s.Admitted, "call", "calls"), group(s.Refused))
		if next := i + 1; next < len(p.Spans) && !p.Now.Before(s.Start) && p.Now.Before(p.Spans[next].Start) {
			part := p.Now.Sub(s.Start).Seconds() / p.Spans[next].Start.Sub(s.Start).Seconds()
			d.Now = units(x + pitch*part)
		}
		d.Bars = append(d.Bars, b)
	}
	return d
}

// gridLines is how many lines a chart has above its foot.
const gridLines = 3

// gridStep returns how many calls lie between two lines of a chart in which the highest bar is of most calls: 1, 2 or 5 with any number of zeros.
func gridStep(most int64) int64 {
	for power := int64(1); ; power *= 10 {
		for _, digit := range []int64{1, 2, 5} {
			if digit*power*gridLines >= most {
				return digit * power
			}
		}
	}
}

// units writes a length in an SVG, to a tenth.
func units(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }
