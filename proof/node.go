package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// build builds perdiem and returns the binary's path.
func build(ctx context.Context, folder string) (string, error) {
	binary := filepath.Join(folder, "perdiem")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/perdiem/perdiem/cmd/perdiem").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("perdiem cannot be built: %w\n%s", err, out)
	}
	return binary, nil
}

// site is a folder with a node's configuration, in which nodes are started one after another.
type site struct {
	binary string
	folder string
}

// settings are what differs between the sites of the proofs.
type settings struct {
	upstream   string // host:port
	durability string
	starts     time.Time // the day starts at this time of day, in UTC
	catalog    string
}

// newSite writes a configuration and a catalog into a folder of their own.
func newSite(b *lab, s settings) (*site, error) {
	folder, err := os.MkdirTemp(b.folder, "site-")
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`listen: {gateway: "127.0.0.1:0", portal: "127.0.0.1:0", admin: "127.0.0.1:0", ops: "127.0.0.1:0"}
upstream: http://%s
data: ./data
durability: %s
catalog: catalog.yaml
day: {zone: UTC, starts: "%s"}
identity:
  - headers: {application: X-App-Id, member: X-Member-Id, from: [127.0.0.0/8]}
`, s.upstream, s.durability, s.starts.UTC().Format(time.TimeOnly))
	err = errors.Join(
		os.WriteFile(filepath.Join(folder, "perdiem.yaml"), []byte(config), 0o600),
		os.WriteFile(filepath.Join(folder, "catalog.yaml"), []byte(s.catalog), 0o600),
	)
	return &site{binary: b.binary, folder: folder}, err
}

// node is a running perdiem.
type node struct {
	address string // of the gateway, host:port
	admin   string // of the admin API
	process *os.Process
	exited  chan struct{} // closed when the process has ended
	state   *os.ProcessState
}

// start starts a node and returns when it is ready. Its log goes to the site's folder.
func (s *site) start(ctx context.Context) (*node, error) {
	log, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(s.binary, "serve", "-c", filepath.Join(s.folder, "perdiem.yaml"))
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	n := &node{process: cmd.Process, exited: make(chan struct{})}
	ready := make(chan map[string]string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if addresses := readyAddresses(lines.Text()); addresses != nil {
				ready <- addresses
				break
			}
		}
		_, _ = io.Copy(io.Discard, stdout) // what a node says later is nobody's
		_ = cmd.Wait()                     // how it ended is in the state
		n.state = cmd.ProcessState
		close(n.exited)
	}()
	select {
	case addresses := <-ready:
		n.address, n.admin = addresses["gateway"], addresses["admin"]
		if n.address == "" || n.admin == "" {
			return nil, errors.Join(fmt.Errorf("perdiem serve does not say where it listens: %v", addresses), n.kill())
		}
		return n, nil
	case <-n.exited:
		said, _ := os.ReadFile(filepath.Join(s.folder, "log"))
		return nil, fmt.Errorf("perdiem serve ended before it was ready (%v):\n%s", n.state, said)
	case <-time.After(patience):
		return nil, errors.Join(fmt.Errorf("perdiem serve was not ready after %v", patience), n.kill())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), n.kill())
	}
}

// readyAddresses returns the addresses, by the listeners' names, in the line that a node prints when it serves; nil for any other line.
func readyAddresses(line string) map[string]string {
	rest, ok := strings.CutPrefix(line, "perdiem: ready ")
	if !ok {
		return nil
	}
	addresses := map[string]string{}
	for word := range strings.FieldsSeq(rest) {
		name, address, _ := strings.Cut(word, "=")
		addresses[name] = address
	}
	return addresses
}

// kill ends the node with SIGKILL and waits until it is gone. It does nothing when it is gone already.
func (n *node) kill() error {
	if err := n.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-n.exited
	return nil
}

// killed reports whether it was SIGKILL that ended the node.
func (n *node) killed() bool {
	status, ok := n.state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// stop ends the node as an operator would. The error says when it did not end well.
func (n *node) stop() error {
	if err := n.process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.exited:
	case <-time.After(patience + 5*time.Second):
		return errors.Join(errors.New("the node did not stop on SIGTERM"), n.kill())
	}
	if code := n.state.ExitCode(); code != 0 {
		return fmt.Errorf("the node ended with %v on SIGTERM", n.state)
	}
	return nil
}

// frozen reports whether the node is stopped, as by SIGSTOP.
func (n *node) frozen() bool {
	stat, err := n.stat()
	return err == nil && len(stat) > 0 && stat[0] == "T"
}

// stat returns what the kernel tells of the process, from the state on (proc(5), /proc/pid/stat, field 3).
func (n *node) stat() ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.process.Pid))
	if err != nil {
		return nil, err
	}
	// The name before the state is in parentheses and may hold anything.
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])), nil
}
