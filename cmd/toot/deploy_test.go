package main_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestDeployAsksForMetricsThatExist: every metric that a dashboard or an alert
// refers to is one that the server has, with the labels it is asked for.
func TestDeployAsksForMetricsThatExist(t *testing.T) {
	var alerts struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "../../deploy/alerts.yaml")), &alerts); err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, "../../deploy/grafana.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	asked := map[string]string{} // by where
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			asked["alert "+r.Alert] = r.Expr
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("alert %s says not what is wrong and what to do", r.Alert)
			}
		}
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			asked["panel "+p.Title+": "+target.Expr] = target.Expr
		}
	}
	if len(asked) < 20 {
		t.Fatalf("only %d queries were found", len(asked))
	}

	// And the other way round: what is measured is shown, or alerted on.
	documented := regexp.MustCompile(`(?m)^//\t(toot_[a-z_]+)`).FindAllStringSubmatch(
		readFile(t, "../../observe/prometheus/prometheus.go")+readFile(t, "../../observe/prometheus/store.go"), -1)
	if len(documented) < 15 {
		t.Errorf("only %d metrics are documented", len(documented))
	}
	everything := strings.Join(slices.Collect(maps.Values(asked)), "\n")
	for _, m := range documented {
		if !regexp.MustCompile(m[1] + `(_bucket)?\b`).MatchString(everything) {
			t.Errorf("no panel and no alert asks for %s", m[1])
		}
	}
	source := readFile(t, "../../observe/prometheus/prometheus.go") + readFile(t, "../../observe/prometheus/store.go")
	outboxes := readFile(t, "../../observe/prometheus/outbox.go")
	for where, expr := range asked {
		names := regexp.MustCompile(`toot_[a-z_]+`).FindAllString(expr, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for nothing", where)
		}
		for _, name := range names {
			name = strings.TrimSuffix(strings.TrimPrefix(name, "toot_"), "_bucket")
			if of, ok := strings.CutPrefix(name, "outbox_"); ok && strings.Contains(outboxes, `desc("`+of+`"`) {
				continue
			}
			if !strings.Contains(source, `"`+name+`"`) {
				t.Errorf("%s asks for toot_%s, which nobody measures", where, name)
			}
		}
	}
}

// TestAlertsFireWhenTheyShould has Prometheus's tool play what deploy/alerts_test.yaml
// says, which also holds what the dashboard asks to say "Ready".
func TestAlertsFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("promtool is not installed: run scripts/setup")
		}
		t.Skip("promtool is not installed: run scripts/setup")
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", "../../deploy/alerts_test.yaml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	tests := readFile(t, "../../deploy/alerts_test.yaml")
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(readFile(t, "../../deploy/alerts.yaml"), -1) {
		if !regexp.MustCompile(`alertname: ` + m[1] + `\b[^\n]*\n +eval_time: \w+\n +exp_alerts`).MatchString(tests) {
			t.Errorf("no test has %s fire", m[1])
		}
	}
}

// TestReadyIsRed: the dashboard shows in red that a process is not ready, and
// asks for it as alerts_test.yaml does.
func TestReadyIsRed(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			Title       string
			FieldConfig struct {
				Defaults struct {
					Thresholds struct {
						Steps []struct {
							Color string
							Value *float64
						}
					}
				}
			}
			Options struct{ ColorMode string }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, "../../deploy/grafana.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	ready := dashboard.Panels[0]
	steps := ready.FieldConfig.Defaults.Thresholds.Steps
	if ready.Title != "Ready" || len(steps) != 2 || steps[0].Color != "red" || steps[0].Value != nil || steps[1].Color != "green" || *steps[1].Value != 1 {
		t.Errorf("the panel is %+v", ready)
	}
	asked := "expr: " + strings.ReplaceAll(ready.Targets[0].Expr, "$instance", ".*") + "\n"
	if strings.Count(readFile(t, "../../deploy/alerts_test.yaml"), asked) < 3 {
		t.Errorf("alerts_test.yaml does not say what comes of %s", asked)
	}
}

// TestDeploySettingsExist: what the unit, the image and the composition set is
// what toot serve understands.
func TestDeploySettingsExist(t *testing.T) {
	t.Parallel()
	settings := objects(t, command(t, "config", "check", "--json").stdout)
	var known []string
	for _, s := range settings {
		known = append(known, "TOOT_"+strings.ToUpper(strings.ReplaceAll(s["setting"].(string), "-", "_")))
	}
	for _, file := range []string{"Dockerfile", "compose.yaml", "compose.postgres.yaml", "toot.service"} {
		text := readFile(t, filepath.Join("../../deploy", file))
		for _, name := range regexp.MustCompile(`TOOT_[A-Z_]+`).FindAllString(text, -1) {
			if !slices.Contains(known, name) {
				t.Errorf("deploy/%s sets %s, which is no setting", file, name)
			}
		}
	}
}

// TestServerPageFile starts a server with the file that docs/server.md prints,
// but for the store, and with credentials in the files it names.
func TestServerPageFile(t *testing.T) {
	t.Parallel()
	page := readFile(t, "../../docs/server.md")
	m := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(page)
	if m == nil {
		t.Fatal("docs/server.md has no file of settings")
	}
	dir := t.TempDir()
	for _, name := range []string{"publishers", "subscribers", "scrapers"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name+":secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.ReplaceAll(m[1], "/etc/toot", dir)
	text = regexp.MustCompile(`(?m)^store: .*$`).ReplaceAllString(text, "store: sqlite:"+filepath.Join(dir, "toot.db"))
	file := filepath.Join(dir, "toot.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "--config", file, "--listen", "127.0.0.1:0")
	for user, want := range map[string]string{"scrapers": "200", "publishers": "401"} {
		if status, body := curl(t, "-u", user+":secret", s.url+"/metrics"); status != want {
			t.Errorf("%s: /metrics answers %s, want %s: %s", user, status, want, body)
		}
	}
	s.stop()
}
