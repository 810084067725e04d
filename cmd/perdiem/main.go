// Command perdiem gives every application of an API, and every member who uses the API through it, a daily allowance of
// calls to each endpoint, and holds them to it.
//
// perdiem demo shows it on this machine; perdiem serve runs a node; the other commands speak to a node that runs. What each of
// them takes is told by -h.
//
// The exit status is 0 when a command did what it was asked, also when SIGTERM or SIGINT ended it; 1 when it failed; and 2
// when it was not asked properly.
package main

import (
	"os"
	"time"
	_ "time/tzdata" // day.zone works on a machine without zone files
)

func main() {
	p := program{
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
		getenv: os.LookupEnv,
		now:    time.Now,
		exit:   os.Exit,
	}
	os.Exit(p.run(os.Args[1:]))
}
