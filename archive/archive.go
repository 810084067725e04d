// Package archive is the one file of a backup: copies of a node's stores, and what is needed to tell whether they are whole.
//
// It is a plain tar, so that it can be looked into without perdiem:
//
//	manifest.json     what the archive is: see [Manifest]
//	registry.db       the registry
//	ledger/…          the ledger's files
//	SHA256SUMS        the checksum of each of them, as sha256sum -c reads it
//
// The entries come in this order and no others do, and the file's length follows from the manifest to the byte. So whatever was cut
// off, put in or changed is refused, and what an archive says of itself can make nobody write outside of a folder, or more than
// the archive holds. Checksums tell of accidents, not of forgers: who can write an archive decides what a restored node believes.
//
// The archive does not hold the operator's key.
package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// FormatVersion is the version of the form in which archives are written. Those up to it are read.
const FormatVersion = 1

const (
	manifestName = "manifest.json"
	sumsName     = "SHA256SUMS"

	maxManifest = 16 << 20 // bytes: some 200,000 files
	block       = 512      // bytes: of a tar
	ending      = 2 * block
)

// Manifest says what an archive is.
type Manifest struct {
	Format  int       `json:"format"`  // FormatVersion of the program that made it
	Program string    `json:"program"` // that program's version
	Made    time.Time `json:"made"`    // all that was granted and changed before this instant is in the archive
	Day     string    `json:"day"`     // the day that was running then
	Ledger  string    `json:"ledger"`  // the ledger's id
	Files   []File    `json:"files"`   // in the order of the archive
}

// File is one file of the stores.
type File struct {
	Name string `json:"name"` // with slashes; one that [ValidName] lets pass
	Size int64  `json:"size"` // bytes
}

// RegistryName is the name of the registry in an archive, LedgerFolder that of the folder with the ledger's files.
const (
	RegistryName = "registry.db"
	LedgerFolder = "ledger"
)

var ledgerFile = regexp.MustCompile(`^` + LedgerFolder + `/[A-Za-z0-9][A-Za-z0-9._-]{0,79}$`)

// ValidName reports whether a file of that name may be in an archive: the registry, or a file directly in the ledger's folder, of at most 80
// letters, digits, dots, hyphens and underscores.
func ValidName(name string) bool { return name == RegistryName || ledgerFile.MatchString(name) }

// Total returns the bytes of all files.
func (m *Manifest) Total() int64 {
	var total int64
	for _, f := range m.Files {
		total += f.Size
	}
	return total
}

// length returns the bytes of an archive whose manifest, as it is written, has so many.
func (m *Manifest) length(manifest int64) int64 {
	total, sums := block+padded(manifest), sumLength(manifestName)
	for _, f := range m.Files {
		total += block + padded(f.Size)
		sums += sumLength(f.Name)
	}
	return total + block + padded(sums) + ending
}

func padded(size int64) int64 { return (size + block - 1) / block * block }

// sumLength returns the bytes of a file's line in SHA256SUMS.
func sumLength(name string) int64 { return int64(2*sha256.Size + len("  ") + len(name) + len("\n")) }

func appendSum(sums []byte, sum []byte, name string) []byte {
	return fmt.Appendf(sums, "%s  %s\n", hex.EncodeToString(sum), name)
}

// errNotOne is the error of a file that is no archive at all.
var errNotOne = errors.New("it is no backup that perdiem made")

// parse reads a manifest, and refuses what no archive can hold.
func parse(data []byte) (*Manifest, error) {
	// A newer form may have another shape: its version comes first.
	var version struct {
		Format  int    `json:"format"`
		Program string `json:"program"`
	}
	if err := json.Unmarshal(data, &version); err != nil || version.Format < 1 {
		return nil, errNotOne
	}
	if version.Format > FormatVersion {
		return nil, fmt.Errorf("its form is version %d, made by perdiem %.40q, and this perdiem knows none after %d: restore it with that version or a later one",
			version.Format, version.Program, FormatVersion)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	m := &Manifest{}
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("its manifest cannot be read: %w", err)
	}
	seen := make(map[string]bool, len(m.Files))
	var total int64
	for _, f := range m.Files {
		switch name := strings.ToLower(f.Name); { // there are file systems that do not tell A from a
		case !ValidName(f.Name):
			return nil, fmt.Errorf("its manifest names the file %.100q, which no backup has", f.Name)
		case seen[name]:
			return nil, fmt.Errorf("its manifest names the file %s twice", f.Name)
		default:
			seen[name] = true
		}
		if total += f.Size; f.Size < 0 || total < 0 || f.Size > maxTotal || total > maxTotal {
			return nil, fmt.Errorf("its manifest gives the file %s a size of %d bytes, which cannot be", f.Name, f.Size)
		}
	}
	if !seen[RegistryName] || len(m.Files) < 2 || m.Ledger == "" || m.Made.IsZero() {
		return nil, errors.New("its manifest does not name a registry and a ledger")
	}
	return m, nil
}

// maxTotal is more bytes than any backup has, and few enough to be added up.
const maxTotal = 1 << 50

// hashing adds what is read to a checksum, and counts it.
type hashing struct {
	io.Reader
	sum interface{ Write([]byte) (int, error) }
	n   int64
}

func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	h.n += int64(n)
	_, _ = h.sum.Write(p[:n]) // a hash never fails
	return n, err
}
