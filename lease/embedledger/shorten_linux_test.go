package embedledger

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

// A table is given back piece by piece, and everything else at once; what a copy has a link to is left as it is.
func TestTablesAreGivenBackInPieces(t *testing.T) {
	const size = 3*piece + 1
	sizes := []int64{2*piece + 1, piece + 1, 1}
	for _, test := range []struct {
		name   string
		file   string
		before func(d *disk, file string)
		want   []int64 // the sizes that it is shortened to
	}{
		{"a table", "000007.sst", nil, sizes},
		{"a log", "000007.log", nil, nil},
		{"a table of a copy", "000007.sst", func(_ *disk, file string) {
			if err := os.Link(file, file+"-copy"); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"room is short", "000007.sst", func(d *disk, _ string) { d.short.Store(1) }, nil},
		{"the ledger closes", "000007.sst", func(d *disk, _ string) { d.Close() }, sizes[:1]},
		{"it cannot be shortened", "000007.sst", func(d *disk, _ string) {
			d.shrink = func(string, int64) error { return errors.New("boom") }
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				file := filepath.Join(dir, test.file)
				if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
					t.Fatal(err)
				}
				d := newDisk(vfs.Default, true, filepath.Join(dir, "aside"), func(err error) { t.Error(err) })
				var got []int64
				d.shrink = func(name string, size int64) error {
					got = append(got, size)
					return os.Truncate(name, size)
				}
				if test.before != nil {
					test.before(d, file)
				}
				began := time.Now()
				if err := d.Remove(file); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("shortened to (-want +got):\n%s", diff)
				}
				if took, most := time.Since(began), time.Duration(len(test.want))*piecePause; took > most {
					t.Errorf("it took %v", took)
				}
				if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("it is there still: %v", err)
				}
				if copied, err := os.Stat(file + "-copy"); err == nil && copied.Size() != size {
					t.Errorf("the copy has %d bytes left", copied.Size())
				}
			})
		})
	}
}

// A table that is half given back when the process dies is none of the ledger's any more.
func TestOpenBesideHalfATable(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		l, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "000003.sst"), make([]byte, piece), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
