package main

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// defaultMemory is how much memory the garbage collector aims to stay below, in bytes: ten million members a day fit well. The ledger's
// cache is on the Go heap, which would otherwise grow to twice of what is in use.
const defaultMemory = 560 << 20

// defaultGarbage is how far the heap may grow between two collections, in per cent of what is in use. Go's own 100 makes a small node, which
// has some ten megabytes in use, collect many times a second, for 8 % of its time. The limit of the memory holds all the same.
const defaultGarbage = 400

// limitMemory tells the garbage collector how much memory there is, unless GOMEMLIMIT has told it: what perdiem needs, and less where the
// control group allows less. Within a limit it may be lazy, unless GOGC has told it how lazy.
func limitMemory(getenv func(string) (string, bool)) {
	if text, set := getenv("GOMEMLIMIT"); !set || text == "" {
		debug.SetMemoryLimit(min(defaultMemory, groupMemory()/5*4))
	}
	bounded := debug.SetMemoryLimit(-1) != math.MaxInt64
	if text, set := getenv("GOGC"); bounded && (!set || text == "") {
		debug.SetGCPercent(defaultGarbage)
	}
}

// groupMemory returns the memory that the control group allows the process, in bytes.
func groupMemory() int64 {
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			return n
		}
	}
	return math.MaxInt64
}
