package main_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// unit is a systemd unit: the values of each key, whatever its section.
type unit map[string][]string

func readUnit(t *testing.T, name string) unit {
	t.Helper()
	u := unit{}
	for line := range strings.Lines(readFile(t, name)) {
		line = strings.TrimSpace(line)
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			u[key] = append(u[key], value)
		}
	}
	return u
}

var credentialName = regexp.MustCompile(`\$\{CREDENTIALS_DIRECTORY\}/([\w.-]+)`)

// TestDeployUnitIsGivenItsCredentials: the service runs under a user of its own,
// who can't read what is root's; systemd hands it a copy of each file it names.
func TestDeployUnitIsGivenItsCredentials(t *testing.T) {
	u := readUnit(t, "../../deploy/toot.service")
	if !slices.Equal(u["DynamicUser"], []string{"yes"}) || len(u["ExecStart"]) != 1 {
		t.Fatalf("DynamicUser=%q ExecStart=%q", u["DynamicUser"], u["ExecStart"])
	}
	var asked []string
	for _, m := range credentialName.FindAllStringSubmatch(u["ExecStart"][0], -1) {
		asked = append(asked, m[1])
	}
	slices.Sort(asked)
	if want := []string{"publishers", "scrapers", "subscribers", "toot.yaml"}; !slices.Equal(asked, want) {
		t.Errorf("ExecStart asks for %q, want %q", asked, want)
	}
	var given []string
	for _, credential := range u["LoadCredential"] {
		name, path, _ := strings.Cut(credential, ":")
		if path != "/etc/toot/"+name {
			t.Errorf("LoadCredential=%s", credential)
		}
		given = append(given, name)
	}
	slices.Sort(given)
	if !slices.Equal(given, asked) {
		t.Errorf("the service is given %q and asks for %q", given, asked)
	}
	// A flag or a variable would take precedence over what toot.yaml says.
	if text := strings.Join(append(u["Environment"], u["ExecStart"]...), " "); strings.Contains(text, "TOOT_") || strings.Contains(text, "--store") {
		t.Errorf("the settings in toot.yaml don't count: %s", text)
	}
	for _, key := range []string{"ExecStart", "Environment", "ExecReload"} {
		if text := strings.Join(u[key], "\n"); strings.Contains(text, "/etc/") || key == "ExecReload" && text != "" {
			t.Errorf("%s=%s: what is in /etc can't be read, and the copies don't change", key, text)
		}
	}
}
