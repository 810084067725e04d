// Package trial is the frame of a program that measures and compares what it finds with what is promised: its folder, its own file, which it starts
// again in other roles, and the table that it prints.
package trial

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"

	"github.com/perdiem/perdiem/bench/internal/program"
)

// Main runs a program until it is done or a signal ends it, and ends the process: with 1 when it failed, or a promise was not met.
func Main(name string, run func(context.Context) (met bool, err error)) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	met, err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
	}
	if err != nil || !met {
		os.Exit(1)
	}
}

// Trial is one run. It is not safe for concurrent use.
type Trial struct {
	Self string // the program's own file
	Dir  string // a folder of the run's own

	out  string
	rows *tabwriter.Writer
	met  bool
}

// Begin begins a run with a folder of its own in the folder out, which is made where there is none. Its table goes to w.
func Begin(w io.Writer, name, out string) (*Trial, error) {
	t := &Trial{met: true, rows: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	var err error
	if t.out, err = filepath.Abs(out); err != nil {
		return nil, err
	}
	if t.Self, err = os.Executable(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(t.out, 0o755); err != nil {
		return nil, err
	}
	t.Dir, err = os.MkdirTemp(t.out, name+"-")
	return t, err
}

// End removes the run's folder.
func (t *Trial) End() { _ = os.RemoveAll(t.Dir) }

// BuildPerdiem builds the program that is measured, and returns its file.
func (t *Trial) BuildPerdiem(ctx context.Context) (file string, err error) {
	file = filepath.Join(t.out, "bin", "perdiem")
	return file, program.Build(ctx, "..", "./cmd/perdiem", file)
}

// Row notes a figure of which nothing is promised.
func (t *Trial) Row(name, figure string) { fmt.Fprintf(t.rows, "  %s\t%s\n", name, figure) }

// Promise notes a figure, what is promised of it, and whether that is met.
func (t *Trial) Promise(name, figure, wanted string, met bool) {
	verdict := "met"
	if !met {
		verdict, t.met = "NOT MET", false
	}
	fmt.Fprintf(t.rows, "  %s\t%s\t%s\t%s\n", name, figure, wanted, verdict)
}

// Flush prints what was noted.
func (t *Trial) Flush() { _ = t.rows.Flush() }

// Met reports whether every promise was met so far.
func (t *Trial) Met() bool { return t.met }
