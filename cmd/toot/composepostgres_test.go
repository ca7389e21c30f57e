//go:build linux || darwin || freebsd

package main_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

// TestComposedPostgreSQLAsksForItsPassword runs a server with the composition's
// settings, which lets nobody in over the network without the password: that is in the
// secrets alone, one of which is made of the other as the file says, and toot serve
// finds it there.
func TestComposedPostgreSQLAsksForItsPassword(t *testing.T) {
	t.Parallel()
	c := readComposition(t, "compose.postgres.yaml")
	const password, secret = "correct-horse-battery", "/run/secrets/postgres-passfile"
	dir := t.TempDir()
	shell := func(script string) {
		t.Helper()
		cmd := exec.Command("sh", "-euc", script)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
	}
	shell("install -d deploy/secrets && echo " + password + " > deploy/secrets/postgres-password")
	made := regexp.MustCompile(`(?m)^#   (sed .*postgres-passfile)$`).FindStringSubmatch(readFile(t, "../../deploy/compose.postgres.yaml"))
	if made == nil {
		t.Fatal("the file does not say how the passfile is made")
	}
	shell(made[1])

	var settings []string
	command0 := c.Services["postgres"].Command
	for i, arg := range command0 {
		if arg == "-c" {
			settings = append(settings, command0[i+1])
		}
	}
	if len(settings) == 0 || command0[0] != "postgres" {
		t.Errorf("the server is started by %q", command0)
	}
	s := postgrestest.Start(t, settings...)
	environment := c.Services["postgres"].Environment
	s.Exec(t, "postgres", "CREATE ROLE "+environment["POSTGRES_USER"]+" LOGIN PASSWORD '"+password+"'",
		"CREATE DATABASE "+environment["POSTGRES_DB"]+" OWNER "+environment["POSTGRES_USER"])
	auth, ok := strings.CutPrefix(strings.Fields(environment["POSTGRES_INITDB_ARGS"])[0], "--auth-host=")
	if !ok {
		t.Fatalf("initdb is given %s", environment["POSTGRES_INITDB_ARGS"])
	}
	rules := "host all postgres 127.0.0.1/32 trust\nhost all all all " + auth + "\n"
	if err := os.WriteFile(filepath.Join(s.Dir(), "data", "pg_hba.conf"), []byte(rules), 0o644); err != nil { //nolint:gosec // the server's user reads it
		t.Fatal(err)
	}
	s.Exec(t, "postgres", "SELECT pg_reload_conf()")

	here := func(text string) string {
		return strings.NewReplacer(secret, filepath.Join(dir, "deploy/secrets/postgres-passfile"), "@postgres:5432", "@"+s.Addr()).Replace(text)
	}
	store := here(c.Services["toot"].Environment["TOOT_STORE"])
	if strings.Contains(store, "/run/") || strings.Contains(store, "5432") {
		t.Fatalf("the store is %s", store)
	}
	without, _, _ := strings.Cut(store, "&passfile")
	eventually(t, "nobody is let in without the password", func() bool {
		conn, err := pgx.Connect(t.Context(), without)
		if err == nil {
			_ = conn.Close(context.Background())
		}
		return err != nil && strings.Contains(err.Error(), "password")
	})
	served := serve(t, "--store", store)
	wantCode(t, command(t, "publish", "a", "--publisher", served.url), 0)
	wantCode(t, command(t, "stats", "--store", store), 0)
	served.stop()
	if strings.Contains(served.stderr.String()+served.stdout.String(), password) {
		t.Error("the password is shown")
	}
	if health := c.Services["postgres"].Healthcheck.Test; len(health) != 2 || !strings.HasPrefix(health[1], "pg_isready ") ||
		!strings.Contains(health[1], "--username "+environment["POSTGRES_USER"]) || !strings.Contains(health[1], "--host") {
		t.Errorf("the health check is %q", health)
	}
	for name, want := range map[string]string{"postgres": environment["POSTGRES_PASSWORD_FILE"], "toot": secret} {
		secrets := c.Services[name].Secrets
		if i := slices.IndexFunc(secrets, func(s string) bool { return "/run/secrets/"+s == want }); len(secrets) != 1 || i != 0 || c.Secrets[secrets[0]].File != "secrets/"+secrets[0] {
			t.Errorf("%s is given the secrets %q", name, secrets)
		}
	}
}
