package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionOfABuild(t *testing.T) {
	const revision = "0123456789abcdef0123456789abcdef01234567"
	built := func(version string, settings ...string) *debug.BuildInfo {
		info := &debug.BuildInfo{Main: debug.Module{Version: version}}
		for i := 0; i < len(settings); i += 2 {
			info.Settings = append(info.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return info
	}
	clone := built("v0.0.0-20261123090000-0123456789ab+dirty", "vcs.revision", revision, "vcs.modified", "true")
	for _, tc := range []struct {
		name, version, revision string
		info                    *debug.BuildInfo
		want                    string
	}{
		{"by make", "v1.2.3", revision, nil, "toot v1.2.3 (0123456789ab), "},
		{"by make, with changes", "v1.2.3", revision + "+dirty", nil, "toot v1.2.3 (0123456789ab, modified), "},
		{"by make without a tag, in a clone", "", revision, clone, "toot v0.0.0-20261123090000-0123456789ab+dirty (0123456789ab), "},
		{"by go build in a clone", "", "", clone, "toot v0.0.0-20261123090000-0123456789ab+dirty (0123456789ab, modified), "},
		{"by go build in a clone at a tag", "", "", built("v1.2.3", "vcs.revision", revision, "vcs.modified", "false"), "toot v1.2.3 (0123456789ab), "},
		{"by go install of a version", "", "", built("v1.2.3"), "toot v1.2.3, "},
		{"by make without a tag, without a clone's information", "", revision, built(unversioned), "toot (devel) (0123456789ab), "},
		{"by go run", "", "", built(unversioned), "toot (devel) (revision unknown), "},
		{"without modules", "", "", nil, "toot (devel) (revision unknown), "},
	} {
		if got := versionOf(tc.version, tc.revision, tc.info).String(); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: %q, want %q…", tc.name, got, tc.want)
		}
	}
}
