package main

import "testing"

func TestGatewayAddress(t *testing.T) {
	for line, want := range map[string]string{
		"perdiem: ready gateway=127.0.0.1:8080 admin=127.0.0.1:8082 ops=127.0.0.1:9090": "127.0.0.1:8080",
		"perdiem: ready admin=127.0.0.1:8082":                                           "",
		"perdiem: not ready gateway=127.0.0.1:8080":                                     "",
		"": "",
	} {
		if got, ok := gatewayAddress(line); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v", line, got, ok)
		}
	}
}
