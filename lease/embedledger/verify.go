package embedledger

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble opens some damaged folders as if nothing had happened and forgets what it could not read. A ledger that
// forgets grants is worse than none, so its files are looked at before and after Pebble opens them.

// damage says which file is damaged, and how.
type damage struct {
	file string // its name in the ledger's folder; empty: some of them do not fit together
	how  string
}

func (d *damage) Error() string {
	if d.file == "" {
		return "its files do not fit together: " + d.how
	}
	return fmt.Sprintf("file %s is damaged: %s", d.file, d.how)
}

func isDamage(err error) bool {
	_, ok := errors.AsType[*damage](err)
	return ok
}

// verifier looks at the files of a folder in which Pebble is not open.
type verifier struct {
	fs  vfs.FS
	dir string
}

// before looks at the manifest and at the logs that Pebble will read. It returns the number of the last change found in
// the logs.
func (v verifier) before(o *pebble.Options) (last uint64, err error) {
	names, err := v.fs.List(v.dir)
	if err != nil {
		return 0, err
	}
	slices.Sort(names)
	desc, err := pebble.Peek(v.dir, v.fs)
	if err != nil {
		return 0, newerStore(err)
	}
	if !desc.Exists {
		for _, name := range names {
			if strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log") {
				return 0, &damage{"marker.manifest", "it is missing, although the ledger has other files"}
			}
		}
		return 0, nil
	}
	if desc.OptionsFilename != "" {
		if err := v.options(o, v.fs.PathBase(desc.OptionsFilename)); err != nil {
			return 0, err
		}
	}
	first, err := v.manifest(v.fs.PathBase(desc.ManifestFilename))
	if err != nil {
		return 0, err
	}
	if err := v.newest(names, first); err != nil {
		return 0, err
	}
	return v.logs(names, first)
}

// options looks at the settings with which the folder was written.
func (v verifier) options(o *pebble.Options, name string) error {
	text, err := v.read(name)
	if err == nil {
		err = o.CheckCompatibility(v.dir, string(text))
	}
	if err != nil {
		return &damage{name, err.Error()}
	}
	return nil
}

// manifest looks at the list of tables, and returns the number of the oldest log that is still needed; 0 when it does
// not say.
func (v verifier) manifest(name string) (firstLog uint64, err error) {
	data, err := v.read(name)
	if err != nil {
		return 0, &damage{name, err.Error()}
	}
	r := chunkReader{r: bytes.NewReader(data)}
	empty, broken := true, false
	for {
		c, err := r.next()
		switch {
		case errors.Is(err, io.EOF) && empty:
			return 0, &damage{name, "it is empty"}
		case errors.Is(err, io.EOF):
			return firstLog, nil
		case err != nil:
			if broken = true; !cutShort(r.at()) {
				return 0, &damage{name, "its end is not what was written"}
			}
			continue
		case broken:
			return 0, &damage{name, "a part of it is not what was written"}
		}
		if c.part == chunkFull || c.part == chunkFirst {
			empty = false
			if n := firstLogOf(c.data); n != 0 {
				firstLog = n
			}
		}
	}
}

// cutShort reports whether what is left of a block of the manifest is what a loss of power leaves of a write: zeros, or less
// of a chunk than its header says.
func cutShort(rest []byte) bool {
	if isZero(rest) || len(rest) < chunkHeaderLen[0] {
		return true
	}
	short := chunkHeaderLen[0]+int(binary.LittleEndian.Uint16(rest[4:])) > len(rest)
	return short && !checksumFits(rest) // where it fits, the length is what is wrong
}

// firstLogOf returns what an entry of the manifest says of the oldest log needed: if anything, right after the name of
// the order of keys. See internal/manifest/version_edit.go of Pebble.
func firstLogOf(entry []byte) uint64 {
	const tagComparer, tagFirstLog = 1, 2
	tag, n := binary.Uvarint(entry)
	if n > 0 && tag == tagComparer {
		entry = entry[n:]
		size, n := binary.Uvarint(entry)
		if n <= 0 || size > uint64(len(entry)-n) {
			return 0
		}
		entry = entry[n+int(size):]
		tag, _ = binary.Uvarint(entry)
	}
	if tag != tagFirstLog {
		return 0
	}
	number, _ := binary.Uvarint(entry[1:])
	return number
}

