//go:build linux || darwin || freebsd

package postgrestest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/testing/subprocess"
)

// Bouncer is a PgBouncer before a Server, in transaction mode.
type Bouncer struct {
	dir     string
	port    int
	process *process
}

// Bouncer starts a PgBouncer before the server, with ten connections to a
// database, and stops it when the test is over. Settings are those of
// pgbouncer.ini, such as "default_pool_size = 2".
func (s *Server) Bouncer(t testing.TB, settings ...string) *Bouncer {
	t.Helper()
	program, err := find("pgbouncer")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := ownDir("bouncertest")
	if err != nil {
		t.Fatal(err)
	}
	b := &Bouncer{dir: dir}
	for range 5 {
		if b.port, err = subprocess.FreePort(); err != nil {
			break
		}
		if err = b.launch(program, s.port, settings); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("can't start PgBouncer: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("PgBouncer on port %d said:\n%s", b.port, tail(filepath.Join(dir, "log"), 20))
		}
		b.process.end(syscall.SIGTERM)
		_ = os.RemoveAll(dir)
	})
	return b
}

func (b *Bouncer) launch(program string, server int, settings []string) error {
	users, ini := filepath.Join(b.dir, "users"), filepath.Join(b.dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir = %s
auth_type = trust
auth_file = %s
pool_mode = transaction
default_pool_size = 10
max_client_conn = 1000
%s
`, server, b.port, b.dir, users, strings.Join(settings, "\n"))
	for name, text := range map[string]string{users: `"` + user + `" ""` + "\n", ini: text} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil { //nolint:gosec // read by the user as whom PgBouncer runs
			return err
		}
	}
	var err error
	if b.process, err = launch(b.dir, "TERM", nil, program, ini); err != nil {
		return err
	}
	return b.process.await(func() bool {
		c, err := net.Dial("unix", filepath.Join(b.dir, ".s.PGSQL."+strconv.Itoa(b.port)))
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// Addr is host and port.
func (b *Bouncer) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port)) }

// URL is the URL of a server's database by way of the PgBouncer.
func (b *Bouncer) URL(databaseURL string) string { return Via(b.Addr(), databaseURL) }

// database is the name of the database that a URL leads to.
func database(u string) string {
	parsed, err := url.Parse(u)
	if err != nil {
		panic(err)
	}
	return strings.TrimPrefix(parsed.Path, "/")
}
