package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// busy is how much of the machine's processors was in use for some time, as shares of 1.
type busy struct {
	own float64 // by the node, the upstream and the clients
	all float64 // by everything that runs on the machine
}

// times are processor times, added up over the processors.
type times struct{ own, all time.Duration }

// measureBusy measures from one instant to another.
func measureBusy(ctx context.Context, n *node, from, to time.Time) (busy, error) {
	var read [2]times
	for i, at := range []time.Time{from, to} {
		if err := sleep(ctx, time.Until(at)); err != nil {
			return busy{}, err
		}
		var err error
		if read[i], err = readTimes(n); err != nil {
			return busy{}, err
		}
	}
	whole := float64(to.Sub(from)) * float64(runtime.NumCPU())
	return busy{own: float64(read[1].own-read[0].own) / whole, all: float64(read[1].all-read[0].all) / whole}, nil
}

func readTimes(n *node) (times, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return times{}, err
	}
	stat, err := n.stat()
	if err != nil {
		return times{}, err
	}
	its, err := processorTime(stat)
	if err != nil {
		return times{}, err
	}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return times{}, err
	}
	all, err := machineTime(string(text))
	return times{own: time.Duration(u.Utime.Nano()+u.Stime.Nano()) + its, all: all}, err
}

// tick is the unit of the kernel's processor times: its USER_HZ is 100 wherever Linux runs Go.
const tick = time.Second / 100

// processorTime reads a process's processor time from its /proc/pid/stat, from the state on: fields 14 and 15 in proc(5).
func processorTime(stat []string) (time.Duration, error) {
	const user, system = 14 - 3, 15 - 3
	if len(stat) <= system {
		return 0, fmt.Errorf("/proc/pid/stat has %d fields after the name", len(stat))
	}
	return ticks(stat[user], stat[system])
}

// machineTime reads from /proc/stat for how long the processors were not idle: the first line's fields but idle and iowait, and but
// guest and guest_nice, which user and nice include.
func machineTime(stat string) (time.Duration, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	const idle = 4
	return ticks(append(fields[1:idle:idle], fields[idle+2:9]...)...)
}

func ticks(fields ...string) (time.Duration, error) {
	var sum time.Duration
	for _, field := range fields {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("a processor time: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}
