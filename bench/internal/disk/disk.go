// Package disk says what a benchmark's disk is worth: figures about durable writes mean little without it.
package disk

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FileSystem returns the type of the file system that holds a folder, such as ext4.
func FileSystem(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer mounts.Close()
	var point, kind string
	lines := bufio.NewScanner(mounts)
	for lines.Scan() {
		// 36 35 98:0 /root /mount/point options … - type source options
		mount, file, found := strings.Cut(lines.Text(), " - ")
		fields, types := strings.Fields(mount), strings.Fields(file)
		if !found || len(fields) < 5 || len(types) < 1 {
			continue
		}
		// Of mounts over the same point the last one holds.
		if at := fields[4]; len(at) >= len(point) && holds(at, dir) {
			point, kind = at, types[0]
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	if kind == "" {
		return "", fmt.Errorf("no file system holds %s", dir)
	}
	return kind, nil
}

// holds reports whether dir is the mount point or lies below it.
func holds(point, dir string) bool {
	return point == "/" || dir == point || strings.HasPrefix(dir, point+"/")
}

// Durable returns the type of the file system that holds a folder, and an error when it forgets all when the power goes: on such
// a one a sync costs nothing, and says nothing.
func Durable(dir string) (string, error) {
	kind, err := FileSystem(dir)
	if err == nil && (kind == "tmpfs" || kind == "ramfs") {
		err = fmt.Errorf("%s is on %s, where a sync is for nothing: name a folder on a disk", dir, kind)
	}
	return kind, err
}

// SyncTime returns how long it takes to append 4 KiB to a file of a folder and to sync it: the median of some hundred times.
func SyncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "sync")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4<<10)
	took := make([]time.Duration, 301)
	for i := range took {
		begun := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// Usage returns the bytes that a folder takes on the disk, as du does. Files that vanish meanwhile do not count.
func Usage(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		info, err := entry.Info()
		if err != nil {
			return ignoreGone(err)
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			bytes += stat.Blocks * 512
		}
		return nil
	})
	return bytes, err
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
