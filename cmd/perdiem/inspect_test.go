package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSameHost(t *testing.T) {
	for _, c := range []struct {
		to, listener string
		want         bool
	}{
		{"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "", true},
		{"127.0.0.1", "0.0.0.0", true},
		{"127.0.0.1", "::", true},
		{"127.1.2.3", "0.0.0.0", true},
		{"localhost", "127.0.0.1", true},
		{"LOCALHOST", "::1", true},
		{"::1", "localhost", true},
		{"0.0.0.0", "127.0.0.1", true},
		{"::ffff:127.0.0.1", "127.0.0.1", true},
		{"api.internal", "api.internal", true},
		{"127.0.0.2", "127.0.0.1", false},
		{"::1", "127.0.0.1", false},
		{"192.0.2.1", "0.0.0.0", false},
		{"192.0.2.1", "127.0.0.1", false},
		{"api.internal", "0.0.0.0", false},
		{"127.0.0.1", "api.internal", false},
	} {
		if got := sameHost(c.to, c.listener); got != c.want {
			t.Errorf("%s, listening at %q: %v", c.to, c.listener, got)
		}
	}
}

// TestUnwritable looks at folders as somebody who may not write to them. Root may, so it becomes another user for that.
func TestUnwritable(t *testing.T) {
	folder, err := os.MkdirTemp("", "perdiem-unwritable-") // unlike the test's own, others can be let in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	locked := filepath.Join(folder, "locked")
	if err := os.Mkdir(locked, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{locked, folder} {
		if err := os.Chmod(path, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(folder, "perdiem.yaml")
	look := func(text string) string {
		c, err := parseConfig(file, []byte(text), getenv)
		if err != nil {
			return err.Error()
		}
		f := &findings{config: c}
		f.inspect(time.Now())
		return f.broken.Error()
	}
	texts := []string{"data: locked", "data: locked/new/data", "data: " + os.DevNull + "/x\noperator_key_file: locked/key"}
	var got []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Getuid() == 0 {
			runtime.LockOSThread() // for good: the thread ends with this goroutine
			const nobody = 65534
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				t.Errorf("becoming another user: %v", errno)
			}
		}
		for _, text := range texts {
			got = append(got, look(text))
		}
	}()
	<-done
	for i, want := range [][]string{
		{":1:7: data: the folder " + locked + " cannot be written to: permission denied"},
		{":1:7: data: the folder " + locked + "/new/data cannot be made in " + locked + ": permission denied"},
		{
			":1:7: data: the folder /dev/null/x cannot be made, since /dev/null is a file",
			":2:20: operator_key_file: " + locked + "/key does not exist, and cannot be made: " + locked + ": permission denied",
		},
	} {
		for j, line := range want {
			want[j] = file + line
		}
		if got[i] != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s", texts[i], got[i])
		}
	}
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
}
