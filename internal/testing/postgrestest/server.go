//go:build linux || darwin || freebsd

package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/internal/testing/serverclock"
	"github.com/watermarkchurch/toot-go/internal/testing/subprocess"
)

// patience is how long a server may take to do what it is told.
const patience = 60 * time.Second

// user is the superuser of the servers, who needs no password.
const user = "postgres"

// Server is a PostgreSQL server.
type Server struct {
	dir      string
	port     int
	settings []string
	env      []string // besides the test's
	// fileBlocks is how large files may grow, in blocks of 512 bytes; 0: as they like.
	fileBlocks int
	process    *process
}

var (
	shared    *Server
	errShared error
	startOnce sync.Once
	databases atomic.Int64
)

// Shared returns the server that all tests of a test binary share. It keeps its
// defaults: no test may pause or configure it.
func Shared(t testing.TB) *Server {
	t.Helper()
	startOnce.Do(func() { shared, errShared = start(nil, []string{"max_connections = 400"}) })
	if errShared != nil {
		t.Fatal(errShared)
	}
	return shared
}

// Database makes an empty database on the shared server and returns its URL. The
// database is dropped when the test is over.
func Database(t testing.TB) string {
	t.Helper()
	return Shared(t).Database(t)
}

// Start starts a server and stops it when the test is over. Settings are those of
// postgresql.conf, such as "statement_timeout = 5s". What is committed is not
// forced to the disk: it survives the death of the server, as tests need it, and
// not that of the machine; "fsync = on" changes that.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(nil, settings)
	if err != nil {
		t.Fatal(err)
	}
	s.endWith(t)
	return s
}

// StartWithClock is Start for a server whose clock can be set. Without a C
// compiler, or on another system than Linux, the test is skipped.
func StartWithClock(t testing.TB, settings ...string) (*Server, *serverclock.Clock) {
	t.Helper()
	var clock *serverclock.Clock
	s, err := start(func(dir string) []string {
		clock = serverclock.New(t, dir)
		return clock.Env()
	}, settings)
	if err != nil {
		t.Fatal(err)
	}
	s.endWith(t)
	return s, clock
}

// Launch is Start for programs that are no tests, and End stops the server.
func Launch(settings ...string) (*Server, error) { return start(nil, settings) }

// Version is the version of the server that is installed, such as "15.18".
func Version(ctx context.Context) (string, error) {
	program, err := find("postgres")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	fields := strings.Fields(string(out)) // postgres (PostgreSQL) 15.18 (Debian …)
	if err != nil || len(fields) < 3 {
		return "", fmt.Errorf("postgres --version: %q, %w", out, err)
	}
	return fields[2], nil
}

// End stops a server of Launch, and removes its files.
func (s *Server) End() error {
	s.process.end(syscall.SIGQUIT)
	return os.RemoveAll(s.dir)
}

// CreateDatabase makes an empty database and returns its URL.
func (s *Server) CreateDatabase(name string) (string, error) {
	return s.URL(name), s.exec("postgres", "CREATE DATABASE "+name)
}

// Processes are the server's processes, the first of which is the parent of all.
func (s *Server) Processes() []int {
	return append([]int{s.process.pid()}, children(s.process.pid())...)
}

// endWith stops the server when a test is over.
func (s *Server) endWith(t testing.TB) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the PostgreSQL server on port %d said:\n%s", s.port, tail(filepath.Join(s.dir, "log"), 20))
		}
		s.process.end(syscall.SIGQUIT)
		_ = os.RemoveAll(s.dir)
	})
}

