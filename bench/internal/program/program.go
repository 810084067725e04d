// Package program builds and runs the programs that benchmarks consist of.
package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Build builds the main package at pkg, a path as the go command takes it from the folder dir, and writes the program to the file to.
func Build(ctx context.Context, dir, pkg, to string) error {
	return build(ctx, dir, to, "build", "-o", to, pkg)
}

// BuildTest does the same with a package's tests.
func BuildTest(ctx context.Context, dir, pkg, to string) error {
	return build(ctx, dir, to, "test", "-c", "-o", to, pkg)
}

func build(ctx context.Context, dir, to string, args ...string) error {
	if !filepath.IsAbs(to) {
		return fmt.Errorf("%s: must be an absolute path", to)
	}
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = dir
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	return nil
}

// Program is one that runs.
type Program struct {
	command *exec.Cmd
	ended   chan struct{}
	err     error // why it ended; to be read once ended is closed
}

// patience is how long a program may take to stop.
const patience = 30 * time.Second

// Start starts a program and waits, as long as ctx lasts, for the first line that it prints on standard output, which it returns: by
// it a server says that it serves. What it says on standard error goes to stderr. The program ends when this one does.
func Start(ctx context.Context, stderr io.Writer, file string, args ...string) (p *Program, line string, err error) {
	p, first, err := start(stderr, syscall.SIGKILL, file, args...)
	if err != nil {
		return nil, "", err
	}
	select {
	case line = <-first:
		return p, strings.TrimSpace(line), nil
	case <-p.ended:
		return nil, "", fmt.Errorf("%s ended before it served: %w", filepath.Base(file), p.err)
	case <-ctx.Done():
		p.Kill()
		return nil, "", fmt.Errorf("%s has said nothing yet: %w", filepath.Base(file), ctx.Err())
	}
}

// StartAt does the same with a server that says nothing: it waits until a connection to the address can be made. When this program ends, the
// server is asked to end, so that it can end processes of its own.
func StartAt(ctx context.Context, stderr io.Writer, address, file string, args ...string) (*Program, error) {
	p, _, err := start(stderr, syscall.SIGTERM, file, args...)
	if err != nil {
		return nil, err
	}
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return p, c.Close()
		}
		select {
		case <-retry.C:
		case <-p.ended:
			return nil, fmt.Errorf("%s ended before it served: %w", filepath.Base(file), p.err)
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%s does not serve yet: %w", filepath.Base(file), err), p.Stop())
		}
	}
}

// start starts a program, which gets the signal when this one ends. The channel gets the first line that it prints.
func start(stderr io.Writer, orphaned syscall.Signal, file string, args ...string) (*Program, <-chan string, error) {
	p := &Program{command: exec.Command(file, args...), ended: make(chan struct{})}
	p.command.Stderr = stderr
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: orphaned}
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, nil, err
	}
	first := make(chan string, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(stdout)
		if lines.Scan() {
			first <- lines.Text()
		}
		_, _ = io.Copy(io.Discard, stdout)
		p.err = p.command.Wait()
	}()
	return p, first, nil
}

// PID returns the program's process id.
func (p *Program) PID() int { return p.command.Process.Pid }

// Kill ends the program as a crash does, and returns when it is gone.
func (p *Program) Kill() {
	_ = p.command.Process.Kill() // it fails only where the program has ended
	<-p.ended
}

// Stop asks the program to end, and kills it when it takes too long. It returns why it ended otherwise than well.
func (p *Program) Stop() error {
	_ = p.command.Process.Signal(os.Interrupt) // as above
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		p.Kill()
		return fmt.Errorf("%s did not stop within %v", filepath.Base(p.command.Path), patience)
	}
}
