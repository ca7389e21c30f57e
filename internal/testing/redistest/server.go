// Package redistest starts real redis-servers for tests: one alone, a pair
// that Sentinel watches, a cluster. They listen on free ports of the loopback
// interface, and can be paused, killed and restarted.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/internal/testing/memdir"
	"github.com/watermarkchurch/toot-go/internal/testing/serverclock"
	"github.com/watermarkchurch/toot-go/internal/testing/subprocess"
)

// patience is how long a server may take to do what it is told.
const patience = 30 * time.Second

// Server is a redis-server, or a Sentinel.
type Server struct {
	t       testing.TB
	dir     string
	data    string // what it writes
	port    int
	busPort int // of a cluster node
	config  []string
	program []string
	env     []string           // besides the test's
	clock   *serverclock.Clock // of StartWithClock

	mu   sync.Mutex
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process is
	log  bytes.Buffer
}

// Start starts a server that keeps nothing on disk, and stops it when the test
// is over. Settings are those of redis.conf, such as "appendonly yes". Without
// redis-server on the machine the test is skipped.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := newServer(t, settings)
	s.launchOnFreePort()
	return s
}

func newServer(t testing.TB, settings []string) *Server {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed")
	}
	// Not t.TempDir: its path may be too long for a socket, and a server that
	// is killed late would spoil the cleaning up.
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, dir: dir, data: memdir.New(t), program: []string{program}, config: append([]string{
		"bind 127.0.0.1", "save \"\"", "appendonly no", "daemonize no", "loglevel warning",
		"repl-diskless-sync-delay 0", "repl-ping-replica-period 1", "enable-debug-command yes",
	}, settings...)}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("redis-server on port %d said:\n%s", s.port, tail(s.log.String(), 20))
		}
		_ = os.RemoveAll(dir)
	})
	return s
}

func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// launchOnFreePort starts the server. Somebody else may take the port first,
// then another is tried.
func (s *Server) launchOnFreePort() {
	s.t.Helper()
	var err error
	for range 5 {
		s.port, s.busPort = freePort(s.t), freePort(s.t)
		if err = s.launch(); err == nil {
			return
		}
	}
	s.t.Fatalf("can't start redis-server: %v", err)
}

// freePort finds a port below those that the system gives to connections, so
// that none takes it while a server is down that is to be started again, and
// holds it for the test.
func freePort(t testing.TB) int {
	t.Helper()
	for {
		if port := 10_000 + rand.IntN(10_000); hold(t, port) {
			return port
		}
	}
}

// hold keeps other tests, those of other processes too, off a port until this
// test ends. Its mark is the UDP port of the same number, which no redis-server
// uses: the port itself is free while the server is down.
func hold(t testing.TB, port int) bool {
	t.Helper()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	mark, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		_ = mark.Close()
		return false
	}
	t.Cleanup(func() { _ = mark.Close() })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return true
}

func (s *Server) launch() error {
	file := filepath.Join(s.dir, "redis.conf")
	// Sentinels and cluster nodes write to it; what they wrote is kept.
	if _, err := os.Stat(file); err != nil || s.cmd == nil {
		text := strings.Join(append([]string{"port " + strconv.Itoa(s.port), "dir " + s.data, "unixsocket " + s.socket()}, s.config...), "\n")
		text = strings.ReplaceAll(text, "$BUSPORT", strconv.Itoa(s.busPort))
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			return err
		}
	}
	cmd := exec.Command(s.program[0], append([]string{file}, s.program[1:]...)...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	subprocess.DieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(gone)
	}()
	s.mu.Lock()
	s.cmd, s.gone = cmd, gone
	s.mu.Unlock()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		select {
		case <-gone:
			return fmt.Errorf("it ended: %s", tail(s.log.String(), 3))
		default:
		}
		if s.answers() {
			return nil
		}
	}
	return fmt.Errorf("it does not listen on %s", s.Addr())
}

// answers asks the server over a socket in its own directory. Who listens on its
// port may be another one that was given the same port as free.
func (s *Server) answers() bool {
	c, err := net.DialTimeout("unix", s.socket(), time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	_, err = c.Read(make([]byte, 1)) // an error, such as LOADING, is an answer
	return err == nil
}

func (s *Server) socket() string { return filepath.Join(s.dir, "socket") }

// Addr is host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is redis://, host and port.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Restart starts the server again, on its port and with its files, after
// ending it in an orderly way if it is running. It returns as soon as the
// server listens; it may still be loading.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.launch(); err != nil {
		s.t.Fatalf("can't restart redis-server: %v", err)
	}
}

// Stop ends the server as an administrator would.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server as a crash would.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) {
	s.mu.Lock()
	cmd, gone := s.cmd, s.gone
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(sig)
	select {
	case <-gone:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-gone
	}
}

// Pause stops the server's process where it stands; Resume lets it go on.
func (s *Server) Pause() { s.toProcess(subprocess.Suspend) }

// Resume ends a Pause.
func (s *Server) Resume() { s.toProcess(subprocess.Resume) }

func (s *Server) toProcess(do func(*os.Process) error) {
	s.t.Helper()
	if err := do(s.cmd.Process); err != nil {
		s.t.Fatalf("redis-server on port %d can't be paused or resumed: %v", s.port, err)
	}
}

// Client connects to this one server, and disconnects when the test is over.
func (s *Server) Client() rueidis.Client {
	s.t.Helper()
	c, err := s.connect()
	if err != nil {
		s.t.Fatalf("can't connect to redis-server on port %d: %v", s.port, err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s *Server) connect() (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.Addr()}, ForceSingleClient: true, DisableCache: true, PipelineMultiplex: -1,
		// Small, as most connections are for a single command.
		RingScaleEachConn: 2, ReadBufferEachConn: 4096, WriteBufferEachConn: 4096,
	})
}

// Try sends a command on a connection of its own.
func (s *Server) Try(command ...string) rueidis.RedisResult {
	c, err := s.connect()
	if err != nil {
		return rueidis.NewResult(rueidis.RedisMessage{}, err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.Do(ctx, c.B().Arbitrary(command...).Build())
}

// Do is Try, and an error fails the test.
func (s *Server) Do(command ...string) rueidis.RedisMessage {
	s.t.Helper()
	m, err := s.Try(command...).ToMessage()
	if err != nil && !rueidis.IsRedisNil(err) {
		s.t.Fatalf("redis-server on port %d: %v: %v", s.port, command, err)
	}
	return m
}

// Info returns a field of INFO, or the empty string.
func (s *Server) Info(field string) string {
	text, err := s.Try("INFO", "everything").ToString()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// Eventually waits until ok says yes.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: still not so after %v", what, patience)
		}
	}
}
