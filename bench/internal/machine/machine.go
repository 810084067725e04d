// Package machine says what processes take of the machine, and how much of it is busy with other things: a benchmark beside which
// something else runs is to be run again.
package machine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of time in /proc: all of Linux's architectures have a hundred a second for user space.
const tick = 10 * time.Millisecond

// Meter measures from when it was started.
type Meter struct {
	started    time.Time
	busy, ours time.Duration
}

// StartMeter starts a meter.
func StartMeter() (Meter, error) {
	busy, err := busy()
	if err != nil {
		return Meter{}, err
	}
	ours, err := ours()
	return Meter{started: time.Now(), busy: busy, ours: ours}, err
}

// Others returns how many processors were busy, on average, with what neither this process nor any that it started did.
func (m Meter) Others() (processors float64, err error) {
	now, err := StartMeter()
	if err != nil {
		return 0, err
	}
	others := (now.busy - m.busy) - (now.ours - m.ours)
	return max(0, others.Seconds()/now.started.Sub(m.started).Seconds()), nil
}

// busy returns the time that all processors together have not been idle.
func busy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := strings.Fields(string(line)) // cpu user nice system idle iowait irq softirq steal guest …
	if len(fields) < 9 {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var ticks time.Duration
	for i, field := range fields[1:9] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		if idle := i == 3 || i == 4; !idle {
			ticks += time.Duration(n)
		}
	}
	return ticks * tick, nil
}

// ours returns the processor time of this process and of all that descend from it, ended ones too.
func ours() (time.Duration, error) { return CPU(os.Getpid()) }

// CPU returns the processor time of a process and of all that descend from it, ended ones too.
func CPU(pid int) (time.Duration, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	times, parents := map[int]time.Duration{}, map[int]int{}
	for _, file := range files {
		s, err := readStat(file)
		if err != nil {
			continue // it has just ended, and counts with its parent
		}
		times[s.pid], parents[s.pid] = s.own+s.ended, s.parent
	}
	if _, ok := times[pid]; !ok {
		return 0, fmt.Errorf("there is no process %d", pid)
	}
	var sum time.Duration
	for one, t := range times {
		for p := one; p != 0; p = parents[p] {
			if p == pid {
				sum += t
				break
			}
		}
	}
	return sum, nil
}

// stat is what /proc says of a process; the times are its own and its ended children's.
type stat struct {
	pid, parent int
	own, ended  time.Duration
}

func readStat(file string) (stat, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return stat{}, err
	}
	// 1234 (name, in which anything may stand) S parent …
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("%s is malformed", file)
	}
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("%s is malformed", file)
	}
	var n [6]int64
	for i, field := range []string{strings.TrimSpace(string(text[:open])), fields[1], fields[11], fields[12], fields[13], fields[14]} {
		if n[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return stat{}, fmt.Errorf("%s: %w", file, err)
		}
	}
	return stat{
		pid: int(n[0]), parent: int(n[1]),
		own: time.Duration(n[2]+n[3]) * tick, ended: time.Duration(n[4]+n[5]) * tick,
	}, nil
}

// Memory is what a process has in memory, in bytes.
type Memory struct {
	Resident int64
	Peak     int64 // the most that was ever resident
}

// MemoryOf returns the memory of a process.
func MemoryOf(pid int) (Memory, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, err
	}
	var m Memory
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		to := map[string]*int64{"VmRSS": &m.Resident, "VmHWM": &m.Peak}[name]
		if to == nil {
			continue
		}
		var kib int64
		if _, err := fmt.Sscanf(value, "%d kB", &kib); err != nil {
			return Memory{}, fmt.Errorf("%s of process %d: %w", name, pid, err)
		}
		*to = kib << 10
	}
	return m, nil
}
