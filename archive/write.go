package archive

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// Source is a file that goes into an archive. It must not change meanwhile.
type Source struct {
	Name string // in the archive
	Path string // on the disk
}

// Write writes an archive of sources in their order, the registry's among them. Of m it needs neither Format nor Files. It
// holds a part of one file in memory, whatever the archive's size.
func Write(w io.Writer, m Manifest, sources []Source) error {
	m.Format, m.Files = FormatVersion, make([]File, len(sources))
	for i, s := range sources {
		info, err := os.Stat(s.Path)
		if err != nil {
			return err
		}
		m.Files[i] = File{Name: s.Name, Size: info.Size()}
	}
	manifest, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if _, err := parse(manifest); err != nil {
		return fmt.Errorf("the backup could not be read again: %w", err)
	}
	if len(manifest) > maxManifest {
		return fmt.Errorf("the stores have %d files, more than a backup can name", len(sources))
	}
	out := tar.NewWriter(w)
	sum := sha256.Sum256(manifest)
	sums := appendSum(nil, sum[:], manifestName)
	if err := writeEntry(out, manifestName, manifest, m.Made); err != nil {
		return err
	}
	buffer := make([]byte, 256<<10)
	for i, s := range sources {
		sum, err := writeFile(out, s, m.Files[i].Size, m.Made, buffer)
		if err != nil {
			return err
		}
		sums = appendSum(sums, sum, s.Name)
	}
	if err := writeEntry(out, sumsName, sums, m.Made); err != nil {
		return err
	}
	return out.Close()
}

// header returns the header of an entry. GNU's form holds files of any size in one block, which PAX does not.
func header(name string, size int64, made time.Time) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: made.Truncate(time.Second), Format: tar.FormatGNU}
}

func writeEntry(out *tar.Writer, name string, data []byte, made time.Time) error {
	if err := out.WriteHeader(header(name, int64(len(data)), made)); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
}

// writeFile writes a file of the size that the manifest has, and returns its checksum.
func writeFile(out *tar.Writer, s Source, size int64, made time.Time, buffer []byte) ([]byte, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := out.WriteHeader(header(s.Name, size, made)); err != nil {
		return nil, err
	}
	sum := sha256.New()
	in := &hashing{Reader: io.LimitReader(f, size), sum: sum}
	// Bare, so that neither side takes the copying over with a buffer of its own.
	if _, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, buffer); err != nil {
		return nil, err
	}
	if in.n != size {
		return nil, fmt.Errorf("%s has become shorter while it was copied", s.Path)
	}
	return sum.Sum(nil), nil
}
