package main_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSecretsInSettingsAreNotShown: neither by config check nor by what refuses
// them.
func TestSecretsInSettingsAreNotShown(t *testing.T) {
	t.Parallel()
	const password = "s3cr3t"
	for _, args := range [][]string{
		{"config", "check", "--public-url", "https://user:" + password + "@toot.example.org/?token=" + password, "--store", "redis://:" + password + "@h", "--otlp-endpoint", "http://u:" + password + "@h"},
		{"config", "check", "--json", "--public-url", "https://user:" + password + "@toot.example.org/"},
		{"config", "check", "--public-url", "https:/user:" + password + "@toot.example.org/", "--store", "redis:/:" + password + "@h"},
		{"serve", "--listen", "127.0.0.1:0", "--store", "redis:/:" + password + "@h"},
		{"stats", "--store", "redis:/:" + password + "@h"},
		{"dead", "list", "--store", "rediss:user:" + password + "@h/x.db"},
	} {
		r := command(t, args...)
		if strings.Contains(r.stdout+r.stderr, password) {
			t.Errorf("toot %s shows the password:\n%s%s", strings.Join(args[:2], " "), r.stdout, r.stderr)
		}
		if args[0] != "config" {
			wantContains(t, r.stderr, "://")
			if r.code == 0 {
				t.Errorf("toot %s took such a store", args[0])
			}
		}
	}
	s := start(t, "", "serve", "--listen", "127.0.0.1:0", "--public-url", "http://user:"+password+"@toot.example.org")
	s.await("msg=serving")
	s.signal(os.Interrupt)
	if r := s.wait(); strings.Contains(r.stderr, password) {
		t.Errorf("the log shows the password: %s", r.stderr)
	}
}

// TestServerPageHasEverySetting holds the table of docs/server.md against what
// toot config check shows.
func TestServerPageHasEverySetting(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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

// TestReadmeSession runs what the README prints, as it stands: in three
// terminals, and with curl alone. Only where the server listens is said in the
// environment, and in the URLs given to curl.
func TestReadmeSession(t *testing.T) {
	t.Parallel()
	readme := readFile(t, "../../README.md")
	block := func(name string) []string {
		m := regexp.MustCompile("(?s)<!-- " + name + " -->\n```sh\n(.*?)```").FindStringSubmatch(readme)
		if m == nil {
			t.Fatalf("the README has no block %q", name)
		}
		return strings.Split(strings.TrimSpace(m[1]), "\n")
	}
	terminals := block("three terminals")
	if len(terminals) != 3 {
		t.Fatalf("%d terminals: %q", len(terminals), terminals)
	}
	dir, publisher := t.TempDir(), ""
	run := func(line string) *process {
		t.Helper()
		return startIn(t, dir, exec.Command("sh", "-c", "export TOOT_LISTEN=127.0.0.1:0 TOOT_PUBLISHER="+publisher+"; exec "+line))
	}
	s := &server{process: run(terminals[0])}
	s.await("serving")
	s.url = servingURL.FindStringSubmatch(s.stderr.String())[1]
	publisher = s.url
	l := run(terminals[1])
	l.await("listening to users.updated.v1")
	r := run(terminals[2]).wait()
	wantCode(t, r, 0)
	l.await(`"payload":{"id":123},"channel":"users.updated.v1"}` + "\n")

	e := newEndpoint(t)
	for _, line := range block("curl") {
		line = strings.ReplaceAll(strings.ReplaceAll(line, "http://127.0.0.1:8080", s.url), "http://127.0.0.1:9000/", e.URL)
		wantCode(t, run(strings.Replace(line, "curl ", "curl -sS -f ", 1)).wait(), 0)
	}
	eventually(t, "the event arrives", func() bool { return e.count() == 1 })
	l.signal(os.Interrupt)
	wantCode(t, l.wait(), 0)
	s.stop()
	if _, err := os.Stat(filepath.Join(dir, "toot.db")); err != nil {
		t.Error(err)
	}
}

// TestHelp: every command has a help text with an example.
func TestHelp(t *testing.T) {
	t.Parallel()
	seen := 0
	var look func(path ...string)
	look = func(path ...string) {
		r := command(t, append(path, "--help")...)
		wantCode(t, r, 0)
		seen++
		text := r.stdout
		if len(path) > 0 {
			wantContains(t, text, "Examples:\n", "toot "+strings.Join(path, " "))
		}
		for _, m := range regexp.MustCompile(`(?m)^  ([a-z-]+)   +\S`).FindAllStringSubmatch(text, -1) {
			if m[1] != "help" && m[1] != "completion" {
				look(append(slices.Clone(path), m[1])...)
			}
		}
	}
	look()
	if seen < 22 {
		t.Errorf("%d commands were found", seen)
	}
	wantContains(t, command(t, "help").stdout, "Events:\n", "Looking after a store:\n", "Exit codes:")
	r := command(t, "help", "dead", "list")
	wantCode(t, r, 0)
	wantContains(t, r.stdout, "Examples:\n", "toot dead list --since", "--help")
}

// TestCompletion: bash offers what there is; the other shells ask for the same.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"toot de": "dead demo", "toot help de": "dead demo", "toot help dead re": "redrive", "toot dead re": "redrive", "toot dead list --ki": "--kind", "toot dead list --kind ": "deliver handle",
		"toot serve --log-level ": "debug error info warn", "toot stats --store s": "sqlite:",
	} {
		// _get_comp_words_by_ref is of the package bash-completion.
		script := `_get_comp_words_by_ref() { words=($COMP_LINE); [[ $COMP_LINE == *' ' ]] && words+=(''); cword=$((${#words[@]}-1)); cur=${words[cword]}; prev=${words[cword-1]}; }
compopt() { :; }
source <(toot completion bash)
COMP_LINE="` + line + `" COMP_POINT=${#COMP_LINE} COMP_TYPE=9 COMP_KEY=9
__start_toot
printf '%s\n' "${COMPREPLY[@]}" | sed 's/ .*//' | sort | xargs`
		cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q is completed with %q, want %q (%v)", line, got, want, err)
		}
	}
	for shell, head := range map[string]string{"zsh": "#compdef toot\n", "fish": "# fish completion for toot"} {
		r := start(t, "", "completion", shell).wait()
		wantCode(t, r, 0)
		wantContains(t, r.stdout, head, "__complete")
	}
}

// TestMetricsAreServed: what docs and dashboards refer to is there.
func TestMetricsAreServed(t *testing.T) {
	t.Parallel()
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
