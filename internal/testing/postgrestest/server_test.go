//go:build linux || darwin || freebsd

package postgrestest

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func ask(t *testing.T, url, query string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // as it must be behind PgBouncer
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var answer string
	if err := conn.QueryRow(ctx, query).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	one, other := Database(t), Database(t)
	Shared(t).Exec(t, database(one), "CREATE TABLE things ()")
	if n := ask(t, other, "SELECT count(*)::text FROM pg_tables WHERE tablename = 'things'"); n != "0" {
		t.Error("a table of one test's database is in another's")
	}
	if n := ask(t, one, "SELECT (0.5 > ('b' < 'C')::int)::text"); n != "false" {
		t.Error("texts sort by their bytes")
	}
}

func TestAServerIsRestartedWithItsFiles(t *testing.T) {
	t.Parallel()
	s := Start(t, "synchronous_commit = on")
	url := s.Database(t)
	s.Exec(t, database(url), "CREATE TABLE kept (v int)", "INSERT INTO kept VALUES (7)")
	s.Kill()
	s.Restart(t)
	s.Restart(t)
	if v := ask(t, url, "SELECT v::text FROM kept"); v != "7" {
		t.Errorf("%q was kept", v)
	}
	s.Pause()
	if pid := s.process.pid(); len(children(pid)) == 0 {
		t.Error("the server has no processes that could be paused")
	}
	s.Resume()
	if v := ask(t, url, "SELECT v::text FROM kept"); v != "7" {
		t.Errorf("%q was kept", v)
	}
}

func TestPgBouncerIsInTransactionMode(t *testing.T) {
	t.Parallel()
	s := Shared(t)
	if v := ask(t, s.Bouncer(t).URL(s.Database(t)), "SELECT current_database()"); v == "" {
		t.Error("no answer")
	}
}

// TestAServerEndsWithTheTestBinary: the pipe that ties it to the keeper ends when
// the test binary does, which here is simulated by closing it.
func TestAServerEndsWithTheTestBinary(t *testing.T) {
	t.Parallel()
	s, err := start(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pid := s.process.pid()
	_ = s.process.held.Close()
	_ = s.process.cmd.Wait()
	_ = s.process.keep.Wait()
	for end := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server is still there")
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir, "data")); !os.IsNotExist(err) {
		t.Errorf("its files are still there: %v", err)
	}
	if _, err := os.Stat("/tmp/.s.PGSQL." + strconv.Itoa(s.port)); err == nil {
		t.Error("a socket is left")
	}
}
