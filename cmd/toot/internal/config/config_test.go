package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func newSet(t *testing.T, file string, args ...string) *Set {
	t.Helper()
	s := &Set{Settings: []Setting{
		{Name: "listen", Default: "127.0.0.1:8080", Check: Address},
		{Name: "publish-auth", Secret: true},
		{Name: "insecure", Default: "false", Switch: true},
		{Name: "max-retries", Default: "25", Check: Count},
	}}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	s.AddFlags(flags)
	if file != "" {
		path := filepath.Join(t.TempDir(), "toot.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPrecedence(t *testing.T) {
	const file = "listen: :1\nmax-retries: 3\ninsecure: true\npublish-auth: [a, 'b:c']\n"
	t.Setenv("TOOT_LISTEN", ":2")
	t.Setenv("TOOT_MAX_RETRIES", "4")
	values, err := newSet(t, file, "--listen", ":3").Load()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]string{
		"listen": {":3", "--listen"}, "max-retries": {"4", "TOOT_MAX_RETRIES"}, "insecure": {"true", "toot.yaml"}, "publish-auth": {"a,b:c", "toot.yaml"},
	} {
		for _, v := range values {
			if v.Name == name && (v.Text != want[0] || filepath.Base(v.From) != want[1]) {
				t.Errorf("%s is %q from %s, want %q from %s", name, v.Text, v.From, want[0], want[1])
			}
			if v.Name == "publish-auth" && v.Shown() != "(set)" {
				t.Errorf("a secret is shown as %q", v.Shown())
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	values, err := newSet(t, "").Load()
	if err != nil || values.Get("listen") != "127.0.0.1:8080" || values.MustCount("max-retries") != 25 || values.On("insecure") {
		t.Errorf("%v, %v", values, err)
	}
	if _, err := newSet(t, "# nothing\n").Load(); err != nil {
		t.Error(err)
	}
}

func TestEveryMistakeIsNamed(t *testing.T) {
	t.Setenv("TOOT_INSECURE", "maybe")
	_, err := newSet(t, "listen: nowhere\nmax_retries: 3\npublish-auth: {a: b}\n", "--max-retries", "-1").Load()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`no setting "max_retries"`, "line 2", "publish-auth has to be", "listen (", "max-retries (--max-retries)", "insecure (TOOT_INSECURE)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	for _, file := range []string{"- a\n", "listen: [\n", "listen"} {
		if _, err := newSet(t, file).Load(); err == nil {
			t.Errorf("%q is taken for settings", file)
		}
	}
}
