package embedledger

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs/atomicfs"
)

// newestMarker is the name of a marker that tells the number of the newest log. Pebble takes a folder from which that log was removed for one that never
// had it, and the last changes would be forgotten without a word. It is moved when a log is begun, which is seldom: a log has 16 MiB.
const newestMarker = "newest-log"

// noteLog notes that a log was begun. It is known to its folder before it is said to be there: else a loss of power could leave the marker alone.
func (d *disk) noteLog(name string) {
	number, ok := logNumber(d.PathBase(name))
	if !ok || d.newest == nil {
		return
	}
	d.syncFolder(d.PathDir(name))
	if d.failed() == nil {
		_ = d.newest.Move(strconv.FormatUint(number, 10)) // errors freeze the files
	}
}

// markNewest begins to note which log is the newest.
func (d *disk) markNewest(folder string) error {
	marker, _, err := atomicfs.LocateMarker(d, folder, newestMarker)
	if err != nil {
		return err
	}
	d.newest = marker
	return marker.RemoveObsolete()
}

// syncFolder makes the names in a folder durable. Errors freeze the files.
func (d *disk) syncFolder(name string) {
	folder, _ := d.OpenDir(name)
	_ = folder.Sync()
	_ = folder.Close()
}

// logNumber returns the number in the name of a log.
func logNumber(name string) (number uint64, ok bool) {
	digits, isLog := strings.CutSuffix(name, ".log")
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, isLog && err == nil
}

// newest looks whether the newest log is there, if the manifest needs logs from number first on. It always is, whatever ended the process: Pebble removes
// none but those that were written to tables. A ledger of an earlier version and a copy have no marker.
func (v verifier) newest(names []string, first uint64) error {
	told, err := atomicfs.ReadMarker(v.fs, v.dir, newestMarker)
	if err != nil || told == "" {
		return err
	}
	newest, err := strconv.ParseUint(told, 10, 64)
	if err != nil {
		return &damage{"marker." + newestMarker, "it names no log"}
	}
	there := slices.ContainsFunc(names, func(name string) bool {
		number, ok := logNumber(name)
		return ok && number == newest
	})
	if newest >= first && !there {
		return &damage{fmt.Sprintf("%06d.log", newest), "it is missing, and with it the last changes"}
	}
	return nil
}
