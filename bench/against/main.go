// Command against compares the library as it lies here with another commit of
// it: it builds the bench program of both and has them run by turns. See
// "Comparing two versions" in docs/performance.md.
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

// usual are the rows that are compared unless others are asked for: one for
// each way an event can go, and none that takes long to set up.
var usual = []string{
	"sqlite/single", "sqlite/batch", "redis/single", "redis/batch", "publish/sqlite", "publish/redis",
	"fanout/10", "post/redis", "latency", "latency/redis", "backlog",
}

// options are what the command line says.
type options struct {
	ref     string
	pairs   int
	rows    []string
	length  time.Duration // of each measurement
	backlog int
	dir     string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench-against:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	// All that is made is below one folder, so that one removal is enough.
	work, err := os.MkdirTemp("", "toot-against")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()

	here, ref, err := build(ctx, o.ref, work)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "here  %s\nREF   %s\n", here.about, ref.about)
	fmt.Fprintf(stdout, "%d pairs of runs for each row, measurements of %v\n\n", o.pairs, o.length)
	return compareRows(ctx, o, here.bench(o, filepath.Join(work, "here.json")), ref.bench(o, filepath.Join(work, "ref.json")), stdout)
}

// compareRows prints a row as soon as it is compared. One that can't be run
// does not keep the others from it.
func compareRows(ctx context.Context, o options, here, ref bench, w io.Writer) error {
	t := table{w: w}
	t.begin()
	for _, row := range o.rows {
		t.name(row)
		a, b, err := takeTurns(o.pairs,
			func() (outcome, error) { return here(ctx, row) },
			func() (outcome, error) { return ref(ctx, row) })
		switch {
		case ctx.Err() != nil:
			fmt.Fprintln(w)
			return context.Cause(ctx)
		case err != nil:
			t.failed(row, err)
		default:
			t.compared(row, a, b)
		}
	}
	return t.end()
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var only string
	f := flag.NewFlagSet("bench-against", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintln(stderr, "Usage: bench-against [FLAGS] REF\nCompares the working tree with the commit REF.")
		f.PrintDefaults()
	}
	f.StringVar(&only, "only", strings.Join(usual, ","), "compare these rows: `NAME,…`")
	// An even number: either program is as often the first. And rather many
	// short runs than few long ones: that is nearer in time.
	f.IntVar(&o.pairs, "pairs", 24, "how often each program runs for each row")
	f.DurationVar(&o.length, "time", 500*time.Millisecond, "length of a measurement")
	f.IntVar(&o.backlog, "backlog", 50_000, "events of the backlog row")
	f.StringVar(&o.dir, "dir", "", "folder for the stores; it should be on a disk (default: that for temporary files)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() != 1 {
		return o, fmt.Errorf("after the flags one commit is wanted, not %q; see --help", f.Args())
	}
	o.ref = f.Arg(0)
	if o.pairs < fewestPairs {
		return o, fmt.Errorf("--pairs %d: fewer than %d give no interval of %.0f %%", o.pairs, fewestPairs, 100*confidence)
	}
	for name := range strings.SplitSeq(only, ",") {
		if name = strings.TrimSpace(name); name != "" {
			o.rows = append(o.rows, name)
		}
	}
	return o, nil
}
