package main

import (
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
)

type versionCommand struct{}

func (versionCommand) Run(p *program) error {
	b := readBuild()
	_, err := fmt.Fprintf(p.stdout, "perdiem %s (revision %s, %s, %s/%s)\n", b.version, b.revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// build says from what the binary was made.
type build struct {
	version  string // of the module; "devel" for one that was built in its own folder
	revision string // of the repository, with "-modified" where files had been changed; "unknown" where the build does not tell
}

func readBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return buildOf(info)
}

// buildOf reads what go build notes in a binary: a revision where it was built in a clone of the repository, unless -buildvcs=false, and else at best the
// beginning of one, in the version of a module that is no release.
func buildOf(info *debug.BuildInfo) build {
	b := build{version: "devel", revision: "unknown"}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.version = v
		clean, _, _ := strings.Cut(v, "+")
		if m := pseudoVersion.FindStringSubmatch(clean); m != nil {
			b.revision = m[1]
		}
	}
	modified := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && s.Value != "":
			b.revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "-modified"
		}
	}
	if b.revision != "unknown" {
		b.revision += modified
	}
	return b
}

// pseudoVersion is the version of a module that is no release: an instant, and the beginning of a revision. See https://go.dev/ref/mod#pseudo-versions.
var pseudoVersion = regexp.MustCompile(`[.-]\d{14}-([0-9a-f]{12})$`)
