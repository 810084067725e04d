package machine

import (
	"os"
	"testing"
	"time"
)

func TestOwnWorkIsNotOthers(t *testing.T) {
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	m, err := StartMeter()
	if err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); time.Since(begun) < 200*time.Millisecond; {
	}
	after, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after <= before {
		t.Errorf("processor time went from %v to %v while it was spent", before, after)
	}
	if others, err := m.Others(); err != nil || others < 0 {
		t.Errorf("Others = %v, %v", others, err)
	}
}

func TestMemory(t *testing.T) {
	m, err := MemoryOf(os.Getpid())
	if err != nil || m.Resident < 1<<20 || m.Peak < m.Resident {
		t.Errorf("MemoryOf = %+v, %v; want more than 1 MiB, and no more than the peak", m, err)
	}
}
