package toot_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The files of the root package that belong to one half of an App. All others
// belong to both: what an App is, what goes over the wire, retries, observing.
var halves = map[string][]string{
	"publisher":  {"publisher.go", "publish.go", "prepare.go", "fanout.go", "deliver.go", "verdict.go", "subscriptions.go", "subscriptionlist.go", "secrets.go", "consent.go"},
	"subscriber": {"subscriber.go", "source.go", "announce.go", "takers.go", "register.go", "callback.go", "batch.go", "verify.go", "backlog.go", "handle.go"},
}

// TestNeitherHalfTouchesTheOther type-checks the root package: nothing in the
// files of one half refers to anything that is declared in those of the other,
// nor to the other half of the App.
func TestNeitherHalfTouchesTheOther(t *testing.T) {
	fset := token.NewFileSet()
	uses := checkRoot(t, fset)
	halfOf := map[string]string{}
	for half, files := range halves {
		for _, file := range files {
			if _, err := os.Stat(file); err != nil {
				t.Errorf("the list of halves names a file that is not there: %v", err)
			}
			halfOf[file] = half
		}
	}
	fileOf := func(pos token.Pos) string { return filepath.Base(fset.Position(pos).Filename) }
	for ident, object := range uses {
		here := halfOf[fileOf(ident.Pos())]
		if here == "" || object.Pkg() == nil || object.Pkg().Name() != "toot" {
			continue
		}
		there := halfOf[fileOf(object.Pos())]
		if field, ok := object.(*types.Var); ok && field.IsField() && halves[object.Name()] != nil {
			there = object.Name() // App.publisher or App.subscriber
		}
		if there != "" && there != here {
			t.Errorf("%s: %s belongs to the %s", fset.Position(ident.Pos()), ident.Name, there)
		}
	}
}

// checkRoot type-checks the package in this folder and returns what its
// identifiers refer to.
func checkRoot(t *testing.T, fset *token.FileSet) map[*ast.Ident]types.Object {
	t.Helper()
	names, err := filepath.Glob("*.go")
	must(t, err)
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		must(t, err)
		files = append(files, file)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", exportData(t))}
	_, err = config.Check("github.com/watermarkchurch/toot-go", fset, files, info)
	must(t, err)
	return info.Uses
}

// exportData returns what opens the compiled form of a package that the root
// stands on.
func exportData(t *testing.T) func(path string) (io.ReadCloser, error) {
	t.Helper()
	goList := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Export", ".")
	goList.Env = append(goList.Environ(), "CGO_ENABLED=0") // as make test has built the packages before
	out, err := goList.Output()
	must(t, err)
	exports := map[string]string{}
	for list := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct{ ImportPath, Export string }
		if err := list.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[pkg.ImportPath] = pkg.Export
	}
	return func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("go list knows no export data of %s", path)
		}
		return os.Open(exports[path])
	}
}