// start makes a database cluster and starts a server on it. Somebody else may take
// the port first; then another is tried.
func start(env func(dir string) []string, settings []string) (*Server, error) {
	dir, err := ownDir("postgrestest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, settings: append([]string{
		"listen_addresses = '127.0.0.1'", "unix_socket_directories = '" + dir + "'", "fsync = off",
		"shared_buffers = 64MB", "log_line_prefix = '%m [%p] '", "timezone = 'Asia/Kolkata'",
	}, settings...)}
	if err := s.copyCluster(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	if env != nil {
		s.env = env(dir)
	}
	for range 5 {
		if s.port, err = subprocess.FreePort(); err != nil {
			break
		}
		if err = s.launch(); err == nil {
			return s, nil
		}
	}
	_ = os.RemoveAll(dir)
	return nil, fmt.Errorf("can't start a PostgreSQL server: %w", err)
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) launch() error {
	program, err := find("postgres")
	if err != nil {
		return err
	}
	// A server that was killed leaves the file behind, and its state with it.
	_ = os.Remove(filepath.Join(s.data(), "postmaster.pid"))
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.port)}
	for _, setting := range s.settings {
		name, value, _ := strings.Cut(setting, "=")
		args = append(args, "-c", strings.TrimSpace(name)+"="+strings.Trim(strings.TrimSpace(value), "'"))
	}
	if s.fileBlocks > 0 {
		args = append([]string{"-c", `ulimit -f "$0"; exec "$@"`, strconv.Itoa(s.fileBlocks), program}, args...)
		program = "/bin/sh"
	}
	if s.process, err = launch(s.dir, "QUIT", s.env, program, args...); err != nil {
		return err
	}
	return s.process.await(s.isReady)
}

// isReady reads the state that the server writes into its own directory. Who
// listens on its port may be another one that was given the same port as free.
func (s *Server) isReady() bool {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(text), "\n")
	return len(lines) > 7 && (strings.TrimSpace(lines[7]) == "ready" || strings.TrimSpace(lines[7]) == "standby")
}

// Addr is host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Dir is the server's directory; its log is the file "log" there.
func (s *Server) Dir() string { return s.dir }

// URL is that of a database on the server, which need not exist.
func (s *Server) URL(database string) string { return databaseURL(s.Addr(), database) }

func databaseURL(addr, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(user), Host: addr, Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Via is the URL of a server's database with another address instead of the
// server's, such as that of a proxy.
func Via(addr, databaseURL string) string {
	u, err := url.Parse(databaseURL)
	if err != nil {
		panic(err)
	}
	u.Host = addr
	return u.String()
}

// Database makes an empty database and returns its URL. It is dropped when the
// test is over, if the server is there by then.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := "test_" + strconv.FormatInt(databases.Add(1), 10)
	s.Exec(t, "postgres", "CREATE DATABASE "+name)
	t.Cleanup(func() { _ = s.exec("postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	return s.URL(name)
}

// Exec runs statements in a database on a connection of its own, one after the
// other, each in a transaction of its own.
func (s *Server) Exec(t testing.TB, database string, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if err := s.exec(database, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func (s *Server) exec(database, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.PgConn().Exec(ctx, statement).ReadAll()
	return err
}

// Restart starts the server again, on its port and with its files, after ending
// it in an orderly way, though without waiting for its clients, if it is running.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	err := s.launch()
	// Processes of a server that was killed may be on their way out.
	for end := time.Now().Add(patience); err != nil && strings.Contains(err.Error(), "is still in use") && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
		err = s.launch()
	}
	if err != nil {
		t.Fatalf("can't restart the PostgreSQL server: %v", err)
	}
}

// Stop ends the server as an administrator would who does not wait for clients.
func (s *Server) Stop() { s.process.end(syscall.SIGINT) }

// Kill ends all of the server's processes with SIGKILL, at one moment: nothing
// that they hold in memory is written, no client is told, and the next start
// recovers from the log.
func (s *Server) Kill() {
	if s.process.ended {
		return
	}
	_ = syscall.Kill(s.process.pid(), syscall.SIGSTOP) // it begins no more of them
	s.signal(syscall.SIGKILL)
	s.process.end(syscall.SIGKILL)
}

// Pause stops the server's processes where they stand; Resume lets them go on.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// signal sends a signal to the server and to all of its processes, which are in
// its process group or are groups of their own under it.
func (s *Server) signal(sig syscall.Signal) {
	for _, pid := range s.Processes() {
		_ = syscall.Kill(pid, sig)
	}
}

// tail is the last n lines of a file.
func tail(file string, n int) string {
	text, err := os.ReadFile(file) //nolint:gosec // the log of a server that the test started
	if errors.Is(err, os.ErrNotExist) {
		return "nothing"
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
