package main

import (
	"runtime/debug"
	"testing"
)

func TestBuildOf(t *testing.T) {
	const revision = "f685bd70123456789abcdef0123456789abcdef0"
	for _, c := range []struct {
		version  string
		settings []debug.BuildSetting
		want     build
	}{
		{"", nil, build{"devel", "unknown"}},
		{"(devel)", nil, build{"devel", "unknown"}},
		{"(devel)", []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}, build{"devel", "unknown"}},
		{"(devel)", []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: "false"}}, build{"devel", revision}},
		{"(devel)", []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: revision}}, build{"devel", revision + "-modified"}},
		{"v1.2.3", nil, build{"v1.2.3", "unknown"}},
		{"v1.2.3", []debug.BuildSetting{{Key: "vcs.revision", Value: revision}}, build{"v1.2.3", revision}},
		{"v0.0.0-20261124224100-f685bd701234", nil, build{"v0.0.0-20261124224100-f685bd701234", "f685bd701234"}},
		{"v1.2.4-0.20261124224100-f685bd701234", nil, build{"v1.2.4-0.20261124224100-f685bd701234", "f685bd701234"}},
		{
			"v0.0.0-20261124224100-f685bd701234+dirty",
			[]debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: "true"}},
			build{"v0.0.0-20261124224100-f685bd701234+dirty", revision + "-modified"},
		},
	} {
		if got := buildOf(&debug.BuildInfo{Main: debug.Module{Version: c.version}, Settings: c.settings}); got != c.want {
			t.Errorf("%s %v: %+v, want %+v", c.version, c.settings, got, c.want)
		}
	}
}
