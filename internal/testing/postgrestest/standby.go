//go:build linux || darwin || freebsd

package postgrestest

import (
	"context"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/internal/testing/subprocess"
)

// Standby starts a server that follows this one, which from now on acknowledges no
// commit that the standby does not have on its disk, and stops it when the test is
// over. There can be one of each server.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	program, err := find("pg_basebackup")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := ownDir("postgrestest")
	if err != nil {
		t.Fatal(err)
	}
	standby := &Server{dir: dir, settings: append([]string{}, s.settings...)}
	for i, setting := range standby.settings {
		if strings.HasPrefix(setting, "unix_socket_directories") {
			standby.settings[i] = "unix_socket_directories = '" + dir + "'"
		}
	}
	cmd := command(program, "--pgdata", standby.data(), "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--username", user,
		"--write-recovery-conf", "--checkpoint", "fast", "--no-sync")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	for range 5 {
		if standby.port, err = subprocess.FreePort(); err == nil {
			if err = standby.launch(); err == nil {
				break
			}
		}
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		t.Fatalf("can't start a standby: %v", err)
	}
	standby.endWith(t)
	s.Exec(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
	s.await(t, "SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync')")
	return standby
}

// Promote makes a standby a server that can be written to.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	s.Exec(t, "postgres", "SELECT pg_promote()")
	s.await(t, "SELECT NOT pg_is_in_recovery()")
}

// await waits until a query says yes.
func (s *Server) await(t testing.TB, query string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for yes := false; !yes; {
		if err := conn.QueryRow(ctx, query).Scan(&yes); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
}

// Either is the URL of a database on this server or another one, whichever can be
// written to.
func (s *Server) Either(other *Server, databaseURL string) string {
	u, err := url.Parse(databaseURL)
	if err != nil {
		panic(err)
	}
	u.Host = s.Addr() + "," + other.Addr()
	return u.String() + "&target_session_attrs=read-write"
}

// StartOnSmallDisk is Start for a server none of whose files can grow larger than 16
// MB and half a block, as on a disk that is full then.
func StartOnSmallDisk(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := Start(t, settings...)
	s.process.end(syscall.SIGINT)
	s.fileBlocks = (16<<20 + 4096) / 512 // its log has files of 16 MB
	if err := s.launch(); err != nil {
		t.Fatal(err)
	}
	return s
}
