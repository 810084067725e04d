// Package serve runs `perdiem serve` for benchmarks, with files of their own and an application that a header names.
package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/perdiem/perdiem/bench/internal/program"
)

// Application is the application that Header names.
const (
	Application = "acme"
	Header      = "X-App-Id"
)

// Node is a node that runs.
type Node struct {
	*program.Program
	Gateway string // addresses, as HOST:PORT
	Portal  string
	Admin   string
	Ops     string
	Dir     string // of its files
}

// Start starts the program file as a node with its files in dir, which must exist. more is added to its configuration.
func Start(ctx context.Context, file, dir, upstream, catalog, more string) (*Node, error) {
	config := fmt.Sprintf(`listen: {gateway: "127.0.0.1:0", portal: "127.0.0.1:0", admin: "127.0.0.1:0", ops: "127.0.0.1:0"}
upstream: http://%s
catalog: catalog.yaml
durability: process
identity: [{headers: {application: %s, from: [127.0.0.0/8]}}, {tokens: {}}]
%s
`, upstream, Header, more)
	for name, text := range map[string]string{"perdiem.yaml": config, "catalog.yaml": catalog} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the program has it open for itself
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	p, line, err := program.Start(ctx, log, file, "serve", "-c", filepath.Join(dir, "perdiem.yaml"))
	if err != nil {
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	n := &Node{Program: p, Dir: dir}
	for field := range strings.FieldsSeq(line) {
		name, address, _ := strings.Cut(field, "=")
		if to := map[string]*string{"gateway": &n.Gateway, "portal": &n.Portal, "admin": &n.Admin, "ops": &n.Ops}[name]; to != nil {
			*to = address
		}
	}
	return n, nil
}

// Used returns the calls of an endpoint that are charged to the application.
func (n *Node) Used(ctx context.Context, endpoint string) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Gateway+"/perdiem/usage", nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set(Header, Application)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var report struct {
		Endpoints []struct {
			ID          string
			Application struct{ Used int64 }
		}
	}
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(answer.Body)
		return 0, fmt.Errorf("usage is answered by %s: %s", answer.Status, said)
	}
	if err := json.NewDecoder(answer.Body).Decode(&report); err != nil {
		return 0, err
	}
	for _, e := range report.Endpoints {
		if e.ID == endpoint {
			return e.Application.Used, nil
		}
	}
	return 0, nil
}
