package main

import (
	"fmt"
	"io"
	"strings"
)

// table prints what comes out, line by line: a comparison takes its time.
type table struct {
	w               io.Writer
	rows            int
	slower, unrun   []string
	unsure          int // of the slower ones
	hereRaw, refRaw []figures
	notes           []string
}

func (t *table) begin() {
	fmt.Fprintf(t.w, "%-15s %6s  %-15s %6s  %-15s %7s  %s\n", "here / REF", "speed", "95 %", "CPU", "95 %", "allocs", "verdict")
}

// name begins the line of a row, and so shows what is going on.
func (t *table) name(row string) {
	t.rows++
	fmt.Fprintf(t.w, "%-15s ", row)
}

// compared ends the line of a row that both programs have run.
func (t *table) compared(row string, here, ref []outcome) {
	if t.rows-len(t.unrun) == 1 {
		t.settings(here[0].settings, ref[0].settings)
	}
	var a, b []figures
	for i := range here {
		a, b = append(a, here[i].row), append(b, ref[i].row)
		t.hereRaw, t.refRaw = append(t.hereRaw, here[i].raw), append(t.refRaw, ref[i].raw)
	}
	c := compare(a, b)
	verdict := "not slower"
	if in := c.slower(); len(in) > 0 {
		what := strings.Join(in, ", ")
		verdict = "slower: " + what
		t.slower = append(t.slower, row+" ("+what+")")
		if c.unsure() {
			t.unsure++
		}
	}
	fmt.Fprintf(t.w, "%6.3f  %-15s %6.3f  %-15s %+7.1f  %s\n", c.speed.estimate, c.speed, c.cpu.estimate, c.cpu, c.allocs.estimate, verdict)
}

// failed ends the line of a row that could not be run.
func (t *table) failed(row string, err error) {
	t.unrun = append(t.unrun, row)
	fmt.Fprintf(t.w, "could not be run: %v\n", err)
}

// settings notes what else than the library differs.
func (t *table) settings(here, ref map[string]any) {
	for _, key := range []string{"go", "sqlite", "redis", "loops"} {
		if a, b := fmt.Sprint(here[key]), fmt.Sprint(ref[key]); a != b {
			t.notes = append(t.notes, fmt.Sprintf("%s differs:\n  here  %s\n  REF   %s", key, a, b))
		}
	}
}

// end prints what holds for all rows. It is an error only if a row could not
// be run.
func (t *table) end() error {
	fmt.Fprintln(t.w)
	if len(t.hereRaw) > 0 {
		raw := compare(t.hereRaw, t.refRaw).speed
		fmt.Fprintf(t.w, "raw net/http, the same in both, as a check of the conditions: %.3f, %v\n", raw.estimate, raw)
	}
	for _, s := range t.notes {
		fmt.Fprintln(t.w, s)
	}
	if len(t.unrun) > 0 {
		fmt.Fprintf(t.w, "could not be run: %s\n", strings.Join(t.unrun, ", "))
	}
	fmt.Fprintf(t.w, "slower: %d of %d rows", len(t.slower), t.rows-len(t.unrun))
	if t.unsure > 0 {
		fmt.Fprintf(t.w, ", %d of them perhaps by chance (?)", t.unsure)
	}
	if len(t.slower) > 0 {
		fmt.Fprintf(t.w, ": %s", strings.Join(t.slower, ", "))
	}
	fmt.Fprintln(t.w)
	if len(t.unrun) > 0 {
		return fmt.Errorf("%d of %d rows could not be run", len(t.unrun), t.rows)
	}
	return nil
}

func (i interval) String() string { return fmt.Sprintf("%.3f – %.3f", i.low, i.high) }
