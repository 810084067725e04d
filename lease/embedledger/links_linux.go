package embedledger

import (
	"os"
	"syscall"
)

// links returns how many names a file has; 0 where that is not known.
func links(name string) uint64 {
	info, err := os.Stat(name)
	if err != nil {
		return 0
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint64(stat.Nlink)
}
