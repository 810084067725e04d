package disk

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFileSystem(t *testing.T) {
	if kind, err := FileSystem("/proc"); err != nil || kind != "proc" {
		t.Errorf("FileSystem(/proc) = %q, %v; want proc", kind, err)
	}
	if kind, err := FileSystem(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Errorf("FileSystem of a missing folder = %q; want an error", kind)
	}
}

func TestHolds(t *testing.T) {
	for _, c := range []struct {
		point, dir string
		want       bool
	}{
		{"/", "/var/lib", true},
		{"/var", "/var", true},
		{"/var", "/var/lib", true},
		{"/var", "/variable", false},
		{"/var/lib", "/var", false},
	} {
		if got := holds(c.point, c.dir); got != c.want {
			t.Errorf("holds(%q, %q) = %v; want %v", c.point, c.dir, got, c.want)
		}
	}
}

func TestSyncTime(t *testing.T) {
	if took, err := SyncTime(t.TempDir()); err != nil || took <= 0 {
		t.Errorf("SyncTime = %v, %v; want some time", took, err)
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if bytes, err := Usage(dir); err != nil || bytes < 64<<10 || bytes > 128<<10 {
		t.Errorf("Usage = %d, %v; want about 64 KiB", bytes, err)
	}
}
