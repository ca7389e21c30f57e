package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDeployUnitIsUnderstoodBySystemd: systemd passes over a line that it doesn't
// understand, such as a misspelt protection, with no more than a warning.
func TestDeployUnitIsUnderstoodBySystemd(t *testing.T) {
	t.Parallel()
	verify := func(text string) (said string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "toot.service")
		// The program has to be there.
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "/usr/local/bin/toot", binary)), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", file).CombinedOutput()
		if err != nil {
			t.Logf("%v: %s", err, out)
			return string(out) + err.Error()
		}
		for line := range strings.Lines(string(out)) { // it says what it thinks of the machine's units, too
			if strings.Contains(line, "toot") {
				said += line
			}
		}
		return said
	}
	unit := readFile(t, "../../deploy/toot.service")
	if said := verify(unit); said != "" {
		t.Error(said)
	}
	if said := verify(strings.Replace(unit, "ProtectClock=", "ProtectClocks=", 1)); said == "" {
		t.Error("a misspelt line is not found")
	}
}