// logs looks at the logs from number first on: each change must be there that a later one knows to be durable.
func (v verifier) logs(names []string, first uint64) (last uint64, err error) {
	type log struct {
		number uint64
		name   string
	}
	var logs []log
	for _, name := range names {
		if n, ok := logNumber(name); ok && n >= first {
			logs = append(logs, log{n, name})
		}
	}
	slices.SortFunc(logs, func(a, b log) int { return cmp.Compare(a.number, b.number) })
	for i, l := range logs {
		if last, err = v.log(l.name, l.number, last, i < len(logs)-1); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// log looks at one log, whose changes follow the one with number last; 0: not known. A log that was closed has a trailer;
// the end of the newest may have been cut short.
func (v verifier) log(name string, number, last uint64, closed bool) (uint64, error) {
	f, err := v.fs.Open(v.fs.PathJoin(v.dir, name))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := chunkReader{r: f, log: uint32(number)}
	var head []byte // of the record under way, as far as its stamp reaches; nil: there is none
	broken := false
	for {
		c, err := r.next()
		switch {
		case errors.Is(err, errTrailer) && closed:
			return last, nil
		case closed && err != nil:
			return 0, &damage{name, fmt.Sprintf("what follows change %d cannot be read", last)}
		case errors.Is(err, io.EOF):
			return last, nil
		case errors.Is(err, errTrailer), errors.Is(err, errBroken):
			broken, head = true, nil
			continue
		case err != nil:
			return 0, &damage{name, err.Error()}
		}
		if c.part == chunkFull || c.part == chunkFirst {
			head = []byte{}
		} else if head == nil {
			broken = true // a part without the one before it
			continue
		}
		head = append(head, c.data[:min(len(c.data), stampEnd-len(head))]...)
		s, stamped := stampOf(head)
		whole := c.part == chunkFull || c.part == chunkLast
		switch {
		case !stamped:
		case broken && s.durable > last:
			return 0, &damage{name, fmt.Sprintf("change %d cannot be read, although change %d was made when it was durable", last+1, s.number)}
		case broken || !whole:
		case last != 0 && s.number != last+1:
			return 0, &damage{how: fmt.Sprintf("change %d follows change %d in %s", s.number, last, name)}
		default:
			last = s.number
		}
		if whole {
			head = nil
		}
	}
}

func (v verifier) read(name string) ([]byte, error) {
	f, err := v.fs.Open(v.fs.PathJoin(v.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// tables reads the tables of an open store through and compares their checksums.
func (v verifier) tables(db *pebble.DB, o *pebble.Options) error {
	levels, err := db.SSTables()
	if err != nil {
		return err
	}
	for _, level := range levels {
		for _, t := range level {
			name := fmt.Sprintf("%06d.sst", t.BackingSSTNum)
			if err := v.table(name, o); err != nil && !errors.Is(err, fs.ErrNotExist) { // else it was compacted meanwhile
				return &damage{name, oneLine(err)}
			}
		}
	}
	return nil
}

func (v verifier) table(name string, o *pebble.Options) error {
	f, err := v.fs.Open(v.fs.PathJoin(v.dir, name), vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(context.Background(), readable, o.MakeReaderOptions())
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

// damaged returns an error that says what is damaged, where Pebble's says so; else err itself.
func damaged(err error) error {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		return &damage{filepath.Base(info.Path), oneLine(info.Details)}
	}
	if pebble.IsCorruptionError(err) {
		return &damage{how: oneLine(err)}
	}
	return err
}

// oneLine returns what an error of Pebble says, without the lines that it says again.
func oneLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimPrefix(line, "pebble: ")
}
