//go:build unix

package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDeployUnitRunsWithoutPrivileges runs the unit's ExecStart as systemd would:
// as a user who can read the copies that are handed over, and not what they are
// copies of.
func TestDeployUnitRunsWithoutPrivileges(t *testing.T) {
	t.Parallel()
	u := readUnit(t, "../../deploy/toot.service")
	dir := t.TempDir()
	etc, handedOver, state := filepath.Join(dir, "etc"), filepath.Join(dir, "credentials"), filepath.Join(dir, "state")
	for _, d := range []string{etc, handedOver, state} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{filepath.Dir(binary), filepath.Dir(dir), dir, etc} { // for another user to pass through
		if err := os.Chmod(d, 0o755); err != nil { //nolint:gosec // as /etc is
			t.Fatal(err)
		}
	}
	service := &syscall.SysProcAttr{}
	mine := os.FileMode(0) // who runs the test is not to read them either
	if os.Geteuid() == 0 {
		service.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
		mine = 0o600
	}
	texts := map[string]string{"toot.yaml": "listen: 127.0.0.1:0\nstore: sqlite:of-the-yaml.db\n"}
	for _, credential := range u["LoadCredential"] {
		name, _, _ := strings.Cut(credential, ":")
		if texts[name] == "" {
			texts[name] = name + ":secret\n"
		}
		for _, file := range []struct {
			path string
			mode os.FileMode
		}{{filepath.Join(etc, name), mine}, {filepath.Join(handedOver, name), 0o400}} {
			if err := os.WriteFile(file.path, []byte(texts[name]), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file.path, file.mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	if service.Credential != nil {
		for _, pattern := range []string{state, handedOver, filepath.Join(handedOver, "*")} {
			files, err := filepath.Glob(pattern)
			if err != nil || len(files) == 0 {
				t.Fatalf("%s: %v", pattern, err)
			}
			for _, file := range files {
				if err := os.Chown(file, 65534, 65534); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := os.Chmod(handedOver, 0o500); err != nil { //nolint:gosec // a folder
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(handedOver, 0o700) }) //nolint:gosec // so that it can be removed
	paths := strings.NewReplacer("/usr/local/bin/toot", binary, "/etc/toot", etc, "${CREDENTIALS_DIRECTORY}", handedOver, "/var/lib/toot", state)
	run := func(command string) *process {
		t.Helper()
		words := strings.Fields(paths.Replace(command))
		for _, variable := range u["Environment"] {
			words = append([]string{paths.Replace(variable)}, words...)
		}
		cmd := exec.Command("env", words...)
		cmd.SysProcAttr = service
		dir := "/" // where systemd starts what says nothing else
		for _, dir = range u["WorkingDirectory"] {
			dir = paths.Replace(dir)
		}
		return startIn(t, dir, cmd)
	}

	r := run("/usr/local/bin/toot serve --config /etc/toot/toot.yaml").wait()
	if wantContains(t, r.stderr, "permission denied"); r.code == 0 {
		t.Error("the service reads what it is not to read")
	}
	s := &server{process: run(u["ExecStart"][0])}
	s.await("msg=serving")
	s.url = servingURL.FindStringSubmatch(s.stderr.String())[1]
	for _, c := range []struct{ want, user, path string }{
		{"202", "publishers", "/publish/a"}, {"401", "subscribers", "/publish/a"},
		{"422", "subscribers", "/subscriptions"}, {"401", "scrapers", "/subscriptions"},
		{"405", "scrapers", "/metrics"}, {"401", "publishers", "/metrics"},
	} {
		status, body := curl(t, "-u", c.user+":secret", "-d", "{}", s.url+c.path)
		wantStatus(t, c.want, status, body)
	}
	s.stop()
	if _, err := os.Stat(filepath.Join(state, "of-the-yaml.db")); err != nil {
		t.Errorf("the store is not the one that toot.yaml names: %v", err)
	}

	// An empty toot.yaml will do, too.
	settings := filepath.Join(handedOver, "toot.yaml")
	for _, step := range []error{os.Chmod(settings, 0o600), os.WriteFile(settings, nil, 0o600), os.Chmod(settings, 0o400)} {
		if step != nil {
			t.Fatal(step)
		}
	}
	s = &server{process: run(u["ExecStart"][0] + " --listen 127.0.0.1:0")}
	s.await("msg=serving")
	s.stop()
	if _, err := os.Stat(filepath.Join(state, "toot.db")); err != nil {
		t.Error(err)
	}
}
