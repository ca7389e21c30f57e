// Command bench measures toot beside the limit of the machine it runs on: a
// raw net/http client and server. See docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	rounds  int
	length  time.Duration // of each measurement
	backlog int

	set                           string
	only                          []string
	dir, profile                  string
	jsonFile, markdownFile, plots string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	rows, err := choose(rowSets[o.set](o), o.only)
	if err != nil {
		return err
	}
	// Everything is below one folder, so that one removal is enough.
	dir, err := os.MkdirTemp(o.dir, "toot-bench")
	if err != nil {
		return fmt.Errorf("no folder for the stores (see --dir): %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	b := &bench{options: o, dir: dir, progress: newProgress(stderr)}
	r := report{Settings: b.settings(ctx)}
	r.Settings.print(stdout)
	if r.Rows, err = b.measureAll(ctx, rows); err != nil {
		return err
	}
	r.compare()
	r.table(stdout)
	if o.plots != "" {
		if r.Plots, err = b.measurePlots(ctx); err != nil {
			return err
		}
		if err := writePlots(o.plots, r.Plots); err != nil {
			return err
		}
	}
	if o.jsonFile != "" {
		err = errors.Join(err, write(o.jsonFile, r.json))
	}
	if o.markdownFile != "" {
		err = errors.Join(err, write(o.markdownFile, r.markdown))
	}
	return err
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var quick bool
	var only string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.BoolVar(&quick, "quick", false, "all rows in under 50 s, less exactly")
	f.StringVar(&o.set, "set", "main", "which `ROWS`: main, or postgres, which are more about PostgreSQL and best measured with --time 5s")
	f.StringVar(&only, "only", "", "measure only these rows: `NAME,…`")
	f.IntVar(&o.rounds, "rounds", 0, "how often each row is measured (default 5, quick 1)")
	f.DurationVar(&o.length, "time", 0, "length of a measurement (default 1.2s, quick 800ms)")
	f.IntVar(&o.backlog, "backlog", 0, "events of the backlog row (default 1000000, quick 50000)")
	f.StringVar(&o.jsonFile, "json", "", "write the figures to `FILE` as JSON")
	f.StringVar(&o.markdownFile, "markdown", "", "write the table to `FILE` as Markdown")
	f.StringVar(&o.plots, "plot", "", "also measure how cost grows, and write SVG plots to `DIR` (some two minutes more)")
	f.StringVar(&o.dir, "dir", "", "folder for the stores; it should be on a disk (default: that for temporary files)")
	f.StringVar(&o.profile, "profile", "", "write a CPU and an allocation profile of each row to `DIR`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q: there are only flags, see --help", f.Arg(0))
	}
	if rowSets[o.set] == nil {
		return o, fmt.Errorf("--set %q: there are main and postgres", o.set)
	}
	rounds, length, backlog := 5, 1200*time.Millisecond, 1_000_000
	if quick {
		rounds, length, backlog = 1, 800*time.Millisecond, 50_000
	}
	if o.rounds <= 0 {
		o.rounds = rounds
	}
	if o.length <= 0 {
		o.length = length
	}
	if o.backlog <= 0 {
		o.backlog = backlog
	}
	for name := range strings.SplitSeq(only, ",") {
		if name = strings.TrimSpace(name); name != "" {
			o.only = append(o.only, name)
		}
	}
	return o, nil
}

func write(file string, format func(io.Writer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	f, err := os.Create(file) //nolint:gosec // G304: the user names the file
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return format(f)
}
