package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perdiem/perdiem/registry"
)

// perdiemHere runs the program in this process, and returns its exit status and what it printed.
func perdiemHere(env map[string]string, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	p := program{stdout: &out, stderr: &errs, now: time.Now, exit: func(int) {}, getenv: func(name string) (string, bool) {
		value, set := env[name]
		return value, set
	}}
	status = p.run(args)
	return status, out.String(), errs.String()
}

// TestRenameNew renames where the file system can do it in one step, and where it can neither do that nor make hard links.
func TestRenameNew(t *testing.T) {
	for name, noReplace := range map[string]func(from, to string) error{
		"as it is here": renameNoReplace,
		"in two steps":  func(string, string) error { return syscall.EINVAL },
	} {
		folder := t.TempDir()
		writeFile(t, folder, "first", "1")
		writeFile(t, folder, "second", "2")
		if err := renameOrReserve(filepath.Join(folder, "first"), filepath.Join(folder, "backup"), noReplace); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := renameOrReserve(filepath.Join(folder, "second"), filepath.Join(folder, "backup"), noReplace); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s, a file that is there: %v", name, err)
		}
		files, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(folder, "backup"))
		if err != nil || string(data) != "1" || len(files) != 2 {
			t.Errorf("%s: %q, %v in %v", name, data, err, files)
		}
		if err := renameOrReserve(filepath.Join(folder, "none"), filepath.Join(folder, "new"), noReplace); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s, a file that is not there: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(folder, "new")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: what failed left %v", name, err)
		}
	}
}

// TestTokenListIsPaged lists more tokens than the admin API tells at a time.
func TestTokenListIsPaged(t *testing.T) {
	folder := t.TempDir()
	writeFile(t, folder, "perdiem.yaml", quietNode)
	writeFile(t, folder, "catalog.yaml", oneCatalog)
	n, err := startHere(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	const tokens = registry.MaxTokens + 7
	for i := range tokens {
		hash := registry.Hash{byte(i), byte(i >> 8), 1}
		if _, err := n.registry.IssueToken(t.Context(), registry.NewToken{Hash: hash, Application: "acme", Member: fmt.Sprintf("m-%04d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	status, out, errs := perdiemHere(nil, "token", "list", "--app", "acme", "--server", "http://"+n.address.Admin, "--key-file", filepath.Join(folder, "data", "operator.key"))
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if status != 0 || len(lines) != 1+tokens || !strings.Contains(lines[tokens], fmt.Sprintf(" m-%04d ", tokens-1)) || strings.Count(out, "MEMBER") != 1 {
		t.Errorf("status %d, %d lines, %s", status, len(lines), errs)
	}
}

// TestNodeFile reads what nodes of this version and of others write.
func TestNodeFile(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{`{"admin":"127.0.0.1:8082","ops":"127.0.0.1:9090"}`, ""}, // the first perdiem's
		{`{"format":1,"admin":"127.0.0.1:8082","ops":"127.0.0.1:9090"}`, ""},
		{`{"format":2,"admin":"127.0.0.1:8082"}`, "was written by a newer perdiem (its form is version 2, and this one knows none after 1): use the commands of the perdiem that runs"},
		{`{"format":2,"admin":["127.0.0.1:8082"]}`, "was written by a newer perdiem"},
		{`{"format":-1,"admin":"127.0.0.1:8082"}`, "cannot be read"},
		{`{"format":1}`, "cannot be read"},
		{`{`, "cannot be read"},
	} {
		a, err := parseNodeFile("node.json", []byte(c.text))
		if c.says == "" && (err != nil || a.Admin != "127.0.0.1:8082") || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %+v, %v", c.text, a, err)
		}
	}
	folder := t.TempDir()
	want := addresses{Gateway: "127.0.0.1:1", Admin: "127.0.0.1:2", Ops: "127.0.0.1:3"}
	if err := writeNodeFile(folder, want); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(folder, nodeFile))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseNodeFile(nodeFile, data); err != nil || got != want || !bytes.Contains(data, []byte(`"format":1`)) {
		t.Errorf("%s is read as %+v, %v", data, got, err)
	}
}

// TestFirstFormat restores a backup that the first version of each format wrote, and serves it: whoever upgrades has such files. The archive
// is never made anew.
func TestFirstFormat(t *testing.T) {
	folder := t.TempDir()
	data := filepath.Join(folder, "data")
	if status, _, errs := perdiemHere(nil, "restore", "testdata/backup-1.tar", "--data", data); status != 0 {
		t.Fatal(errs)
	}
	writeFile(t, folder, "perdiem.yaml", "listen: {portal: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", ops: \"127.0.0.1:0\"}\n")
	c, err := readConfig(filepath.Join(folder, "perdiem.yaml"), getenv)
	if err != nil {
		t.Fatal(err)
	}
	// It is the day of the backup still.
	at := time.Date(2026, 11, 24, 23, 59, 0, 0, time.UTC)
	began := time.Now()
	n, err := startNode(t.Context(), c, nodeOptions{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return at.Add(time.Since(began)) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	r, err := n.usage.Today(t.Context(), "acme", "m-1")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Endpoints) != 1 || r.Endpoints[0].ID != "posts.create" || r.Endpoints[0].Member.Used != 3 || *r.Endpoints[0].Member.Limit != 77 || r.Endpoints[0].Application.Used < 3 {
		t.Errorf("usage is %+v", r)
	}
	tokens, next, err := n.registry.Tokens(t.Context(), "acme", 0, 10)
	if err != nil || next != 0 || len(tokens) != 2 || tokens[0].Revoked.IsZero() == tokens[1].Revoked.IsZero() {
		t.Errorf("tokens are %+v, %v", tokens, err)
	}
}
