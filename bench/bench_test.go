package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every row is played for a moment: it must come to its end, count right and
// leave nothing behind.
func TestEveryRowCountsRight(t *testing.T) {
	for set, rows := range rowSets {
		t.Run(set, func(t *testing.T) {
			t.Parallel() // servers take their time to start
			playAll(t, set, rows(options{}))
		})
	}
}

func playAll(t *testing.T, set string, rows []row) {
	dir := t.TempDir()
	jsonFile, markdownFile := filepath.Join(dir, "out", "figures.json"), filepath.Join(dir, "out", "table.md")
	stores := filepath.Join(dir, "stores")
	if err := os.Mkdir(stores, 0o755); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err := run(context.Background(), []string{"--set", set, "--quick", "--rounds", "1", "--time", "50ms", "--backlog", "2000", "--dir", stores, "--json", jsonFile, "--markdown", markdownFile}, &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(jsonFile)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	markdown, err := os.ReadFile(markdownFile)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]*result{}
	for _, row := range r.Rows {
		got[row.Name] = row
	}
	for _, row := range rows {
		f := got[row.name]
		if f == nil || f.EventsPerS <= 0 || f.CPU <= 0 || f.Allocs <= 0 {
			t.Errorf("%s: %+v", row.name, f)
			continue
		}
		if !strings.Contains(out.String(), row.name) || !strings.Contains(string(markdown), "`"+row.name+"`") {
			t.Errorf("%s is missing in a table", row.name)
		}
		if row.against != "" && f.AgainstRatio <= 0 {
			t.Errorf("%s is not compared with %s", row.name, row.against)
		}
	}
	if f := got["latency"]; set == "main" && (f.P50 <= 0 || f.P99 < f.P50) {
		t.Errorf("latency: p50 %v, p99 %v", f.P50, f.P99)
	}
	if left, err := os.ReadDir(stores); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A row is played in every round, but for one that is too long for it.
func TestRowsArePlayedInRounds(t *testing.T) {
	b := &bench{options: options{rounds: 2, length: 20 * time.Millisecond}, dir: t.TempDir(), progress: newProgress(io.Discard)}
	played := map[string]int{}
	count := func(name string) func(context.Context, *bench, *stage) (sample, error) {
		return func(context.Context, *bench, *stage) (sample, error) {
			played[name]++
			return sample{}, nil
		}
	}
	rows := []row{{name: rawName}, {name: "short", run: count("short")}, {name: "long", once: true, run: count("long")}}
	if _, err := b.measureAll(context.Background(), rows); err != nil {
		t.Fatal(err)
	}
	if played["short"] != 2 || played["long"] != 1 {
		t.Errorf("in two rounds the rows were played %v times", played)
	}
}

func TestUnknownRowsAreRefused(t *testing.T) {
	err := run(context.Background(), []string{"--only", "raw,nonsense"}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "sqlite/single") {
		t.Errorf("got %v, want the names of the rows", err)
	}
}

func TestLedgerTellsWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		arrivals []int
		want     int
		ok       bool
	}{
		"all":     {[]int{2, 0, 1}, 3, true},
		"none":    {nil, 0, true},
		"lost":    {[]int{0, 2}, 3, false},
		"twice":   {[]int{0, 1, 1, 2}, 3, false},
		"unasked": {[]int{0, 1, 2, 3}, 3, false},
		"unknown": {[]int{0, 1, 2, -1}, 3, false},
	} {
		l := newLedger()
		for _, n := range c.arrivals {
			l.mark(n)
		}
		if err := l.check(c.want); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNumberIsFoundInEvents(t *testing.T) {
	for _, n := range []int{0, 7, 123456} {
		if got := number(wireEvent(n, 10)); got != n {
			t.Errorf("got %d, want %d", got, n)
		}
	}
	if got := number([]byte(`{}`)); got != -1 {
		t.Errorf("got %d for an event without a number", got)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		all  []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{5, 1, 3}, 3}, {[]float64{4, 1, 2, 3}, 2.5}} {
		if got := median(c.all); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.all, got, c.want)
		}
	}
}

func TestPlotsAreWellFormed(t *testing.T) {
	p := plot{Title: "a < b", X: "x", Y: "y", Series: []series{{Name: "one & only", Points: []point{{X: 1000, Y: 12}, {X: 1_000_000, Y: 130}}}}}
	dec := xml.NewDecoder(strings.NewReader(p.svg()))
	for {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The program of one commit is compared with that of another (see against), so
// figures keep the names under which they are written.
func TestFiguresKeepTheirNames(t *testing.T) {
	r := report{Settings: settings{Go: "go", SQLite: "sqlite", Redis: "redis", Loops: "loops"}, Rows: []*result{
		{Name: "name", EventsPerS: 1, P50: 2, CPU: 3, RedisCPU: 4, Allocs: 5},
	}}
	var out strings.Builder
	if err := r.json(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"settings": {`, `"go": "go"`, `"sqlite": "sqlite"`, `"redis": "redis"`, `"loops": "loops"`, `"rows": [`,
		`"name": "name"`, `"events_per_s": 1`, `"p50_ms": 2`, `"cpu_us": 3`, `"redis_cpu_us": 4`, `"allocs": 5`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is missing in\n%s", want, &out)
		}
	}
}
