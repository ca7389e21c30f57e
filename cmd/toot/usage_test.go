package main_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestMistakesAreNamed: what is wrong with a command line is said in one line, in
// words, and nothing is done.
func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	libraries := regexp.MustCompile(`strconv\.|parsing |invalid argument|arg\(s\)|time: |unknown shorthand|unknown command|unknown flag`)
	for wrong, want := range map[string]string{
		"stat":                         `there is no command "toot stat": did you mean stats?`,
		"nope":                         `there is no command "toot nope": see toot --help`,
		"dead nope":                    `there is no command "toot dead nope": see toot dead --help`,
		"dead lst":                     `there is no command "toot dead lst": did you mean list?`,
		"help nope":                    `there is no command "toot nope": see toot --help`,
		"help dead nope":               `there is no command "toot dead nope": see toot dead --help`,
		"completion nope":              `there is no command "toot completion nope": see toot completion --help`,
		"publish":                      "toot publish takes the arguments CHANNEL [PAYLOAD|-], but none was given: see toot publish --help",
		"publish a b c":                "but 3 arguments came",
		"stats now":                    `toot stats takes no argument, but got "now"`,
		"dead show":                    "toot dead show takes the arguments ID…, but none was given",
		"unhandled move a":             "toot unhandled move takes the arguments SUBSCRIPTION OTHER, but 1 argument came",
		"stats --nope":                 "toot stats has no flag --nope: see toot stats --help",
		"stats -x":                     "toot stats has no flag -x",
		"dead list --limit":            "--limit needs a value: --limit N: see toot dead list --help",
		"listen -c":                    "--channel needs a value: --channel CHANNEL",
		"dead list --limit x":          `--limit: "x" is not a whole number`,
		"demo -n x":                    `--events: "x" is not a whole number`,
		"stats --interval x":           `--interval: "x" is not a duration such as 500ms, 15s or 2h`,
		"stats --watch=perhaps":        `--watch: "perhaps" is not true or false`,
		"serve --max-retries -1":       `max-retries (--max-retries): "-1" is not a whole number, or is negative`,
		"auth add":                     "toot auth add takes the arguments USERNAME",
		"subscribe http://127.0.0.1/x": "which channel?",
	} {
		r := command(t, strings.Fields(wrong)...)
		wantCode(t, r, 2)
		if strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, want) || libraries.MatchString(r.stderr) || r.stdout != "" {
			t.Errorf("toot %s says %q and %q, want one line with %q", wrong, r.stdout, r.stderr, want)
		}
	}
}

// TestServersOfAnotherKindAreNamed: a URL that leads to something else says so.
func TestServersOfAnotherKindAreNamed(t *testing.T) {
	t.Parallel()
	s := serve(t)
	address := strings.TrimPrefix(s.url, "http://")
	for args, want := range map[string]string{
		"stats --store redis://" + address:                          "does not speak the protocol of Redis",
		"subscriptions --publisher https://" + address:              "does not speak TLS",
		"subscriptions --publisher " + s.url + "/nowhere":           "status 404",
		"subscriptions --publisher " + s.url + "/openapi.yaml":      "answered with something else than a list",
		"subscriptions --publisher " + s.url + "/readyz":            "answered with something else than a list",
		"subscriptions --publisher http://127.0.0.1:1":              "can't reach http://127.0.0.1:1: connection refused: is it running",
		"subscriptions --publisher http://there.is.no.such.invalid": `there is no host "there.is.no.such.invalid"`,
	} {
		r := command(t, strings.Fields(args)...)
		wantCode(t, r, 1)
		if strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "redisengine") {
			t.Errorf("toot %s says %q, want one line with %q", args, r.stderr, want)
		}
	}
	s.stop()
}

// TestServeWithoutRetries: 0 is a number of retries.
func TestServeWithoutRetries(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, "--store", "sqlite:"+dir+"/toot.db", "--max-retries", "0")
	status, body := s.subscribeTo("a", "http://127.0.0.1:1/")
	wantStatus(t, "201", status, body)
	wantCode(t, command(t, "publish", "a", "--publisher", s.url), 0)
	s.await("it is in the dead letters")
	s.stop()
	wantContains(t, command(t, "dead", "list", "--store", "sqlite:"+dir+"/toot.db", "--json").stdout, "(after 1 try)")
}
