package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perdiem/perdiem/internal/keypair"
	"github.com/perdiem/perdiem/internal/testkit"
)

// TestWarnOfExpiry warns less than 14 days before a certificate's end, and not of one that has ended, which is logged as what it is.
func TestWarnOfExpiry(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		left time.Duration
		want bool
	}{
		{expiryNotice + time.Second, false},
		{expiryNotice, false},
		{expiryNotice - time.Second, true},
		{0, true},
		{-time.Second, false},
	} {
		folder := t.TempDir()
		files := keypair.Files{Certificate: filepath.Join(folder, "a.pem"), Key: filepath.Join(folder, "a.key")}
		text, key, err := testkit.Certificate(now.Add(-time.Hour), now.Add(c.left))
		if err != nil {
			t.Fatal(err)
		}
		for file, data := range map[string][]byte{files.Certificate: text, files.Key: key} {
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		pair, err := keypair.Open(files)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		n := &node{
			config: &config{Edge: edgeConfig{TLS: map[string]pairConfig{"ops": {Files: files}}}},
			log:    slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now },
			pairs: map[string]*keypair.Pair{"ops": pair},
		}
		n.warnOfExpiry()
		if got := strings.Contains(log.String(), "listener=ops file="+files.Certificate); got != c.want {
			t.Errorf("%s before the end: %q", c.left, log.String())
		}
		if got := n.expiries()["ops"]; !got.Equal(now.Add(c.left)) {
			t.Errorf("%s before the end: it ends at %s", c.left, got)
		}
	}
}
