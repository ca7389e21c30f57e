//go:build unix

package sqliteengine

import (
	"bufio"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/testing/memdir"
)

// user is somebody a child process can be run as. It takes root to be somebody
// else: for others, every user is themselves.
type user struct{ uid, gid, shared uint32 }

const sharedGroup = 60010

var (
	ann = user{60001, 60001, sharedGroup}
	bob = user{60002, 60002, sharedGroup}
)

// group is the group that ann and bob are both in.
func group() int {
	if os.Geteuid() != 0 {
		return os.Getegid()
	}
	return sharedGroup
}

// runAs runs TestChild as a user.
func runAs(t *testing.T, u user, what, file string) (cmd *exec.Cmd, out *bufio.Scanner) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "child") // from where everybody may run it
	putProgram(t, binary)
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd = exec.Command(binary, "-test.run=^TestChild$", "-test.v")
	cmd.Dir = dir
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.uid, Gid: u.gid, Groups: []uint32{u.shared}}}
	}
	return cmd, runChild(t, cmd, what, file)
}

// putProgram puts this program in another place, where everybody may run it.
func putProgram(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o005 == 0o005 && os.Link(os.Args[0], path) == nil {
		return
	}
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	// A process that is started meanwhile would have the file open for writing,
	// and nobody could run it.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
}

// sharedFolder is a folder that ann and bob may write to.
func sharedFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d, mode := range map[string]fs.FileMode{dir: 0o770, filepath.Dir(dir): 0o755} {
		if err := os.Chmod(d, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, -1, group()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// opensAs opens and closes a file as a user, and returns what that says.
func opensAs(t *testing.T, u user, file string) string {
	t.Helper()
	cmd, out := runAs(t, u, "open", file)
	said := line(t, out, "opened:")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return said
}

var ofAStore = []string{"", logSuffix, indexSuffix, lockSuffix}

// checkModes holds the modes of all files of a store that is open, and that they
// have one owner and group, against what they should be.
func checkModes(t *testing.T, file string, mode fs.FileMode) {
	t.Helper()
	first, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	database := first.Sys().(*syscall.Stat_t)
	for _, suffix := range ofAStore {
		info, err := os.Stat(file + suffix)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := info.Mode(); got != mode {
			t.Errorf("%s has mode %v, want %v", filepath.Base(file+suffix), got, mode)
		}
		if s := info.Sys().(*syscall.Stat_t); s.Uid != database.Uid || s.Gid != database.Gid {
			t.Errorf("%s is user %d's and group %d's, the database file %d's and %d's", filepath.Base(file+suffix), s.Uid, s.Gid, database.Uid, database.Gid)
		}
	}
}

func TestANewStoreIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e := open(t, file, nil)
	push(t, e, newJobs("a", 10, testLane, 0))
	checkModes(t, file, 0o600)
}

func TestTheModeOfAFileIsRespected(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o660, 0o600, 0o640} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		e, err := Open(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		push(t, e, newJobs(mode.String(), 10, testLane, 0))
		checkModes(t, file, mode)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatRootOpensItsOwnerCanOpenAfterwards(t *testing.T) {
	t.Parallel()
	dir := sharedFolder(t)
	file := filepath.Join(dir, "toot.db")
	if got := opensAs(t, ann, file); got != "opened: <nil>" {
		t.Fatal(got)
	}
	if err := os.Remove(file + lockSuffix); err != nil {
		t.Fatal(err)
	}
	e, err := Open(file, nil) // by root, if the test runs as root
	if err != nil {
		t.Fatal(err)
	}
	push(t, e, newJobs("a", 10, testLane, 0))
	checkModes(t, file, 0o600)
	if got := opensAs(t, ann, file); got != "opened: <nil>" {
		t.Errorf("while another user has it open: %s", got)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if got := opensAs(t, ann, file); got != "opened: <nil>" {
		t.Errorf("after another user had it open: %s", got)
	}
	if os.Geteuid() != 0 {
		return
	}
	// What an older version left is put right by root, too.
	if err := os.Chown(file+lockSuffix, 0, 0); err != nil {
		t.Fatal(err)
	}
	if got := opensAs(t, ann, file); !strings.Contains(got, file+lockSuffix+" the owner, the group and the mode of the database file") {
		t.Errorf("the error does not say what to do: %s", got)
	}
	if e, err = Open(file, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if got := opensAs(t, ann, file); got != "opened: <nil>" {
		t.Errorf("after root has put it right: %s", got)
	}
}

func TestUsersOfOneGroupShareAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(sharedFolder(t), "toot.db")
	if got := opensAs(t, ann, file); got != "opened: <nil>" {
		t.Fatal(got)
	}
	if os.Geteuid() == 0 {
		if got := opensAs(t, bob, file); got == "opened: <nil>" {
			t.Error("a store that is its owner's alone was opened by somebody else")
		}
	}
	if err := os.Chown(file, -1, group()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o660); err != nil {
		t.Fatal(err)
	}
	if got := opensAs(t, ann, file); got != "opened: <nil>" { // its owner, so that the lock follows
		t.Fatal(got)
	}
	for _, users := range [][2]user{{bob, ann}, {ann, bob}} {
		cmd, out := runAs(t, users[0], "push", file)
		line(t, out, "pushed")
		if got := opensAs(t, users[1], file); got != "opened: <nil>" {
			t.Errorf("while the other user of the group has it open: %s", got)
		}
		// What a process leaves that dies, the other user can open, too.
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if got := opensAs(t, users[1], file); got != "opened: <nil>" {
			t.Errorf("after a process of the other user was killed: %s", got)
		}
	}
}

func TestALinkInTheLocksPlaceIsLeftAlone(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(memdir.New(t), "other")
	if err := os.WriteFile(other, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	for what, link := range map[string]func(string, string) error{"symbolic": os.Symlink, "hard": os.Link} {
		if err := os.Remove(file + lockSuffix); err != nil {
			t.Fatal(err)
		}
		if err := link(other, file+lockSuffix); err != nil {
			t.Fatal(err)
		}
		if e, err := Open(file, nil); err == nil {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
		info, err := os.Stat(other)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o400 {
			t.Errorf("what a %s link in the place of the lock leads to has mode %v now", what, info.Mode())
		}
	}
}
