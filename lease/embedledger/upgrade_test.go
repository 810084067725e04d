package embedledger

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestUpgrade brings a store up from each of three versions. A step that fails changes nothing.
func TestUpgrade(t *testing.T) {
	put := func(key string) step {
		return func(_ *pebble.DB, b *pebble.Batch) error { return b.Set([]byte(key), []byte("done"), nil) }
	}
	broken := errors.New("no")
	for from, want := range map[uint64]string{1: "second third", 2: "third", 3: ""} {
		db, err := pebble.Open("ledger", &pebble.Options{FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		version := func() (uint64, string) {
			t.Helper()
			format, err := get(db, keyFormat)
			if err != nil {
				t.Fatal(err)
			}
			v, _ := binary.Uvarint(format)
			var done string
			for _, key := range []string{"second", "third"} {
				value, err := get(db, []byte(key))
				if err != nil {
					t.Fatal(err)
				}
				if value != nil && done != "" {
					done += " "
				}
				if value != nil {
					done += key
				}
			}
			return v, done
		}
		if err := db.Set(keyFormat, binary.AppendUvarint(nil, from), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		if from < 3 {
			fail := func(*pebble.DB, *pebble.Batch) error { return broken }
			if err := upgrade(db, from, []step{put("second"), fail}); !errors.Is(err, broken) {
				t.Errorf("from %d: %v", from, err)
			}
			if v, done := version(); v != from || done != "" {
				t.Errorf("a step that failed left version %d and %q", v, done)
			}
		}
		if err := upgrade(db, from, []step{put("second"), put("third")}); err != nil {
			t.Fatal(err)
		}
		if v, done := version(); v != 3 || done != want {
			t.Errorf("from %d to %d, by %q instead of %q", from, v, done, want)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
