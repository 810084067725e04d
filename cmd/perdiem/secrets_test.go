package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perdiem/perdiem/internal/keypair"
)

// TestOpenSecrets gives files with secrets many modes: those that others can read are told.
func TestOpenSecrets(t *testing.T) {
	for _, c := range []struct {
		mode        os.FileMode
		key, others bool // whether it is told of the operator's key, and of the rest
	}{
		{0o600, false, false},
		{0o400, false, false},
		{0o640, true, false},
		{0o644, true, true},
		{0o604, true, true},
	} {
		folder := t.TempDir()
		file := func(name string) string {
			writeFile(t, folder, name, "secret")
			path := filepath.Join(folder, name)
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			return path
		}
		var log strings.Builder
		n := &node{log: slog.New(slog.NewTextHandler(&log, nil)), config: &config{OperatorKeyFile: file("operator.key")}}
		n.config.Edge.TLS = map[string]pairConfig{"gateway": {Files: keypair.Files{Certificate: file("api.pem"), Key: file("api.key")}}}
		n.config.Identity.SecretFiles = []string{file("introspect.secret")}
		n.warnOfOpenSecrets()
		for name, want := range map[string]bool{"operator.key": c.key, "api.key": c.others, "introspect.secret": c.others, "api.pem": false} {
			if got := strings.Contains(log.String(), "chmod 600 "+filepath.Join(folder, name)); got != want {
				t.Errorf("%04o: told of %s: %t\n%s", c.mode, name, got, &log)
			}
		}
		if strings.Contains(log.String(), "key=tls.gateway.key") != c.others {
			t.Errorf("%04o: %s", c.mode, &log)
		}
	}
}

// An admin API that others can reach is to speak TLS.
func TestPlainAdmin(t *testing.T) {
	for _, c := range []struct {
		listen string
		tls    bool
		told   bool
	}{
		{"127.0.0.1:8082", false, false},
		{"localhost:8082", false, false},
		{"[::1]:8082", false, false},
		{"0.0.0.0:8082", false, true},
		{":8082", false, true},
		{"[::]:8082", false, true},
		{"10.0.0.7:8082", false, true},
		{"0.0.0.0:8082", true, false},
		{"", false, false},
	} {
		var log strings.Builder
		n := &node{log: slog.New(slog.NewTextHandler(&log, nil)), config: &config{Admin: c.listen}}
		if c.tls {
			n.pairs = map[string]*keypair.Pair{"admin": {}}
		}
		n.warnOfPlainAdmin()
		if got := strings.Contains(log.String(), "tls.admin"); got != c.told {
			t.Errorf("%q, with TLS %t: %s", c.listen, c.tls, &log)
		}
	}
}
