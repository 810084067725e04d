package gateway

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestSparseLog(t *testing.T) {
	var text strings.Builder
	now := time.Unix(1_000_000, 0)
	l := &sparseLog{log: slog.New(slog.NewTextHandler(&text, nil)), now: func() time.Time { return now }}
	failures := func(n int, want string) {
		t.Helper()
		text.Reset()
		for range n {
			l.failure("failed", errors.New("cause"))
		}
		if strings.Count(text.String(), "\n") != strings.Count(want, "=") || !strings.Contains(text.String(), want) {
			t.Errorf("logged %q, want one line with %q", text.String(), want)
		}
	}
	failures(5, "unlogged_before=0")
	text.Reset()
	if l.failure("another kind", errors.New("cause")); !strings.Contains(text.String(), "another kind") {
		t.Error("one kind of failure hides another")
	}
	now = now.Add(999 * time.Millisecond)
	failures(1, "")
	now = now.Add(time.Millisecond)
	failures(2, "unlogged_before=5")
	now = now.Add(-time.Hour) // a clock that is set back silences nobody
	failures(1, "unlogged_before=1")
}
