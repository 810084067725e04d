package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdiem/perdiem/archive"
)

var made = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// stores are the files of a small node.
var stores = map[string]string{
	"registry.db":                  strings.Repeat("registry ", 2000),
	"ledger/000002.log":            strings.Repeat("log", 700),
	"ledger/MANIFEST-000001":       "manifest",
	"ledger/empty.sst":             "",
	"ledger/marker.format.00.1":    strings.Repeat("x", 512),
	"ledger/OPTIONS-000003_a.b-c1": strings.Repeat("y", 513),
}

// write writes an archive of stores and returns it.
func write(t testing.TB) []byte {
	t.Helper()
	folder := t.TempDir()
	var sources []archive.Source
	for _, name := range []string{"registry.db", "ledger/000002.log", "ledger/MANIFEST-000001", "ledger/empty.sst", "ledger/marker.format.00.1", "ledger/OPTIONS-000003_a.b-c1"} {
		path := filepath.Join(folder, filepath.Base(name))
		if err := os.WriteFile(path, []byte(stores[name]), 0o600); err != nil {
			t.Fatal(err)
		}
		sources = append(sources, archive.Source{Name: name, Path: path})
	}
	var b bytes.Buffer
	if err := archive.Write(&b, archive.Manifest{Program: "v1.2.3", Made: made, Day: "2026-11-23", Ledger: "4f2a"}, sources); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// file writes data into a file of its own.
func file(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backup.tar")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// extracted returns what an archive extracts to: its files by name.
func extracted(t testing.TB, data []byte) (map[string]string, *archive.Manifest, error) {
	t.Helper()
	outer := t.TempDir()
	folder := filepath.Join(outer, "into")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	m, err := archive.Extract(t.Context(), file(t, data), folder)
	found := map[string]string{}
	if walked := filepath.WalkDir(outer, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, inside := strings.CutPrefix(path, folder+"/")
		info, err := entry.Info()
		if !inside || err != nil || info.Mode() != 0o600 {
			t.Fatalf("%s was written with mode %v, %v", path, info.Mode(), err)
		}
		text, err := os.ReadFile(path)
		found[name] = string(text)
		return err
	}); walked != nil {
		t.Fatal(walked)
	}
	return found, m, err
}

func TestRoundTrip(t *testing.T) {
	data := write(t)
	got, m, err := extracted(t, data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(stores, got); diff != "" {
		t.Errorf("-written +extracted:\n%s", diff)
	}
	if m.Format != 1 || m.Program != "v1.2.3" || !m.Made.Equal(made) || m.Day != "2026-11-23" || m.Ledger != "4f2a" || len(m.Files) != len(stores) {
		t.Errorf("the manifest is %+v", m)
	}
	verified, err := archive.Verify(t.Context(), file(t, data))
	if diff := cmp.Diff(m, verified); diff != "" || err != nil {
		t.Errorf("Verify: %v, -extracted +verified:\n%s", err, diff)
	}
}

// TestOrdinaryTools: an archive can be looked into, and checked, without perdiem.
func TestOrdinaryTools(t *testing.T) {
	path := file(t, write(t))
	for _, need := range []string{"tar", "sha256sum"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Fatal(err)
		}
	}
	check := exec.CommandContext(t.Context(), "sh", "-c", `tar xf "$0" && sha256sum --check --strict --quiet SHA256SUMS && ls manifest.json registry.db ledger`, path)
	check.Dir = t.TempDir()
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestChangedBytes turns bits all over an archive. It is refused, or what is extracted is what was written: some bytes of a tar mean nothing.
func TestChangedBytes(t *testing.T) {
	good := write(t)
	rng := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for at := 0; at < len(good); at += 1 + rng.IntN(127) {
		data := bytes.Clone(good)
		data[at] ^= 1 << rng.IntN(8)
		got, _, err := extracted(t, data)
		if err != nil {
			refused++
			continue
		}
		if diff := cmp.Diff(stores, got); diff != "" {
			t.Fatalf("byte %d was changed, and nobody noticed:\n%s", at, diff)
		}
	}
	if refused < 100 {
		t.Errorf("%d changes were refused only", refused)
	}
}

// TestCutShort cuts an archive off at many places, and lengthens it.
func TestCutShort(t *testing.T) {
	good := write(t)
	for n := 0; n < len(good); n += 97 {
		if _, _, err := extracted(t, good[:n]); err == nil {
			t.Errorf("%d of %d bytes were taken for a whole archive", n, len(good))
		}
	}
	for _, more := range [][]byte{{0}, make([]byte, 1024), good} {
		if _, _, err := extracted(t, append(bytes.Clone(good), more...)); err == nil {
			t.Errorf("%d more bytes were not noticed", len(more))
		}
	}
}

// entry is what a hostile archive is made of.
type entry struct {
	tar.Header
	content string
}

// forge writes a tar of a manifest and entries.
func forge(t testing.TB, manifest any, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	text, ok := manifest.(string)
	if !ok {
		data, err := json.Marshal(manifest)
		if err != nil {
			t.Fatal(err)
		}
		text = string(data)
	}
	for _, e := range append([]entry{{tar.Header{Name: "manifest.json"}, text}}, entries...) {
		if e.Typeflag == 0 {
			e.Typeflag = tar.TypeReg
		}
		if e.Typeflag == tar.TypeReg {
			e.Size = int64(len(e.content))
		}
		e.Mode = 0o777
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil && e.Typeflag == tar.TypeReg {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestHostile hands archives over that somebody made to do harm. Each is refused for the reason told, and nothing is written outside.
func TestHostile(t *testing.T) {
	manifest := func(files ...archive.File) archive.Manifest {
		return archive.Manifest{Format: 1, Program: "v1", Made: made, Day: "2026-11-23", Ledger: "4f2a", Files: files}
	}
	registry, log := archive.File{Name: "registry.db", Size: 1}, archive.File{Name: "ledger/1.log", Size: 1}
	for _, c := range []struct {
		name string
		data []byte
		says string
	}{
		{"nothing", nil, "no backup"},
		{"a text", []byte(strings.Repeat("listen: {gateway: 0.0.0.0:8080}\n", 100)), "no backup"},
		{"zeros", make([]byte, 1<<20), "no backup"},
		{"another tar", forge(t, "{}"), "no backup"},
		{"no JSON", forge(t, "manifest"), "no backup"},
		{"a form without a version", forge(t, `{"program": "v1"}`), "no backup"},
		{"form 0", forge(t, `{"format": 0}`), "no backup"},
		{"a newer form", forge(t, `{"format": 2, "program": "v9.9.9", "stores": {}}`), `its form is version 2, made by perdiem "v9.9.9", and this perdiem knows none after 1`},
		{"an unknown key", forge(t, `{"format": 1, "script": "rm -rf /"}`), "manifest cannot be read"},
		{"a path upwards", forge(t, manifest(registry, archive.File{Name: "../evil", Size: 1})), `names the file "../evil"`},
		{"a path upwards within", forge(t, manifest(registry, archive.File{Name: "ledger/../../evil", Size: 1})), `names the file "ledger/../../evil"`},
		{"an absolute path", forge(t, manifest(registry, archive.File{Name: "/etc/passwd", Size: 1})), `names the file "/etc/passwd"`},
		{"a folder", forge(t, manifest(registry, archive.File{Name: "ledger/a/b", Size: 1})), `names the file "ledger/a/b"`},
		{"a dot", forge(t, manifest(registry, archive.File{Name: "ledger/.", Size: 1})), `names the file "ledger/."`},
		{"a backslash", forge(t, manifest(registry, archive.File{Name: `ledger\evil`, Size: 1})), "which no backup has"},
		{"NUL", forge(t, manifest(registry, archive.File{Name: "ledger/a\x00b", Size: 1})), "which no backup has"},
		{"the operator's key", forge(t, manifest(registry, log, archive.File{Name: "operator.key", Size: 1})), `names the file "operator.key"`},
		{"a name twice", forge(t, manifest(registry, log, log)), "ledger/1.log twice"},
		{"names that one file system takes for one", forge(t, manifest(registry, log, archive.File{Name: "ledger/1.LOG", Size: 1})), "twice"},
		{"no ledger", forge(t, manifest(registry)), "does not name"},
		{"no registry", forge(t, manifest(log, archive.File{Name: "ledger/2.log"})), "does not name"},
		{"a size below 0", forge(t, manifest(registry, archive.File{Name: "ledger/1.log", Size: -1})), "cannot be"},
		{"a huge size", forge(t, manifest(registry, archive.File{Name: "ledger/1.log", Size: 1 << 62})), "cannot be"},
		{"sizes that overflow", forge(t, manifest(registry, archive.File{Name: "ledger/1.log", Size: 1 << 50}, archive.File{Name: "ledger/2.log", Size: 1<<63 - 1})), "cannot be"},
		{"a size beyond the file", forge(t, manifest(registry, archive.File{Name: "ledger/1.log", Size: 1 << 40})), "cut short"},
		{"a huge manifest", forge(t, strings.Repeat(" ", 17<<20)), "no backup"},
		{"a link", forge(t, manifest(registry, archive.File{Name: "ledger/1.log"}), entry{tar.Header{Name: "registry.db"}, "r"},
			entry{tar.Header{Name: "ledger/1.log", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""}, entry{tar.Header{Name: "SHA256SUMS"}, strings.Repeat("x", 237)}), "ledger/1.log"},
		{"a hard link", forge(t, manifest(registry, archive.File{Name: "ledger/1.log"}), entry{tar.Header{Name: "registry.db"}, "r"},
			entry{tar.Header{Name: "ledger/1.log", Typeflag: tar.TypeLink, Linkname: "registry.db"}, ""}, entry{tar.Header{Name: "SHA256SUMS"}, strings.Repeat("x", 237)}), "ledger/1.log"},
		{"another order", forge(t, manifest(registry, log), entry{tar.Header{Name: "ledger/1.log"}, "l"}, entry{tar.Header{Name: "registry.db"}, "r"},
			entry{tar.Header{Name: "SHA256SUMS"}, strings.Repeat("x", 237)}), "registry.db"},
		{"another name than the manifest's", forge(t, manifest(registry, log), entry{tar.Header{Name: "registry.db"}, "r"}, entry{tar.Header{Name: "../../evil"}, "l"},
			entry{tar.Header{Name: "SHA256SUMS"}, strings.Repeat("x", 237)}), "ledger/1.log"},
		{"checksums that do not fit", forge(t, manifest(registry, log), entry{tar.Header{Name: "registry.db"}, "r"}, entry{tar.Header{Name: "ledger/1.log"}, "l"},
			entry{tar.Header{Name: "SHA256SUMS"}, strings.Repeat("x", 237)}), "manifest.json is not what was written"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, m, err := extracted(t, c.data)
			if err == nil || m != nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "backup.tar") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestGivesUp reads no further when nobody wants it any more.
func TestGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := archive.Verify(ctx, file(t, write(t))); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := archive.Manifest{Made: made, Ledger: "4f2a"}
	for name, c := range map[string]struct {
		m       archive.Manifest
		sources []archive.Source
	}{
		"a file that is not there": {good, []archive.Source{{Name: "registry.db", Path: path}, {Name: "ledger/1.log", Path: path + "s"}}},
		"a name that is not read":  {good, []archive.Source{{Name: "registry.db", Path: path}, {Name: "ledger/1.log", Path: path}, {Name: "operator.key", Path: path}}},
		"no ledger":                {good, []archive.Source{{Name: "registry.db", Path: path}}},
		"no instant":               {archive.Manifest{Ledger: "4f2a"}, []archive.Source{{Name: "registry.db", Path: path}, {Name: "ledger/1.log", Path: path}}},
	} {
		var b bytes.Buffer
		if err := archive.Write(&b, c.m, c.sources); err == nil || b.Len() > 0 {
			t.Errorf("%s: %v, %d bytes", name, err, b.Len())
		}
	}
}

// FuzzVerify reads anything. What is found whole extracts to files of valid names.
func FuzzVerify(f *testing.F) {
	good := write(f)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("manifest.json"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := archive.Verify(t.Context(), file(t, data))
		if err != nil {
			return
		}
		for _, one := range m.Files {
			if !archive.ValidName(one.Name) || !filepath.IsLocal(one.Name) {
				t.Errorf("the name %q", one.Name)
			}
		}
	})
}
