package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestLimitMemory(t *testing.T) {
	const limit, garbage = math.MaxInt64, 100
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
	defer debug.SetGCPercent(debug.SetGCPercent(garbage))
	for _, test := range []struct {
		name    string
		env     map[string]string
		limited bool
		garbage int
	}{
		{"nothing told", nil, true, defaultGarbage},
		{"empty", map[string]string{"GOMEMLIMIT": "", "GOGC": ""}, true, defaultGarbage},
		{"a limit told, which is none", map[string]string{"GOMEMLIMIT": "off"}, false, garbage},
		{"garbage told", map[string]string{"GOGC": "100"}, true, garbage},
	} {
		t.Run(test.name, func(t *testing.T) {
			debug.SetMemoryLimit(limit)
			debug.SetGCPercent(garbage)
			limitMemory(func(name string) (string, bool) { text, set := test.env[name]; return text, set })
			got := debug.SetMemoryLimit(-1)
			if limited := got != limit; limited != test.limited || got > defaultMemory && limited {
				t.Errorf("the limit is %d", got)
			}
			if got := debug.SetGCPercent(garbage); got != test.garbage {
				t.Errorf("GOGC is %d, want %d", got, test.garbage)
			}
		})
	}
}
