//go:build linux || darwin || freebsd

package postgrestest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that ends with the test binary: a second process, the
// keeper, waits for the end of a pipe whose other end the test binary holds.
type process struct {
	cmd   *exec.Cmd
	log   string
	held  *os.File // the end of the pipe
	keep  *exec.Cmd
	ended bool
}

// keeper ends the server when the pipe ends, and removes its directory, unless
// the server was ended before (then there is one line in the pipe).
const keeper = `read -r over && exit 0
kill -CONT "$2" 2>/dev/null; kill -"$3" "$2" 2>/dev/null
n=0
while kill -0 "$2" 2>/dev/null && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done
rm -rf "$1"`

// launch starts a program and its keeper. The signal is what ends the program at
// once.
func launch(dir, signal string, env []string, program string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(dir, "log")}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // a directory of our own
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	p.cmd = command(program, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	p.cmd.Env = append(os.Environ(), env...)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err == nil {
		p.held = w
		p.keep = command("/bin/sh", "-c", keeper, "sh", dir, strconv.Itoa(p.pid()), signal)
		p.keep.Stdin = r
		err = p.keep.Start()
		_ = r.Close()
	}
	if err != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		return nil, err
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// await waits until the program is ready, or has ended, which is an error.
func (p *process) await(ready func() bool) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ready() {
			return nil
		}
		var status syscall.WaitStatus
		if pid, err := syscall.Wait4(p.pid(), &status, syscall.WNOHANG, nil); err != nil || pid != 0 {
			p.ended = true
			p.dismiss()
			return fmt.Errorf("%s ended: %s", filepath.Base(p.cmd.Path), tail(p.log, 5))
		}
	}
	p.end(syscall.SIGKILL)
	return fmt.Errorf("%s is not ready after %v: %s", filepath.Base(p.cmd.Path), patience, tail(p.log, 5))
}

// end sends a signal, waits until the program has ended, and kills it if that
// takes too long.
func (p *process) end(sig syscall.Signal) {
	if p.ended {
		return
	}
	p.ended = true
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(sig)
	gone := make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-gone
	}
	p.dismiss()
}

// dismiss tells the keeper that there is nothing to end.
func (p *process) dismiss() {
	_, _ = p.held.WriteString("over\n")
	_ = p.held.Close()
	_ = p.keep.Wait()
}

// children are the processes that a process has started.
func children(parent int) []int {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil
	}
	var found []int
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == strconv.Itoa(parent) {
			if pid, err := strconv.Atoi(f[0]); err == nil {
				found = append(found, pid)
			}
		}
	}
	return found
}

// ownDir makes a directory that belongs to the user as whom servers run. Its path
// is short: a socket's may have a hundred characters.
func ownDir(prefix string) (string, error) {
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return "", err
	}
	if c := credential(); c != nil {
		err = os.Chown(dir, int(c.Uid), int(c.Gid))
	}
	return dir, err
}

// command is exec.Command as the unprivileged user, because PostgreSQL and
// PgBouncer refuse to run as root.
func command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(), Setpgid: true}
	return cmd
}

// credential is nil for who is not root: then servers run as who runs the tests.
func credential() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := osuser.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if errUID == nil && errGID == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	return nil
}

// find looks for a program of PostgreSQL's in the PATH and where packages put it
// that allow for several versions; there the newest is taken.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	var found []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", "/usr/pgsql-*/bin/", "/opt/homebrew/opt/postgresql@*/bin/", "/usr/local/opt/postgresql@*/bin/", "/usr/sbin/"} {
		if paths, err := filepath.Glob(pattern + program); err == nil {
			found = append(found, paths...)
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("%s is not installed (make setup installs it): %w", program, fs.ErrNotExist)
	}
	slices.SortFunc(found, func(a, b string) int { return len(a) - len(b) }) // 9.6 before 15
	slices.SortStableFunc(found, func(a, b string) int {
		if len(a) != len(b) {
			return 0
		}
		return strings.Compare(a, b)
	})
	return found[len(found)-1], nil
}
