package adminapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/perdiem/perdiem/adminapi"
	"github.com/perdiem/perdiem/fault"
	"github.com/perdiem/perdiem/registry"
	"github.com/perdiem/perdiem/registry/sqlregistry"
)

func openSettings(t *testing.T, folder string) *sqlregistry.Registry {
	t.Helper()
	r, err := sqlregistry.OpenSQLite(t.Context(), filepath.Join(folder, "registry.db"), sqlregistry.Options{})
	check(t, err)
	t.Cleanup(func() { check(t, r.Close()) })
	return r
}

func TestKeyFile(t *testing.T) {
	folder := t.TempDir()
	settings, file := openSettings(t, folder), filepath.Join(folder, "operator.key")
	open := func() *adminapi.Key {
		t.Helper()
		k, err := adminapi.OpenKey(t.Context(), settings, file)
		check(t, err)
		return k
	}
	read := func() string {
		t.Helper()
		key, err := adminapi.ReadKeyFile(file)
		check(t, err)
		return key
	}

	first := open()
	made := read()
	info, err := os.Stat(file)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v", info.Mode())
	}
	if !first.Matches(made) || first.Matches(made+"x") || first.Matches("") {
		t.Error("the key that was made does not hold, or another does")
	}
	if !open().Matches(made) {
		t.Error("the key does not hold after a restart")
	}

	rotated, err := first.Rotate(t.Context(), "")
	check(t, err)
	if rotated == made || read() != rotated || !first.Matches(rotated) || first.Matches(made) {
		t.Error("after a rotation the new key does not hold, or the old one does")
	}
	if !open().Matches(rotated) {
		t.Error("the new key does not hold after a restart")
	}

	// The file is kept elsewhere: the hash in the registry holds, and no new file is made.
	check(t, os.Remove(file))
	if !open().Matches(rotated) {
		t.Error("without its file the key does not hold")
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}

	// The operator brings a key.
	own := strings.Repeat("k", 40)
	check(t, os.WriteFile(file, []byte("  "+own+"\r\n\n"), 0o600))
	if k := open(); !k.Matches(own) || k.Matches(rotated) {
		t.Error("the operator's own key does not hold, or the old one does")
	}
	check(t, os.Remove(file))
	if !open().Matches(own) {
		t.Error("the operator's own key was not kept")
	}

	// The key is forgotten: a new one is made, and the old one has ended.
	check(t, adminapi.ForgetKey(t.Context(), settings))
	if k := open(); !k.Matches(read()) || k.Matches(own) || k.Matches("") {
		t.Error("after the key was forgotten the new one does not hold, or an old one does")
	}
	own = strings.Repeat("o", 40)
	check(t, adminapi.ForgetKey(t.Context(), settings))
	check(t, os.WriteFile(file, []byte(own), 0o600))
	if !open().Matches(own) {
		t.Error("after the key was forgotten the file is not believed")
	}
}

func TestKeyFileThatHoldsNoKey(t *testing.T) {
	for name, text := range map[string]string{
		"empty":               "",
		"short":               "secret",
		"two lines":           strings.Repeat("k", 40) + "\n" + strings.Repeat("k", 40),
		"a space":             strings.Repeat("k", 40) + " " + strings.Repeat("k", 40),
		"a control character": strings.Repeat("k", 40) + "\x00",
		"not ASCII":           strings.Repeat("ü", 40),
		"huge":                strings.Repeat("k", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			file := filepath.Join(folder, "operator.key")
			check(t, os.WriteFile(file, []byte(text), 0o600))
			if _, err := adminapi.OpenKey(t.Context(), openSettings(t, folder), file); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// failing fails to keep the key's hash while it is told to.
type failing struct {
	adminapi.Settings
	err error
}

func (f *failing) SetOperatorKey(ctx context.Context, hash, actor string) error {
	if f.err != nil {
		return f.err
	}
	return f.Settings.SetOperatorKey(ctx, hash, actor)
}

// TestRotationHalfDone checks that after a rotation that broke off there is one key, and it is in the file.
func TestRotationHalfDone(t *testing.T) {
	folder := t.TempDir()
	settings := &failing{Settings: openSettings(t, folder)}
	file := filepath.Join(folder, "operator.key")
	k, err := adminapi.OpenKey(t.Context(), settings, file)
	check(t, err)
	settings.err = errors.New("disk full")
	if _, err := k.Rotate(t.Context(), ""); err == nil || !strings.Contains(err.Error(), file) {
		t.Fatalf("got %v", err)
	}
	settings.err = nil
	key, err := adminapi.ReadKeyFile(file)
	check(t, err)
	again, err := adminapi.OpenKey(t.Context(), settings, file)
	check(t, err)
	if !k.Matches(key) || !again.Matches(key) {
		t.Error("the key in the file does not hold")
	}
}

var keyName = regexp.MustCompile("^operator key [0-9a-f]{8}$")

// TestRotationIsTold looks at what is said of a rotation: to the audit, and to whoever asked for one that the registry was not told of.
func TestRotationIsTold(t *testing.T) {
	h := newHost(t)
	before := h.actor()
	var rotated struct{ Key string }
	h.want(200, h.ask("POST", "/admin/v1/operator-key/rotate", ""), &rotated)
	h.key = rotated.Key
	if e := h.newest(); e.Actor != before || e.Action != registry.ActionRotateKey || e.Before != before || e.After != h.actor() || !keyName.MatchString(before) {
		t.Errorf("the audit has %+v, not %s and %s", e, before, h.actor())
	}

	h.settings.err = fault.New(fault.Unavailable, "The registry cannot be used at the moment.")
	w := h.ask("POST", "/admin/v1/operator-key/rotate", "")
	var told struct{ Detail string }
	if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil || w.Code != 503 || !strings.HasPrefix(told.Detail, "The operator's key was replaced") || !strings.Contains(told.Detail, h.keyFile) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	h.wantProblem(401, "UNAUTHORIZED", h.ask("GET", "/admin/v1/status", ""))
	var err error
	h.key, err = adminapi.ReadKeyFile(h.keyFile)
	check(t, err)
	h.want(200, h.ask("GET", "/admin/v1/status", ""), nil)

	check(t, os.Remove(h.keyFile))
	check(t, os.MkdirAll(filepath.Join(h.keyFile, "in the way"), 0o700))
	w = h.ask("POST", "/admin/v1/operator-key/rotate", "")
	if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil || w.Code != 503 || !strings.HasPrefix(told.Detail, "The operator's key was not replaced") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	h.want(200, h.ask("GET", "/admin/v1/status", ""), nil)
}

func TestRotateWhileAsked(t *testing.T) {
	h := newHost(t)
	var group sync.WaitGroup
	old := h.key
	for range 8 {
		group.Go(func() {
			for range 20 {
				if w := h.ask("GET", "/admin/v1/status", ""); w.Code != http.StatusOK && w.Code != http.StatusUnauthorized {
					t.Errorf("status %d", w.Code)
				}
			}
		})
	}
	var rotated struct{ Key string }
	h.want(200, h.ask("POST", "/admin/v1/operator-key/rotate", ""), &rotated)
	group.Wait()
	h.wantProblem(401, "UNAUTHORIZED", h.ask("GET", "/admin/v1/status", ""))
	h.key = rotated.Key
	h.want(200, h.ask("GET", "/admin/v1/status", ""), nil)
	if rotated.Key == old {
		t.Error("the key is the same")
	}
}
