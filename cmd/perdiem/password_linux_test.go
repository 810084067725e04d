package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a terminal: where somebody types and reads, and what a program has as its standard input.
func openTerminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = program.Close(), user.Close() })
	return user, program
}

// shows reports whether the terminal fd shows what is typed.
func shows(t *testing.T, fd int) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// answerer is the standard error of a program: whoever sees a prompt there answers it.
type answerer struct {
	mu      sync.Mutex
	written bytes.Buffer // guarded by mu
	answers []func()     // guarded by mu
}

// Write implements [io.Writer].
func (a *answerer) Write(data []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if strings.HasSuffix(string(data), ": ") && len(a.answers) > 0 {
		go a.answers[0]()
		a.answers = a.answers[1:]
	}
	return a.written.Write(data)
}

// types returns an answer that is typed once the terminal does not show it, and never before.
func types(t *testing.T, user, terminal *os.File, text string) func() {
	fd := int(terminal.Fd())
	return func() {
		for shows(t, fd) {
		}
		if _, err := io.WriteString(user, text+"\n"); err != nil {
			t.Error(err)
		}
	}
}

func TestPasswordIsNotShown(t *testing.T) {
	user, terminal := openTerminal(t)
	const password = "typed horse battery"
	answer := types(t, user, terminal, password)
	stderr := &answerer{answers: []func(){answer, answer}}
	p := &program{stdin: terminal, stderr: stderr}
	got, err := p.readPassword()
	if got != password || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if !shows(t, int(terminal.Fd())) {
		t.Error("the terminal shows nothing that is typed any more")
	}
	// What the terminal showed ends with what is written now.
	if _, err := io.WriteString(terminal, "end"); err != nil {
		t.Fatal(err)
	}
	var shown []byte
	for buffer := make([]byte, 1024); !bytes.HasSuffix(shown, []byte("end")); {
		n, err := user.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, buffer[:n]...)
	}
	if told := stderr.written.String(); bytes.Contains(shown, []byte("horse")) || strings.Contains(told, "horse") {
		t.Errorf("the terminal showed %q, standard error had %q", shown, told)
	}
}

func TestInterruptedPassword(t *testing.T) {
	ours := make(chan os.Signal, 1)
	signal.Notify(ours, os.Interrupt) // so that it does not end the tests, however late it comes
	defer signal.Stop(ours)
	user, terminal := openTerminal(t)
	fd := int(terminal.Fd())
	exited := make(chan bool, 1)
	stderr := &answerer{answers: []func(){func() {
		for shows(t, fd) {
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Error(err)
		}
		if good := <-exited; !good {
			t.Error("it did not end as it should, with a terminal that shows what is typed")
		}
		if _, err := io.WriteString(user, "\n"); err != nil { // the tests' program has not ended
			t.Error(err)
		}
	}}}
	p := &program{stdin: terminal, stderr: stderr, exit: func(status int) { exited <- status == failed && shows(t, fd) }}
	if _, err := p.readPassword(); err == nil {
		t.Error("no error")
	}
}
