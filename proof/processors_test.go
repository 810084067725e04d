package main

import (
	"strings"
	"testing"
	"time"
)

func TestProcessorTime(t *testing.T) {
	stat := strings.Fields("S 1 2 3 0 -1 4194560 5 0 0 0 150 75 0 0 20 0 8 0")
	if got, err := processorTime(stat); err != nil || got != 2250*time.Millisecond {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := processorTime(stat[:10]); err == nil {
		t.Errorf("got %v from too few fields", got)
	}
}

func TestMachineTime(t *testing.T) {
	// user nice system idle iowait irq softirq steal guest guest_nice
	if got, err := machineTime("cpu  100 20 30 4000 500 6 7 37 50 10\ncpu0 1 1 1 1\n"); err != nil || got != 2*time.Second {
		t.Errorf("got %v, %v", got, err)
	}
	for _, stat := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9", "cpu 1 2 x 4 5 6 7 8 9"} {
		if got, err := machineTime(stat); err == nil {
			t.Errorf("%q: got %v", stat, got)
		}
	}
}
