//go:build unix

package sqliteengine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAReadOnlyFileIsReported opens a file that it may not write to. Root may
// write to every file, so for root somebody else does it.
func TestAReadOnlyFileIsReported(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "toot.db")
	e, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o444); err != nil {
		t.Fatal(err)
	}
	binary := os.Args[0]
	var attr *syscall.SysProcAttr
	if os.Getuid() == 0 {
		const nobody = 65534
		attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		binary = filepath.Join(dir, "child") // from where nobody may run it
		putProgram(t, binary)
		for _, d := range []string{dir, filepath.Dir(dir), file + "-lock"} {
			if err := os.Chmod(d, 0o777); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command(binary, "-test.run=^TestChild$", "-test.v")
	cmd.Dir, cmd.SysProcAttr = dir, attr
	if got := line(t, runChild(t, cmd, "open", file), "opened:"); !strings.Contains(got, "cannot be written to: check the permissions") {
		t.Error(got)
	}
}
