package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"perdiem": main})
}

// TestScripts drives the real program. Each script has an upstream of its own at $UPSTREAM, and the commands of stage.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setupStage,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":     start,
			"signal":    sendSignal,
			"drain":     drain,
			"exits":     exits,
			"call":      call,
			"spend":     spend,
			"until":     until,
			"keep":      keep,
			"logged":    logged,
			"soon":      soon,
			"reached":   reached,
			"curlagain": curlAgain,
			"load":      load,
			"between":   between,
			"flip":      flip,

			"certificate": certificate,
			"encrypted":   encrypted,
			"securely":    securely,
		},
	})
}
