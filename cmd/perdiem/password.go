package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/perdiem/perdiem/identity"
)

// readPassword returns a new password: asked for twice where standard input is a terminal, which does not show it, and else the first line
// of standard input.
func (p *program) readPassword() (string, error) {
	password, err := p.typedPassword()
	if err != nil {
		return "", err
	}
	return password, identity.CheckPassword(password)
}

func (p *program) typedPassword() (string, error) {
	if f, ok := p.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return p.askPassword(int(f.Fd()))
	}
	return lineOf(p.stdin)
}

// lineOf returns the first line that r has. What follows it is not waited for.
func lineOf(r io.Reader) (string, error) {
	// Of what is too long a byte more is read than may be, which tells it.
	line, err := bufio.NewReader(io.LimitReader(r, identity.MaxPassword+int64(len("\r\n"))+1)).ReadString('\n')
	switch {
	case err == nil:
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	case !errors.Is(err, io.EOF):
		return "", err
	}
	if line == "" {
		return "", errors.New("there is no password: type it at a terminal, or give it as a line of standard input")
	}
	return line, nil
}

// askPassword asks at the terminal fd. Whoever interrupts gets back a terminal that shows what is typed.
func (p *program) askPassword(fd int) (string, error) {
	state, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	answered := make(chan struct{})
	defer func() {
		signal.Stop(interrupted)
		close(answered)
	}()
	go func() {
		select {
		case <-interrupted:
			_ = term.Restore(fd, state) // nothing is left to be done about it
			fmt.Fprintln(p.stderr, "\nperdiem: interrupted: nothing was changed")
			p.exit(failed)
		case <-answered:
		}
	}()
	ask := func(prompt string) (string, error) {
		fmt.Fprint(p.stderr, prompt)
		typed, err := term.ReadPassword(fd)
		fmt.Fprintln(p.stderr)
		return string(typed), err
	}
	password, err := ask("Password: ")
	if err != nil {
		return "", err
	}
	if err := identity.CheckPassword(password); err != nil { // before it is typed again
		return "", err
	}
	again, err := ask("The same again: ")
	if err != nil {
		return "", err
	}
	if again != password {
		return "", errors.New("the two passwords differ: nothing was changed")
	}
	return password, nil
}
