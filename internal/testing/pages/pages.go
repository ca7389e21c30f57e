// Package pages reads the programs and commands that the documentation prints,
// so that tests can run them as they stand.
package pages

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

const module = "github.com/watermarkchurch/toot-go"

// Block is a fenced block of code in a page.
type Block struct {
	// Name is what the HTML comment on the line above says, "" without one.
	Name     string
	Language string
	Text     string
}

var fence = regexp.MustCompile("(?ms)(?:^ *<!-- ([^\n]*?) -->\n)?^( *)```(\\w*)\n(.*?)^ *```$")

// Blocks returns the fenced blocks of a page in their order. The page is named
// by its path in the repository, such as "docs/tutorial.md".
func Blocks(t testing.TB, page string) []Block {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Root(t), filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []Block
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		code := regexp.MustCompile("(?m)^"+m[2]).ReplaceAllString(m[4], "")
		blocks = append(blocks, Block{Name: m[1], Language: m[3], Text: code})
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no code", page)
	}
	return blocks
}

// Named returns the text of the block of a page that has this name.
func Named(t testing.TB, page, name string) string {
	t.Helper()
	for _, b := range Blocks(t, page) {
		if b.Name == name {
			return b.Text
		}
	}
	t.Fatalf("%s has no block %q", page, name)
	return ""
}

// Root is the folder of the repository, found from the folder of the test.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(gomod, []byte("module "+module+"\n")) {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the test does not run within the repository")
		}
		dir = filepath.Dir(dir)
	}
}

// Module makes a folder a module of its own that uses the toot of this
// repository, and whatever that uses in the same versions.
func Module(t testing.TB, dir, path string) {
	t.Helper()
	root := Root(t)
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "go.mod" {
			content = bytes.Replace(content, []byte("module "+module), []byte("module "+path), 1)
			content = append(content, "\nrequire "+module+" v0.0.0\nreplace "+module+" => "+root+"\n"...)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Build builds a program in a module and a folder of its own, and returns its
// path.
func Build(t testing.TB, name, source string) string {
	t.Helper()
	dir := t.TempDir()
	Module(t, dir, "example.org/"+name)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-o", name, ".")
	build.Dir = dir
	build.Env = append(build.Environ(), "CGO_ENABLED=0") // as make test has built the packages before
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the %s: %v\n%s", name, err, out)
	}
	return filepath.Join(dir, name)
}

// FreeAddress is "localhost:" and a port that nobody listens on; somebody may
// take it before it is used.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "localhost:" + port
}
