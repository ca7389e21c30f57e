package toot_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/watermarkchurch/toot-go"

// TestImportsPointDown holds the layers apart: commands, then middleware and
// engines, then the root, then the contract and the HTTP client, which have
// only the standard library below them.
func TestImportsPointDown(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg, imports := fields[0], fields[1:]
		for _, imported := range imports {
			var wrong string
			switch inside := strings.HasPrefix(imported, module); {
			case pkg == module+"/engine" && strings.Contains(imported, "."):
				wrong = "the contract uses the standard library only"
			case pkg == module && inside && imported != module+"/engine" && imported != module+"/internal/h1":
				wrong = "the root package knows no package of the module but the contract, and its HTTP client"
			case pkg == module+"/internal/h1" && strings.Contains(imported, "."):
				wrong = "the HTTP client uses the standard library only"
			case strings.HasPrefix(pkg, module+"/engine/") && imported == module:
				wrong = "an engine knows nothing of the root package"
			case !strings.HasPrefix(pkg, module+"/cmd/") && !strings.HasPrefix(pkg, module+"/internal/") && strings.HasPrefix(imported, module+"/cmd/"):
				wrong = "nothing imports a command"
			case pkg != module+"/engine/sqliteengine/internal/sqlite" && strings.HasPrefix(imported, "modernc.org/"),
				pkg == module+"/engine/sqliteengine" && imported == "unsafe":
				wrong = "only the border to SQLite knows how its library is made"
			}
			if wrong != "" {
				t.Errorf("%s imports %s: %s", pkg, imported, wrong)
			}
		}
	}
	if !strings.Contains(string(out), module+"/engine/sqliteengine ") {
		t.Errorf("go list did not list the module:\n%s", out)
	}
}

// TestNobodyGetsMoreThanAskedFor: metrics, traces and the command line are
// packages of their own, so that an app has what it uses; and the command is
// without gRPC, which would double it.
func TestNobodyGetsMoreThanAskedFor(t *testing.T) {
	for pkg, without := range map[string][]string{
		".":                     {"github.com/prometheus/", "go.opentelemetry.io/", "github.com/spf13/", "github.com/redis/", "modernc.org/", module + "/observe/"},
		"./engine/sqliteengine": {"github.com/prometheus/", "go.opentelemetry.io/", "github.com/redis/"},
		"./engine/redisengine":  {"github.com/prometheus/", "go.opentelemetry.io/", "modernc.org/"},
		"./observe/prometheus":  {"go.opentelemetry.io/", "modernc.org/"},
		"./observe/otel":        {"github.com/prometheus/", "go.opentelemetry.io/otel/sdk", "modernc.org/"},
		"./cmd/toot":            {"google.golang.org/grpc"},
	} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg).CombinedOutput()
		if err != nil {
			t.Fatalf("go list: %v\n%s", err, out)
		}
		for dep := range strings.Lines(string(out)) {
			for _, prefix := range without {
				if strings.HasPrefix(dep, prefix) {
					t.Errorf("%s depends on %s", pkg, strings.TrimSpace(dep))
				}
			}
		}
	}
}
