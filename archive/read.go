package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/perdiem/perdiem/internal/durable"
)

// Verify reads an archive through, and returns its manifest when it is whole. Errors say what is wrong with it, and name path.
func Verify(ctx context.Context, path string) (*Manifest, error) {
	return open(ctx, path, func(_ File, content io.Reader) error {
		_, err := io.Copy(io.Discard, content)
		return err
	})
}

// Extract writes the files of an archive into folder, which exists and is empty, for their owner's eyes alone, and returns the manifest. They
// are on the disk when it returns, and the archive was whole. When it fails, what is in the folder is worth nothing. Errors are
// those of [Verify].
func Extract(ctx context.Context, path, folder string) (*Manifest, error) {
	if err := os.Mkdir(filepath.Join(folder, LedgerFolder), 0o700); err != nil {
		return nil, err
	}
	m, err := open(ctx, path, func(f File, content io.Reader) error {
		return writeOut(filepath.Join(folder, filepath.FromSlash(f.Name)), content)
	})
	if err != nil {
		return nil, err
	}
	return m, errors.Join(durable.SyncFolder(filepath.Join(folder, LedgerFolder)), durable.SyncFolder(folder))
}

func writeOut(path string, content io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Sync(), f.Close())
}

// open reads the archive in a file.
func open(ctx context.Context, path string, visit func(File, io.Reader) error) (*Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	m, err := read(whileWanted{ctx, f}, info.Size(), visit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// whileWanted reads until a context ends.
type whileWanted struct {
	ctx context.Context
	r   io.Reader
}

func (w whileWanted) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}

// read reads an archive of length bytes, and hands each file to visit, which reads all of it. What visit is given is known to be what was
// written only when read has returned without an error.
func read(r io.Reader, length int64, visit func(File, io.Reader) error) (*Manifest, error) {
	in := tar.NewReader(r)
	manifest, err := readEntry(in, manifestName, maxManifest)
	if err != nil {
		if _, unreadable := errors.AsType[*unreadableError](err); unreadable {
			return nil, err
		}
		return nil, errNotOne
	}
	m, err := parse(manifest)
	if err != nil {
		return nil, err
	}
	if want := m.length(int64(len(manifest))); length != want {
		return nil, fmt.Errorf("it has %d bytes where %d belong: it was cut short, or changed; take another copy", length, want)
	}
	sum := sha256.Sum256(manifest)
	sums := appendSum(nil, sum[:], manifestName)
	for _, f := range m.Files {
		if err := next(in, f.Name, f.Size); err != nil {
			return nil, err
		}
		sum := sha256.New()
		content := &hashing{Reader: in, sum: sum}
		if err := visit(f, content); err != nil {
			return nil, unreadable(err)
		}
		if content.n != f.Size {
			return nil, changed(f.Name)
		}
		sums = appendSum(sums, sum.Sum(nil), f.Name)
	}
	kept, err := readEntry(in, sumsName, int64(len(sums)))
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(kept, sums) {
		return nil, fmt.Errorf("%s is not what was written: take another copy", differs(kept, sums, m))
	}
	if _, err := in.Next(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows its end: take another copy")
	}
	return m, nil
}

// differs names the first file whose checksum is another than the one kept.
func differs(kept, sums []byte, m *Manifest) string {
	names := []string{manifestName}
	for _, f := range m.Files {
		names = append(names, f.Name)
	}
	for _, name := range names {
		line := sumLength(name)
		if int64(len(kept)) < line || !bytes.Equal(kept[:line], sums[:line]) {
			return name
		}
		kept, sums = kept[line:], sums[line:]
	}
	return sumsName
}

// next goes on to the next entry, which must be a plain file of that name and size.
func next(in *tar.Reader, name string, size int64) error {
	h, err := in.Next()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, tar.ErrHeader):
		return changed(name)
	case err != nil:
		return unreadable(err)
	case h.Typeflag != tar.TypeReg || len(h.PAXRecords) > 0 || h.Name != name || h.Size != size:
		return changed(name)
	}
	return nil
}

func changed(name string) error {
	return fmt.Errorf("where its %s should be is something else: it was changed, or damaged; take another copy", name)
}

// readEntry reads an entry of at most so many bytes into memory.
func readEntry(in *tar.Reader, name string, most int64) ([]byte, error) {
	h, err := in.Next()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, tar.ErrHeader):
		return nil, changed(name)
	case err != nil:
		return nil, unreadable(err)
	case h.Typeflag != tar.TypeReg || len(h.PAXRecords) > 0 || h.Name != name || h.Size > most:
		return nil, changed(name)
	}
	data, err := io.ReadAll(in)
	return data, unreadable(err)
}

// unreadableError is the error of a file that could not be read on, or of the disk that it was to be written to.
type unreadableError struct{ error }

func (e *unreadableError) Unwrap() error { return e.error }

// unreadable tells the end of a file that was cut short from one that cannot be read.
func unreadable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it was cut short: take another copy")
	default:
		return &unreadableError{err}
	}
}
