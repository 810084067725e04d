package embedledger

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// Sizes of the store, in bytes.
const (
	cacheSize    = 128 << 20 // holds the bloom filters and index blocks of ten million counters and more
	memTableSize = 16 << 20
	memTables    = 4
)

// storeOptions are Pebble's, as measured: most borrows ask for a counter that does not exist yet, and a bloom filter
// on every level answers them without reading a block.
func storeOptions(d *disk, lock *pebble.Lock, logger *slog.Logger) *pebble.Options {
	o := &pebble.Options{
		FS:                          d,
		Lock:                        lock,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		CacheSize:                   cacheSize,
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: memTables,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       1000,
		LBaseMaxBytes:               64 << 20,
		Logger:                      storeLog{disk: d, log: logger},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = 8 << 10
		o.Levels[i].IndexBlockSize = 64 << 10
	}
	o.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) { d.fail(damaged(err)) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			d.fail(&damage{filepath.Base(info.Path), oneLine(info.Details)})
		},
	}
	o.EnsureDefaults()
	return o
}

// storeLog hands Pebble's messages on. Pebble expects Fatalf to end the process; here it freezes the files
// (see disk) and returns, and no call is answered any more.
type storeLog struct {
	disk *disk
	log  *slog.Logger
}

func (s storeLog) Infof(format string, args ...any) {
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug("ledger's store", "message", fmt.Sprintf(format, args...))
	}
}

func (s storeLog) Errorf(format string, args ...any) {
	if s.disk.failed() == nil { // what follows a failure says nothing new
		s.log.Error("ledger's store", "message", fmt.Sprintf(format, args...))
	}
}

func (s storeLog) Fatalf(format string, args ...any) {
	s.disk.fail(fmt.Errorf(format, args...))
}
