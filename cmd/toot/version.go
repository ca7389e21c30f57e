package main

import (
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// What the linker may be told with -X main.version=v1.2.3 -X main.revision=…,
// as make build does; otherwise the build information that Go writes into a
// binary says it, if it was built in a clone, or by go install of a version.
var (
	version  string
	revision string // with "+dirty" behind it if the files were changed
)

type versionJSON struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// unversioned is the version of a build of which none is known, as Go has it.
const unversioned = "(devel)"

func buildVersion() versionJSON {
	info, _ := debug.ReadBuildInfo() // nil if there is none
	v := versionOf(version, revision, info)
	v.Go, v.Platform = runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH
	return v
}

// versionOf is the version that the linker was told of, or else the one in the
// build information, which may be nil; the revision likewise.
func versionOf(version, revision string, info *debug.BuildInfo) versionJSON {
	v := versionJSON{Version: version}
	v.Revision, v.Modified = strings.CutSuffix(revision, "+dirty")
	if info != nil {
		if v.Version == "" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch {
			case revision != "": // the linker knows it
			case s.Key == "vcs.revision":
				v.Revision = s.Value
			case s.Key == "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if v.Version == "" {
		v.Version = unversioned
	}
	return v
}

// String is the version in a line: toot v1.2.3 (0123456789ab, modified), go1.26.8, linux/amd64.
func (v versionJSON) String() string {
	build := "revision unknown"
	if v.Revision != "" {
		build = v.Revision[:min(len(v.Revision), 12)]
	}
	if v.Modified {
		build += ", modified"
	}
	text := "toot " + v.Version
	if v.Revision != "" || v.Version == unversioned {
		text += " (" + build + ")"
	}
	return text + ", " + v.Go + ", " + v.Platform
}

func (c *command) version() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  toot version --json",
		Args:    arguments(0, 0),
		RunE:    func(*cobra.Command, []string) error { return c.showVersion(asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func (c *command) showVersion(asJSON bool) error {
	v := buildVersion()
	if asJSON {
		return c.out.JSON(v)
	}
	c.out.Say("%s", c.out.Fold(v.String(), 0))
	return nil
}
