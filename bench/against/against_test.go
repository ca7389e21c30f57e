package main

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCenter(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   interval
	}{
		// Hollander, Wolfe, Chicken, examples 3.1, 3.3 and 3.4: a scale of depression
		// after and before a therapy.
		"the book's": {
			[]float64{0.878 - 1.83, 0.647 - 0.50, 0.598 - 1.62, 2.05 - 2.48, 1.06 - 1.68, 1.29 - 1.88, 1.06 - 1.55, 3.14 - 3.06, 1.29 - 1.30},
			interval{-0.46, -0.786, -0.010},
		},
		"all the same":         {[]float64{2, 2, 2, 2, 2, 2}, interval{2, 2, 2}},
		"the fewest":           {[]float64{1, 2, 3, 4, 5, 6}, interval{3.5, 1, 6}},
		"one of 16 far off":    {[]float64{-1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, 1e9}, interval{0, -0.5, 1}},
		"in whatever sequence": {[]float64{6, 1, 5, 2, 4, 3}, interval{3.5, 1, 6}},
	} {
		got := center(c.values)
		for _, v := range [][2]float64{{got.estimate, c.want.estimate}, {got.low, c.want.low}, {got.high, c.want.high}} {
			if math.Abs(v[0]-v[1]) > 1e-9 {
				t.Errorf("%s: got %+v, want %+v", name, got, c.want)
				break
			}
		}
	}
}

// The tables of the signed-rank test give the largest sum that is rare enough,
// which is one less.
func TestSignedRank(t *testing.T) {
	for n, want := range map[int]int{6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 12: 13, 15: 25, 16: 29, 20: 52, 25: 89} {
		if got := signedRank(n, 0.025) - 1; got != want {
			t.Errorf("%d pairs: got %d, want %d", n, got, want)
		}
	}
}

func TestRatioAndDifference(t *testing.T) {
	a, b := []float64{2, 4, 8, 16, 32, 64}, []float64{1, 2, 4, 8, 16, 32}
	if got := ratio(a, b); math.Abs(got.estimate-2) > 1e-9 {
		t.Errorf("the ratio is %+v", got)
	}
	if got := ratio(b, a); math.Abs(got.low-0.5) > 1e-9 || math.Abs(got.high-0.5) > 1e-9 {
		t.Errorf("the ratio the other way is %+v", got)
	}
	if got := difference([]float64{3, 3, 3, 3, 3, 3}, []float64{1, 1, 1, 1, 1, 1}); got != (interval{2, 2, 2}) {
		t.Errorf("the difference is %+v", got)
	}
}

func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		comparison
		want string
	}{
		"the same":               {comparison{speed: interval{1, 0.99, 1.01}, cpu: interval{1, 1, 1}}, ""},
		"faster":                 {comparison{speed: interval{1.2, 1.1, 1.3}, cpu: interval{0.8, 0.8, 0.8}, allocs: interval{-5, -5, -5}}, ""},
		"perhaps slower":         {comparison{speed: interval{0.93, 0.85, 0.97}, cpu: interval{1.03, 1, 1.1}, allocs: interval{0.5, 0, 1}}, ""},
		"slower beyond doubt":    {comparison{speed: interval{0.96, 0.95, 0.969}, cpu: interval{1, 1, 1}}, "speed"},
		"costs more":             {comparison{speed: interval{1, 0.99, 1.01}, cpu: interval{1.1, 1.04, 1.2}}, "CPU"},
		"perhaps costs more":     {comparison{speed: interval{1, 0.99, 1.01}, cpu: interval{1.031, 1, 1.1}}, "CPU?"},
		"one of two for sure":    {comparison{speed: interval{1, 0.99, 1.01}, cpu: interval{1.1, 1.05, 1.2}, allocs: interval{0.6, 0, 1}}, "CPU allocs?"},
		"allocates more":         {comparison{speed: interval{1, 0.99, 1.01}, cpu: interval{1, 1, 1}, allocs: interval{0.6, 0, 1}}, "allocs?"},
		"worse in every respect": {comparison{speed: interval{0.5, 0.4, 0.6}, cpu: interval{2, 2, 2}, allocs: interval{9, 9, 9}}, "speed CPU allocs"},
	} {
		if got := strings.Join(c.slower(), " "); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if got := c.unsure(); got != (c.want != "" && strings.Count(c.want, "?") == len(strings.Fields(c.want))) {
			t.Errorf("%s: unsure is %v", name, got)
		}
	}
}

func TestCompare(t *testing.T) {
	here, ref := make([]figures, 6), make([]figures, 6)
	for i := range here {
		here[i] = figures{EventsPerS: 200, CPU: 10, RedisCPU: 5, Allocs: 31}
		ref[i] = figures{EventsPerS: 100, CPU: 20, RedisCPU: 10, Allocs: 30}
	}
	c := compare(here, ref)
	if math.Abs(c.speed.estimate-2) > 1e-9 || math.Abs(c.cpu.estimate-0.5) > 1e-9 || c.allocs.estimate != 1 {
		t.Errorf("got %+v", c)
	}
	for i := range here { // the rate is set: time counts
		here[i].P50, ref[i].P50 = 4, 1
	}
	if c := compare(here, ref); math.Abs(c.speed.estimate-0.25) > 1e-9 {
		t.Errorf("with latencies: got %+v", c)
	}
}

