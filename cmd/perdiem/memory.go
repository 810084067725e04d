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

// limitMemory tells the garbage collector how much memory there is, unless GOMEMLIMIT has told it: what perdiem needs, and less where the
// control group allows less.
func limitMemory(getenv func(string) (string, bool)) {
	if text, set := getenv("GOMEMLIMIT"); set && text != "" {
		return
	}
	debug.SetMemoryLimit(min(defaultMemory, groupMemory()/5*4))
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
