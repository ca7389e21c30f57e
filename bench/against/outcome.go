package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// outcome is what one run of a bench program came to.
type outcome struct {
	row, raw figures
	settings map[string]any
}

// figures are those of a row, by the names under which the bench program
// writes them as JSON. Programs of all ages are read: other names may come
// there, these stay.
type figures struct {
	Name       string  `json:"name"`
	EventsPerS float64 `json:"events_per_s"`
	P50        float64 `json:"p50_ms"` // of rows whose rate is set
	CPU        float64 `json:"cpu_us"`
	RedisCPU   float64 `json:"redis_cpu_us"`
	Allocs     float64 `json:"allocs"`
}

// speed is what is to be high: the rate, or, where that is set, one by the
// time an event takes.
func (f figures) speed() float64 {
	if f.P50 > 0 {
		return 1 / f.P50
	}
	return f.EventsPerS
}

// cpu is the processor time for an event, redis-server's included.
func (f figures) cpu() float64 { return f.CPU + f.RedisCPU }

// bench measures a row once.
type bench func(ctx context.Context, row string) (outcome, error)

// bench runs the program, which leaves its figures in a file.
func (p program) bench(o options, file string) bench {
	return func(ctx context.Context, row string) (outcome, error) {
		cmd := command(ctx, p.path, "--only", row, "--rounds", "1", "--time", o.length.String(),
			"--backlog", strconv.Itoa(o.backlog), "--dir", o.dir, "--json", file)
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Run(); err != nil {
			return outcome{}, fmt.Errorf("%s: %w: %s", p.name, err, strings.TrimSpace(said.String()))
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return outcome{}, err
		}
		if err := os.Remove(file); err != nil { // so that none is read twice
			return outcome{}, err
		}
		return read(text, row)
	}
}

// read finds a row and the raw one in what a bench program wrote.
func read(text []byte, row string) (outcome, error) {
	var report struct {
		Settings map[string]any `json:"settings"`
		Rows     []figures      `json:"rows"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return outcome{}, fmt.Errorf("the figures can't be read: %w", err)
	}
	o := outcome{settings: report.Settings}
	for _, f := range report.Rows {
		if f.Name == row {
			o.row = f
		}
		if f.Name == "raw" {
			o.raw = f
		}
	}
	if o.row.speed() <= 0 || o.row.cpu() <= 0 || o.row.Allocs <= 0 {
		return outcome{}, fmt.Errorf("the figures of %q are missing", row)
	}
	return o, nil
}

// takeTurns has two programs run as AB, BA, AB …: what the machine does in
// the meantime meets both alike, and neither is always the one that comes
// after the other.
func takeTurns(pairs int, a, b func() (outcome, error)) (as, bs []outcome, err error) {
	turn := func(all *[]outcome, measure func() (outcome, error)) {
		if err != nil {
			return
		}
		var o outcome
		if o, err = measure(); err == nil {
			*all = append(*all, o)
		}
	}
	for i := range pairs {
		if i%2 == 0 {
			turn(&as, a)
			turn(&bs, b)
		} else {
			turn(&bs, b)
			turn(&as, a)
		}
	}
	return as, bs, err
}
