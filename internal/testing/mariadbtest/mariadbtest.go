//go:build linux || darwin || freebsd

// Package mariadbtest starts real MariaDB servers for tests. They listen on free
// ports of the loopback interface, keep their files in directories of their own
// under the temporary directory, run as an unprivileged user, and end with the
// test binary, however that ends.
package mariadbtest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// patience is how long a server may take to do what it is told.
const patience = 60 * time.Second

// Server is a MariaDB server.
type Server struct {
	dir      string
	port     int
	settings []string
	cmd      *exec.Cmd
	gone     chan struct{} // closed when the process is
	keeper   *os.File      // the end of a pipe: when it is closed, the keeper ends the server
}

var (
	shared    *Server
	errShared error
	startOnce sync.Once
	databases atomic.Int64
)

// Database makes an empty database on a server that all tests of a test binary
// share, and returns its data source name for github.com/go-sql-driver/mysql. It
// is dropped when the test is over.
func Database(t testing.TB) string {
	t.Helper()
	startOnce.Do(func() { shared, errShared = start(nil) })
	if errShared != nil {
		t.Fatal(errShared)
	}
	return shared.Database(t)
}

// Start starts a server and stops it when the test is over. Settings are those of
// my.cnf, such as "innodb_lock_wait_timeout=1".
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the MariaDB server on port %d said:\n%s", s.port, s.log())
		}
		s.Kill()
		_ = os.RemoveAll(s.dir)
	})
	return s
}

// start makes the files of a server and starts it. Somebody else may take the
// port first; then another is tried.
func start(settings []string) (*Server, error) {
	dir, err := os.MkdirTemp("", "mariadbtest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, settings: settings}
	if c := credential(); c != nil {
		if err := os.Chown(dir, int(c.Uid), int(c.Gid)); err != nil {
			return nil, err
		}
	}
	install := s.command("mariadb-install-db", "--no-defaults", "--datadir="+s.data(), "--auth-root-authentication-method=normal",
		"--skip-test-db", "--innodb-flush-log-at-trx-commit=0")
	if out, err := install.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("mariadb-install-db (make setup installs it): %w\n%s", err, out)
	}
	for range 5 {
		s.port = 20_000 + rand.IntN(10_000) // below those that the system gives to connections
		if err = s.launch(); err == nil {
			return s, nil
		}
	}
	_ = os.RemoveAll(dir)
	return nil, fmt.Errorf("can't start a MariaDB server: %w", err)
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) socket() string { return filepath.Join(s.dir, "socket") }

// keeper ends a server when the pipe ends that its standard input is, and removes
// its directory, unless the server was ended before (then there is a line in the
// pipe). The test binary holds the other end.
const keeper = `read -r over && exit 0
kill -CONT "$2" 2>/dev/null; kill -KILL "$2" 2>/dev/null
n=0
while kill -0 "$2" 2>/dev/null && [ $n -lt 50 ]; do sleep 0.1; n=$((n+1)); done
rm -rf "$1"`

func (s *Server) launch() error {
	program := "mariadbd"
	if _, err := exec.LookPath(program); err != nil {
		program = "/usr/sbin/mariadbd"
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := []string{"--no-defaults", "--datadir=" + s.data(), "--socket=" + s.socket(), "--pid-file=" + filepath.Join(s.dir, "pid"),
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.port), "--skip-log-bin", "--default-time-zone=+05:30",
		// What is committed survives the death of the server, and not that of
		// the machine.
		"--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M"}
	for _, setting := range s.settings {
		args = append(args, "--"+setting)
	}
	cmd := s.command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.gone = cmd, make(chan struct{})
	go func(gone chan struct{}) {
		_ = cmd.Wait()
		close(gone)
	}(s.gone)
	if err := s.keep(); err != nil {
		s.Kill()
		return err
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-s.gone:
			s.Kill() // its keeper
			return fmt.Errorf("mariadbd ended: %s", s.log())
		default:
		}
		if s.exec("SELECT 1") == nil {
			return nil
		}
	}
	s.Kill()
	return fmt.Errorf("mariadbd is not ready after %v: %s", patience, s.log())
}

// keep starts the keeper of the server's process.
func (s *Server) keep() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	k := exec.Command("/bin/sh", "-c", keeper, "sh", s.dir, strconv.Itoa(s.cmd.Process.Pid)) //nolint:gosec // a script of our own
	k.Stdin = r
	k.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := k.Start(); err != nil {
		return err
	}
	go func() { _ = k.Wait() }()
	s.keeper = w
	return nil
}

// command is exec.Command as an unprivileged user.
func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(), Setpgid: true}
	return cmd
}

// credential is nil for who is not root: then servers run as who runs the tests.
func credential() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"mysql", "nobody"} {
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

// Addr is host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// DSN is the data source name of a database on the server, for
// github.com/go-sql-driver/mysql.
func (s *Server) DSN(database string) string { return dsn("tcp", s.Addr(), database) }

// Via is the data source name of a database with another address instead of the
// server's, such as that of a proxy.
func Via(addr, dataSourceName string) string {
	c, err := mysql.ParseDSN(dataSourceName)
	if err != nil {
		panic(err)
	}
	c.Addr = addr
	return c.FormatDSN()
}

func dsn(network, addr, database string) string {
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.DBName = "root", network, addr, database
	return c.FormatDSN()
}

// Database makes an empty database and returns its data source name. It is
// dropped when the test is over, if the server is there by then.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := "test_" + strconv.FormatInt(databases.Add(1), 10)
	if err := s.exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.exec("DROP DATABASE IF EXISTS " + name) })
	return s.DSN(name)
}

// exec asks the server over a socket in its own directory. Who listens on its
// port may be another one that was given the same port as free.
func (s *Server) exec(statement string) error {
	db, err := sql.Open("mysql", dsn("unix", s.socket(), ""))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = db.ExecContext(ctx, statement)
	return err
}

// Restart starts the server again, on its port and with its files, after ending
// it in an orderly way if it is running.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	if err := s.launch(); err != nil {
		t.Fatalf("can't restart the MariaDB server: %v", err)
	}
}

// Kill ends the server as a crash would.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server as an administrator would.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

func (s *Server) end(sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.gone:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.gone
	}
	if s.keeper != nil { // there is nothing left to end
		_, _ = s.keeper.WriteString("over\n")
		_ = s.keeper.Close()
		s.keeper = nil
	}
}

// log is the end of the server's log.
func (s *Server) log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
