package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// composition is what a file such as deploy/compose.yaml says.
type composition struct {
	Services map[string]struct {
		Image       string
		Command     []string
		Environment map[string]string
		Secrets     []string
		Healthcheck struct{ Test []string }
	}
	Secrets map[string]struct{ File string }
}

func readComposition(t *testing.T, file string) composition {
	t.Helper()
	var c composition
	if err := yaml.Unmarshal([]byte(readFile(t, "../../deploy/"+file)), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDeployNamesExactImages: what is built and run today is so tomorrow. Of
// PostgreSQL the file says how to pin more than the version.
func TestDeployNamesExactImages(t *testing.T) {
	var images []string
	for _, file := range []string{"compose.yaml", "compose.postgres.yaml"} {
		for name, service := range readComposition(t, file).Services {
			if service.Image != "" {
				images = append(images, service.Image)
			} else if name != "toot" {
				t.Errorf("%s has no image", name)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(readFile(t, "../../deploy/Dockerfile"), -1) {
		if m[1] != "scratch" {
			images = append(images, m[1])
		}
	}
	if len(images) < 3 {
		t.Errorf("only %q were found", images)
	}
	exact := regexp.MustCompile(`:\d+\.\d+\.\d+(-[a-z0-9.]+)?@sha256:[0-9a-f]{64}$|^postgres:\d+\.\d+-[a-z]+(@sha256:[0-9a-f]{64})?$`)
	for _, image := range images {
		if !exact.MatchString(image) {
			t.Errorf("the image %s does not name an exact version and a digest", image)
		}
	}
}

// TestComposedRedisAsksForItsPassword runs the commands of the composition as
// they stand, but for where files and servers are: Redis lets nobody in without
// the password, which is in the secret alone, and toot serve finds it there.
func TestComposedRedisAsksForItsPassword(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	c := readComposition(t, "compose.yaml")
	const secret = "/run/secrets/redis-password"
	dir := t.TempDir()
	file := filepath.Join(dir, "password")
	const password = "correct-horse-battery"
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	here := func(text string, port int) string {
		return strings.NewReplacer("$$", "$", secret, file, "/tmp/redis.conf", filepath.Join(dir, "redis.conf"),
			"redis:6379", "127.0.0.1:"+strconv.Itoa(port), "redis-cli", "redis-cli -p "+strconv.Itoa(port)).Replace(text)
	}

	var redis *process
	port := 0
	for range 5 { // somebody may take the port first
		port = freePort(t)
		command := c.Services["redis"].Command
		script := strings.TrimSpace(here(command[len(command)-1], port)) + " --bind 127.0.0.1 --port " + strconv.Itoa(port)
		redis = startIn(t, dir, exec.Command(command[0], append(command[1:len(command)-1:len(command)-1], script)...))
		said := func(text string) bool { return strings.Contains(redis.stdout.String(), text) }
		eventually(t, "Redis is ready", func() bool { return said("Ready to accept connections") || said("Failed listening") })
		if !said("Failed listening") {
			break
		}
	}
	if strings.Contains(strings.Join(redis.cmd.Args, " "), password) {
		t.Error("the password is among the arguments")
	}
	if out, err := exec.Command("redis-cli", "-p", strconv.Itoa(port), "ping").CombinedOutput(); err != nil || !strings.Contains(string(out), "NOAUTH") {
		t.Errorf("without a password Redis says %s (%v)", out, err)
	}
	health := c.Services["redis"].Healthcheck.Test
	if out, err := exec.Command("sh", "-c", here(health[1], port)).CombinedOutput(); err != nil || health[0] != "CMD-SHELL" {
		t.Errorf("the health check fails: %v: %s", err, out)
	}

	store := c.Services["toot"].Environment["TOOT_STORE"]
	s := serve(t, "--store", here(store, port))
	wantCode(t, command(t, "publish", "a", "--publisher", s.url), 0)
	wantCode(t, command(t, "stats", "--store", here(store, port)), 0)
	s.stop()
	if strings.Contains(s.stderr.String()+s.stdout.String(), password) {
		t.Error("the password is shown")
	}
	for _, name := range []string{"redis", "toot"} {
		if secrets := c.Services[name].Secrets; len(secrets) != 1 || c.Secrets[secrets[0]].File == "" || "/run/secrets/"+secrets[0] != secret {
			t.Errorf("%s is given the secrets %q", name, secrets)
		}
	}
}
