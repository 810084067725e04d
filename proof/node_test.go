package main

import (
	"maps"
	"testing"
)

func TestReadyAddresses(t *testing.T) {
	for line, want := range map[string]map[string]string{
		"perdiem: ready gateway=127.0.0.1:8080 admin=127.0.0.1:8082": {"gateway": "127.0.0.1:8080", "admin": "127.0.0.1:8082"},
		"perdiem: not ready gateway=127.0.0.1:8080":                  nil,
		"": nil,
	} {
		if got := readyAddresses(line); !maps.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%q: got %v, want %v", line, got, want)
		}
	}
}
