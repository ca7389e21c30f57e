package main_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestServerPageHasEverySetting holds the table of docs/server.md against what
// toot config check shows.
func TestServerPageHasEverySetting(t *testing.T) {
	page := readFile(t, "../../docs/server.md")
	settings := objects(t, command(t, "config", "check", "--json").stdout)
	if len(settings) < 10 {
		t.Fatalf("%d settings", len(settings))
	}
	for _, s := range settings {
		name := s["setting"].(string)
		env := "TOOT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		shown := "–"
		if value := s["value"].(string); value != "" {
			shown = "`" + value + "`"
		}
		row := fmt.Sprintf("\n| `--%s` | `%s` | %s | ", name, env, shown)
		if !strings.Contains(page, row) {
			t.Errorf("docs/server.md has no row %q", row[1:])
		}
	}
	if rows := strings.Count(page, "\n| `--"); rows != len(settings) {
		t.Errorf("docs/server.md has %d settings, toot serve %d", rows, len(settings))
	}
}

// TestServerPageCommands runs what docs/server.md prints, as it stands but for
// the port.
func TestServerPageCommands(t *testing.T) {
	page := readFile(t, "../../docs/server.md")
	blocks := regexp.MustCompile("(?s)<!-- run -->\n```sh\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(blocks) == 0 {
		t.Fatal("docs/server.md has no commands to run")
	}
	for _, block := range blocks {
		s := serve(t)
		script := strings.ReplaceAll(block[1], "http://127.0.0.1:8080", s.url)
		cmd := exec.CommandContext(t.Context(), "sh", "-eux", "-c", script)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			t.Errorf("%v\n%s", err, out.String())
		}
		wantContains(t, out.String(), `"channel":"users.updated.v1"`, `"subscriptions":{"users.updated.v1":["http://127.0.0.1:9000/callbacks"]}`)
		s.stop()
	}
}

// TestHelp: every command has a help text with an example.
func TestHelp(t *testing.T) {
	r := command(t, "help")
	wantCode(t, r, 0)
	names := regexp.MustCompile(`(?m)^  ([a-z-]+)  `).FindAllStringSubmatch(r.stdout, -1)
	if len(names) < 12 {
		t.Fatalf("toot help lists %d commands:\n%s", len(names), r.stdout)
	}
	for _, name := range names {
		if name[1] == "help" || name[1] == "completion" {
			continue
		}
		wantContains(t, command(t, name[1], "--help").stdout, "Examples:\n", "toot "+name[1])
	}
	wantContains(t, command(t, "completion", "bash").stdout, "bash completion")
}

// TestMetricsAreServed: what docs and dashboards refer to is there.
func TestMetricsAreServed(t *testing.T) {
	s := serve(t)
	status, body := curl(t, "-d", "{}", s.url+"/publish/users")
	wantStatus(t, "202", status, body)
	res, err := http.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	wantContains(t, b.String(), `toot_published_total{outcome="ok"} 1`, "toot_ready 1", "toot_store_up 1", `toot_jobs{kind="deliver",state="dead"} 0`, "go_goroutines", "process_resident_memory_bytes")
	s.stop()
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
