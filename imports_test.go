package toot_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/watermarkchurch/toot-go"

// arrows says which packages of the module a package may import. Below the
// root they are all there is; what stands above it (the command, metrics,
// traces, tests' helpers) may import whatever is public, and its own.
var arrows = map[string][]string{
	"":                  {"engine", "signing", "internal/coalesce", "internal/lanes", "internal/outbound", "internal/registry", "internal/wire"},
	"internal/registry": {"engine", "signing", "internal/outbound", "internal/wire"},
	"internal/lanes":    {"engine", "internal/coalesce"},
	"internal/outbound": {"internal/h1", "internal/wire"},
	"signing":           {"internal/wire"},
	"internal/wire":     {},
	"internal/coalesce": {},
	"internal/h1":       {},
	"engine":            {},
	"engine/anyengine":  {"engine", "engine/sqliteengine", "engine/redisengine"},

	"internal/dialect":    {},
	"outbox":              {"", "engine", "internal/dialect"},
	"outbox/pgxoutbox":    {"", "outbox"},
	"inbox":               {"", "inbox/internal/once", "internal/dialect"},
	"inbox/internal/once": {"", "internal/dialect"},
	"inbox/pgxinbox":      {"", "inbox", "inbox/internal/once", "internal/dialect"},
}

// standardOnly are packages that use nothing but the standard library.
var standardOnly = []string{"internal/coalesce", "internal/h1", "engine", "internal/dialect"}

// TestImportsPointDown holds the arrows of docs/design.md.
func TestImportsPointDown(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	met := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := within(fields[0])
		met[pkg] = true
		for _, imported := range fields[1:] {
			if !strings.HasPrefix(imported, module) {
				if slices.Contains(standardOnly, pkg) && strings.Contains(imported, ".") {
					t.Errorf("%s imports %s, but is to use the standard library only", pkg, imported)
				}
				if pkg != "engine/sqliteengine/internal/sqlite" && pkg != "internal/testing/sqltest" && strings.HasPrefix(imported, "modernc.org/") ||
					pkg == "engine/sqliteengine" && imported == "unsafe" {
					t.Errorf("%s imports %s: only the border to SQLite knows how its library is made", pkg, imported)
				}
				continue
			}
			if to := within(imported); !mayImport(pkg, to) {
				t.Errorf("%q imports %q: that arrow is not in the picture of the house (docs/design.md)", pkg, to)
			}
		}
	}
	for pkg := range arrows {
		if !met[pkg] {
			t.Errorf("there is no package %q", pkg)
		}
	}
}

// within is the path of a package inside of the module, "" for the root.
func within(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

func mayImport(pkg, to string) bool {
	if allowed, ok := arrows[pkg]; ok {
		return slices.Contains(allowed, to)
	}
	isCommand := strings.HasPrefix(pkg, "cmd/")
	isTesting := strings.HasPrefix(pkg, "internal/testing/") || pkg == "toottest"
	switch {
	case strings.HasPrefix(to, pkg+"/"): // what is its own
		return true
	case strings.HasPrefix(pkg, "engine/"):
		return to == "engine" || strings.HasPrefix(to, pkg[:strings.LastIndexByte(pkg, '/')+1]) && strings.Contains(to, "/internal/")
	case strings.HasPrefix(to, "cmd/"):
		return isCommand
	case strings.HasPrefix(to, "internal/testing/"):
		return isTesting
	case to == "internal/wire": // problem details and bounded bodies are everybody's
		return true
	}
	return !strings.HasPrefix(to, "internal/")
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
		"./outbox":              {"github.com/jackc/", "github.com/go-sql-driver/", "modernc.org/"},
		"./inbox":               {"github.com/jackc/", "github.com/go-sql-driver/", "modernc.org/"},
		"./toottest":            {"github.com/prometheus/", "go.opentelemetry.io/", "github.com/spf13/", "github.com/redis/", "modernc.org/"},
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