func TestProgramsTakeTurns(t *testing.T) {
	var turns strings.Builder
	turn := func(name string) func() (outcome, error) {
		return func() (outcome, error) {
			turns.WriteString(name)
			if turns.Len() > 8 {
				return outcome{}, errors.New("tired")
			}
			return outcome{row: figures{Name: name}}, nil
		}
	}
	as, bs, err := takeTurns(4, turn("A"), turn("B"))
	if got := turns.String(); got != "ABBAABBA" || len(as) != 4 || len(bs) != 4 || err != nil {
		t.Errorf("turns %s, %d and %d outcomes, %v", got, len(as), len(bs), err)
	}
	if as[3].row.Name != "A" || bs[3].row.Name != "B" {
		t.Error("outcomes are mixed up")
	}
	if _, _, err := takeTurns(4, turn("A"), turn("B")); err == nil || turns.Len() != 9 {
		t.Errorf("after an error: turns %s, %v", turns.String(), err)
	}
}

// As the bench program has always written it, apart from what is not needed.
const written = `{"settings": {"loops": "64 publishers", "later": 7}, "rows": [
	{"name": "raw", "about": "…", "events_per_s": 30000, "ratio": 1, "cpu_us": 60, "allocs": 72},
	{"name": "redis/single", "about": "…", "events_per_s": 12000.5, "cpu_us": 97, "redis_cpu_us": 30, "allocs": 105}]}`

func TestReading(t *testing.T) {
	o, err := read([]byte(written), "redis/single")
	if err != nil {
		t.Fatal(err)
	}
	if o.row.speed() != 12000.5 || o.row.cpu() != 127 || o.row.Allocs != 105 || o.raw.speed() != 30000 || o.settings["loops"] != "64 publishers" {
		t.Errorf("got %+v", o)
	}
	if o, err := read([]byte(written), "raw"); err != nil || o.row != o.raw {
		t.Errorf("raw itself: %+v, %v", o, err)
	}
	for name, text := range map[string]string{
		"nothing":             "",
		"no such row":         strings.ReplaceAll(written, "redis/single", "redis/double"),
		"other names":         strings.ReplaceAll(written, "events_per_s", "rate"),
		"no processor time":   strings.NewReplacer("cpu_us", "cpu", "redis_cpu_us", "redis_cpu").Replace(written),
		"nothing about alloc": strings.ReplaceAll(written, "allocs", "garbage"),
	} {
		if _, err := read([]byte(text), "redis/single"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestRowsAreReported plays with programs that are scripts: rows that can't be
// run don't keep the others from it, and make an error; verdicts don't.
func TestRowsAreReported(t *testing.T) {
	dir := t.TempDir()
	script := func(name, figures string) bench {
		path := filepath.Join(dir, name)
		text := "#!/bin/sh\n" + `[ "$2" = unknown ] && { echo "no such row" >&2; exit 1; }` + "\n" +
			`while [ "$1" != --json ]; do shift; done` + "\ncat > \"$2\" <<'END'\n" + figures + "\nEND\n"
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil { //nolint:gosec // G306: it is to be run
			t.Fatal(err)
		}
		return program{name: name, path: path}.bench(options{}, path+".json")
	}
	here := script("here", strings.ReplaceAll(written, "12000.5", "6000"))
	ref := script("ref", strings.ReplaceAll(written, "64 publishers", "32 publishers"))
	var out strings.Builder
	err := compareRows(t.Context(), options{pairs: 6, rows: []string{"unknown", "redis/single"}}, here, ref, &out)
	if err == nil {
		t.Error("no error, though a row could not be run")
	}
	for _, want := range []string{"could not be run: here: exit status 1: no such row", "slower: speed", "loops differs", "0.500 – 0.500", "slower: 1 of 1 rows: redis/single (speed)\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
	out.Reset()
	if err := compareRows(t.Context(), options{pairs: 6, rows: []string{"redis/single"}}, here, ref, &out); err != nil {
		t.Errorf("a verdict became the error %v", err)
	}
	if !strings.HasSuffix(out.String(), "slower: 1 of 1 rows: redis/single (speed)\n") {
		t.Errorf("printed:\n%s", &out)
	}
}

func TestCommandLine(t *testing.T) {
	o, err := parse([]string{"--pairs", "6", "--only", "redis/single, backlog", "v1"}, io.Discard)
	if err != nil || o.ref != "v1" || o.pairs != 6 || !slices.Equal(o.rows, []string{"redis/single", "backlog"}) {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, args := range [][]string{{}, {""}, {"one", "two"}, {"--pairs", "5", "v1"}} {
		if err := run(context.Background(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
